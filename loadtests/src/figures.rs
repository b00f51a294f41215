//! From replies to figures: percentiles by HDR histogram, shares, rates, second by second.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::{
    answers::Fate,
    failure::Failure,
    load::{Load, Reply},
    plan::Operation,
};

/// Three digits of every time, up to ten minutes, in microseconds.
const LONGEST: u64 = 600_000_000;
const DIGITS: u8 = 3;

/// Percentiles that are measures of their own.
const PERCENTILES: [(&str, f64); 5] =
    [("p50_ms", 0.5), ("p90_ms", 0.9), ("p95_ms", 0.95), ("p99_ms", 0.99), ("p999_ms", 0.999)];

/// One second of a load.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Second {
    /// From the start of the load.
    pub at: u64,
    /// Requests that were due.
    pub due: u64,
    /// Of these: answered as they should be.
    pub answered: u64,
    /// Of these: told to come again.
    pub refused: u64,
    /// Of these: neither.
    pub errors: u64,
    /// Of those that were answered.
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}

/// Named figures.
pub type Measures = BTreeMap<String, f64>;

/// Measures of a load without what was due in its first `warm_up` seconds.
pub fn measures(load: &Load, warm_up: f64) -> Result<Measures, Failure> {
    let counted: Vec<&Reply> = load.replies.iter().filter(|r| r.due.as_secs_f64() >= warm_up).collect();
    let seconds = (load.seconds - warm_up).max(f64::MIN_POSITIVE);
    let mut all = Measures::new();
    group("all", &counted, seconds, &mut all)?;
    for operation in Operation::ALL {
        let of: Vec<&Reply> = counted.iter().copied().filter(|r| r.operation == operation).collect();
        if !of.is_empty() {
            group(operation.name(), &of, seconds, &mut all)?;
        }
    }
    let mut behind = histogram()?;
    counted.iter().for_each(|r| behind.saturating_record(micros(r.behind)));
    all.insert("sender.behind_p99_ms".into(), ms(behind.value_at_quantile(0.99)));
    all.insert("sender.dropped".into(), count(load.dropped));
    Ok(all)
}

fn group(name: &str, of: &[&Reply], seconds: f64, into: &mut Measures) -> Result<(), Failure> {
    let times = answered(of.iter().copied())?;
    let number = |wanted: &dyn Fn(&Reply) -> bool| count(of.iter().filter(|r| wanted(r)).count() as u64);
    let offered = count(of.len() as u64);
    let share = |n: f64| if offered > 0.0 { n / offered } else { 0.0 };
    let mut put = |what: &str, value: f64| {
        into.insert(format!("{name}.{what}"), value);
    };
    let done = count(times.len());
    put("offered", offered);
    put("offered_per_second", offered / seconds);
    put("answered_per_second", done / seconds);
    put("answered_share", share(done));
    put("refused_share", share(number(&|r| r.fate == Fate::Refused)));
    put("error_share", share(number(&|r| r.fate.is_error())));
    put("lost", number(&|r| matches!(r.fate, Fate::Broken | Fate::Late)));
    if !times.is_empty() {
        for (what, share) in PERCENTILES {
            put(what, ms(times.value_at_quantile(share)));
        }
        put("max_ms", ms(times.max()));
        put("p99_over_p50", count(times.value_at_quantile(0.99)) / count(times.value_at_quantile(0.5).max(1)));
    }
    Ok(())
}

/// Times of the replies that were answered as they should be.
fn answered<'a>(replies: impl Iterator<Item = &'a Reply>) -> Result<Histogram<u64>, Failure> {
    let mut times = histogram()?;
    replies.filter(|r| r.fate == Fate::Answered).for_each(|r| times.saturating_record(micros(r.took)));
    Ok(times)
}

/// The load second by second, by the moment at which requests were due.
pub fn seconds(load: &Load) -> Result<Vec<Second>, Failure> {
    let mut by_second: BTreeMap<u64, Vec<&Reply>> = BTreeMap::new();
    for reply in &load.replies {
        by_second.entry(reply.due.as_secs()).or_default().push(reply);
    }
    let second = |(at, of): (u64, Vec<&Reply>)| {
        let times = answered(of.iter().copied())?;
        let number = |wanted: &dyn Fn(&Fate) -> bool| of.iter().filter(|r| wanted(&r.fate)).count() as u64;
        Ok::<_, Failure>(Second {
            at,
            due: of.len() as u64,
            answered: times.len(),
            refused: number(&|f| *f == Fate::Refused),
            errors: number(&|f| f.is_error()),
            p50_ms: ms(times.value_at_quantile(0.5)),
            p99_ms: ms(times.value_at_quantile(0.99)),
            max_ms: ms(times.max()),
        })
    };
    by_second.into_iter().map(second).collect()
}

/// The time below which each share of the answers lies: points of (share, ms), denser towards the tail.
pub fn curve(load: &Load, warm_up: f64) -> Result<Vec<[f64; 2]>, Failure> {
    let times = answered(load.replies.iter().filter(|r| r.due.as_secs_f64() >= warm_up))?;
    // Past the end of the sample every share is the maximum.
    let points = times.iter_quantiles(5).filter(|v| v.quantile_iterated_to() < 1.0);
    Ok(points.map(|v| [v.quantile_iterated_to(), ms(v.value_iterated_to())]).collect())
}

/// How often each answer came.
pub fn answers(load: &Load) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    for reply in &load.replies {
        *all.entry(reply.said.trim().to_owned()).or_default() += 1;
    }
    all
}

fn histogram() -> Result<Histogram<u64>, Failure> {
    Histogram::new_with_bounds(1, LONGEST, DIGITS).map_err(|e| Failure::Other(e.to_string()))
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn ms(micros: u64) -> f64 {
    count(micros) / 1000.0
}

/// A count as a figure.
#[expect(clippy::cast_precision_loss, reason = "below 2^53")]
pub const fn count(n: u64) -> f64 {
    n as f64
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn reply(due_ms: u64, took_ms: u64, fate: Fate) -> Reply {
        Reply {
            number: 0,
            operation: Operation::Identify,
            fate,
            said: "200 ".into(),
            due: Duration::from_millis(due_ms),
            behind: Duration::from_micros(500),
            took: Duration::from_millis(took_ms),
        }
    }

    #[test]
    fn times_are_of_what_was_answered_and_shares_of_all() {
        let mut replies: Vec<Reply> = (1..=98).map(|ms| reply(1000 + ms, ms, Fate::Answered)).collect();
        replies.push(reply(1500, 4000, Fate::Refused));
        replies.push(reply(1600, 9000, Fate::Late));
        replies.push(reply(10, 60_000, Fate::Answered));
        let load = Load { replies, dropped: 0, seconds: 3.0 };
        let m = measures(&load, 1.0).unwrap();
        let near = |name: &str, value: f64| assert!((m[name] - value).abs() <= value * 0.002, "{name} {}", m[name]);
        near("all.p50_ms", 49.0);
        near("identify.max_ms", 98.0);
        near("all.answered_share", 0.98);
        near("all.refused_share", 0.01);
        near("all.error_share", 0.01);
        near("all.lost", 1.0);
        near("all.answered_per_second", 49.0);
        near("sender.behind_p99_ms", 0.5);
        assert!(!m.contains_key("verify.p50_ms"));
    }

    #[test]
    fn a_second_holds_what_was_due_in_it_and_the_curve_rises() {
        let replies =
            vec![reply(100, 3000, Fate::Answered), reply(900, 10, Fate::Wrong), reply(2100, 5, Fate::Answered)];
        let load = Load { replies, dropped: 0, seconds: 3.0 };
        let all = seconds(&load).unwrap();
        let shown: Vec<_> = all.iter().map(|s| (s.at, s.due, s.answered, s.errors)).collect();
        assert_eq!(shown, [(0, 2, 1, 1), (2, 1, 1, 0)]);
        let replies = (0..1000).map(|ms| reply(ms, ms, Fate::Answered)).collect();
        let curve = curve(&Load { replies, dropped: 0, seconds: 1.0 }, 0.0).unwrap();
        assert!(curve.len() > 20 && curve.windows(2).all(|w| w[0][0] < w[1][0] && w[0][1] <= w[1][1]));
        assert_eq!(answers(&load)["200"], 3);
    }
}
