//! What happens to the service under load, and how long it is felt.

use serde::{Deserialize, Serialize};

use crate::{answers::Fate, load::Reply};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Happened {
    /// Seconds from the start of the load.
    pub at: f64,
    /// What.
    pub what: String,
    /// Whether the service is whole again after it.
    pub mends: bool,
}

/// The longest time, over all events that break something, from the event to the end of the last request that suffered
/// from it: that failed, was refused, or took longer than `limit_ms`, whenever it was due. It suffered from the last such
/// event before its end. Nothing without such an event.
pub fn recovery(events: &[Happened], replies: &[Reply], limit_ms: f64) -> Option<f64> {
    let breaks: Vec<f64> = events.iter().filter(|e| !e.mends).map(|e| e.at).collect();
    let ends = replies.iter().filter(|r| bad(r, limit_ms)).map(|r| (r.due + r.took).as_secs_f64());
    let felt = ends.filter_map(|end| breaks.iter().rev().find(|at| **at <= end).map(|at| end - at));
    (!breaks.is_empty()).then(|| felt.fold(0.0, f64::max))
}

/// Requests due from one moment to another, in seconds, that were neither answered as they should be nor told to come again.
pub fn errors_between(from: f64, to: f64, replies: &[Reply]) -> u64 {
    let within = replies.iter().filter(|r| (from..=to).contains(&r.due.as_secs_f64()));
    within.filter(|r| r.fate.is_error()).count() as u64
}

fn bad(reply: &Reply, limit_ms: f64) -> bool {
    reply.fate != Fate::Answered || reply.took.as_secs_f64() * 1000.0 > limit_ms
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::tests::reply;

    #[test]
    fn an_event_is_felt_until_the_last_request_that_suffered_from_it() {
        let event = |at, mends| Happened { at, what: String::new(), mends };
        let events = [event(10.0, false), event(15.0, true), event(30.0, false), event(33.0, true)];
        let mut replies: Vec<Reply> = (0..50).map(|s| reply(s * 1000, 20, Fate::Answered)).collect();
        assert_eq!(recovery(&events, &replies, 100.0), Some(0.0));
        // Before anything happened.
        replies.push(reply(5_000, 4_000, Fate::Answered));
        assert_eq!(recovery(&events, &replies, 100.0), Some(0.0));
        // Under way when it happened, and due afterwards.
        replies.push(reply(9_000, 2_000, Fate::Answered));
        assert_eq!(recovery(&events, &replies, 100.0), Some(1.0));
        replies.push(reply(12_500, 5000, Fate::Answered));
        assert_eq!(recovery(&events, &replies, 100.0), Some(7.5));
        // Under way when something else happened: that is what held it up.
        replies.push(reply(29_900, 1_000, Fate::Answered));
        replies.push(reply(31_000, 0, Fate::Refused));
        assert_eq!(recovery(&events, &replies, 100.0), Some(7.5));
        replies.push(reply(38_000, 0, Fate::Broken));
        assert_eq!(recovery(&events, &replies, 100.0), Some(8.0));
        assert_eq!(recovery(&[event(1.0, true)], &replies, 100.0), None);
        assert_eq!(errors_between(30.0, 36.0, &replies), 0, "who is refused is told to come again");
        assert_eq!(errors_between(30.0, 38.0, &replies), 1);
    }
}
