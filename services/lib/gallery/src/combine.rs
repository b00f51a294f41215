//! Concurrent searches of one index share a pass: who comes while one runs waits, and goes together with all others who
//! came, led by one of them. Who comes alone goes at once. Used by `flat.rs`.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::{Condvar, Mutex};

use crate::{Hits, probe::Probe};

/// Most probes in one pass: bounds how long those who come next wait.
pub const MOST_PROBES: usize = 64;

/// Why a pass gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// The rows went away meanwhile.
    Closed,
    /// A thread ended without having done its part.
    Broken,
}

/// Answers in the order of the probes.
pub type Answers = Result<Vec<Hits>, Failed>;

enum Turn {
    Waits,
    Leads,
    Done(Answers),
}

struct Ticket {
    probes: Vec<Arc<Probe>>,
    turn: Mutex<Turn>,
    turned: Condvar,
}

impl Ticket {
    fn give(&self, turn: Turn) {
        *self.turn.lock() = turn;
        self.turned.notify_all();
    }
}

#[derive(Default)]
struct State {
    /// A pass runs, or its leader is about to begin.
    busy: bool,
    waiting: VecDeque<Arc<Ticket>>,
}

/// The searches of one index.
#[derive(Default)]
pub struct Combiner {
    state: Mutex<State>,
}

impl Combiner {
    /// Answers `probes` (at most [`MOST_PROBES`]) by `pass`, in a pass that begins after this call.
    pub fn run(&self, probes: Vec<Arc<Probe>>, pass: impl Fn(Vec<Arc<Probe>>) -> Answers) -> Answers {
        let ticket = Arc::new(Ticket { probes, turn: Mutex::new(Turn::Waits), turned: Condvar::new() });
        let wait = {
            let mut state = self.state.lock();
            if state.busy {
                state.waiting.push_back(Arc::clone(&ticket));
            }
            std::mem::replace(&mut state.busy, true)
        };
        if wait {
            let mut turn = ticket.turn.lock();
            while matches!(*turn, Turn::Waits) {
                ticket.turned.wait(&mut turn);
            }
            if let Turn::Done(answers) = std::mem::replace(&mut *turn, Turn::Waits) {
                return answers;
            }
        }
        let mut lead = Lead { combiner: self, others: Vec::new() };
        let mut together = ticket.probes.clone();
        lead.gather(&mut together);
        let own = ticket.probes.len();
        match pass(together) {
            Err(failed) => {
                lead.share(|_| Err(failed));
                Err(failed)
            }
            Ok(mut answers) => {
                let mut rest = answers.split_off(own.min(answers.len()));
                lead.share(|n| {
                    let later = rest.split_off(n.min(rest.len()));
                    Ok(std::mem::replace(&mut rest, later))
                });
                Ok(answers)
            }
        }
    }
}

/// Leads a pass; hands on the lead when dropped, also when the pass panicked.
struct Lead<'a> {
    combiner: &'a Combiner,
    others: Vec<Arc<Ticket>>,
}

impl Lead<'_> {
    /// Takes along who waits, in the order they came.
    fn gather(&mut self, probes: &mut Vec<Arc<Probe>>) {
        let mut state = self.combiner.state.lock();
        while let Some(next) = state.waiting.front()
            && probes.len() + next.probes.len() <= MOST_PROBES
        {
            probes.extend(next.probes.iter().map(Arc::clone));
            self.others.extend(state.waiting.pop_front());
        }
    }

    fn share(&mut self, mut answers: impl FnMut(usize) -> Answers) {
        for other in self.others.drain(..) {
            let answers = answers(other.probes.len());
            other.give(Turn::Done(answers));
        }
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        self.share(|_| Err(Failed::Broken));
        let mut state = self.combiner.state.lock();
        match state.waiting.pop_front() {
            Some(next) => next.give(Turn::Leads),
            None => state.busy = false,
        }
    }
}

#[cfg(test)]
mod tests;
