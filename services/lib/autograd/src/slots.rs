//! Which buffers of a plan share memory: those that are never needed at once. The largest are placed first, so that what is
//! small goes where something large is at another time, and never the other way round. Caller: `planner.rs`.

use std::cmp::Reverse;

use crate::{graph::Value, plan::Step};

/// Memory for a value or a gradient, from the step it is first written in to the one before `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// How much.
    pub size: Value,
    /// The first step that needs it.
    pub begin: usize,
    /// The first step that needs it no more.
    pub end: usize,
}

/// A slot in the making.
struct Slot {
    size: Value,
    /// When it is taken, in no order.
    taken: Vec<(usize, usize)>,
}

/// The slot of every buffer, and the sizes of the slots, falling.
pub fn share(buffers: &[Buffer]) -> (Vec<usize>, Vec<Value>) {
    let mut order: Vec<usize> = (0..buffers.len()).collect();
    order.sort_by_key(|b| (Reverse(buffers[*b].size.len), buffers[*b].begin, *b));
    let (mut slots, mut places) = (Vec::<Slot>::new(), vec![0; buffers.len()]);
    for b in order {
        let Buffer { size, begin, end } = buffers[b];
        let apart = |slot: &Slot| slot.taken.iter().all(|(from, to)| end <= *from || *to <= begin);
        // The last ones are the smallest, and none is smaller than this buffer.
        let found = slots.iter().rposition(|slot| slot.size.batched == size.batched && apart(slot));
        let place = found.unwrap_or_else(|| {
            slots.push(Slot { size, taken: Vec::new() });
            slots.len() - 1
        });
        slots[place].taken.push((begin, end));
        places[b] = place;
    }
    (places, slots.into_iter().map(|slot| slot.size).collect())
}

/// Puts slots for buffers.
pub fn settle(step: &mut Step, places: &[usize]) {
    let place = |buffer: &mut usize| *buffer = places[*buffer];
    match step {
        Step::Forward { inputs, output, .. } => {
            inputs.iter_mut().flatten().for_each(place);
            place(output);
        }
        Step::Backward { inputs, output, gradient, targets, .. } => {
            inputs.iter_mut().flatten().for_each(place);
            output.iter_mut().for_each(place);
            place(gradient);
            targets.iter_mut().flatten().for_each(|(target, _)| place(target));
        }
        Step::Join { from, to, .. } => {
            place(from);
            place(to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_at_once_lies_apart_and_nothing_takes_more_than_it_must() {
        let buffer = |len, begin, end| Buffer { size: Value { len, batched: true }, begin, end };
        // A small one that stays, beside large ones that come and go.
        let buffers = [buffer(40, 0, 2), buffer(10, 1, 9), buffer(40, 3, 5), buffer(10, 2, 3), buffer(30, 6, 8)];
        let (places, sizes) = share(&buffers);
        assert_eq!(sizes.iter().map(|s| s.len).collect::<Vec<_>>(), [40, 10]);
        assert_eq!(places, [0, 1, 0, 0, 0]);
        let fixed = Buffer { size: Value { len: 10, batched: false }, begin: 6, end: 7 };
        assert_eq!(share(&[buffers[1], fixed]).1.len(), 2, "of another kind");
    }
}
