//! The highest rate that holds: up by half until one does not, then halfway between until the two are close.

use serde::{Deserialize, Serialize};

use crate::{
    failure::Failure,
    figures::{self, Measures},
    load::{Load, ROOM, open_loop},
    output,
    plan::sender,
    residents::Prepared,
    scenario::{Flow, Search},
};

/// Steps up before it is given up: a service that holds whatever comes has its limit elsewhere.
const MOST_STEPS: usize = 16;
/// From one rate that holds to the next, until one does not.
const UP: f64 = 1.5;

/// A rate that was tried.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Step {
    /// Requests a second.
    pub rate: f64,
    /// Share of them that was answered.
    pub answered_share: f64,
    /// 99th percentile of the answers, if there were any.
    pub p99_ms: Option<f64>,
    /// Whether it holds.
    pub holds: bool,
}

/// What was found.
pub struct Found {
    /// All rates, in the order they were tried.
    pub steps: Vec<Step>,
    /// The load at the highest rate that holds.
    pub best: Load,
}

/// Between which rates the limit lies.
#[derive(Debug, Default)]
struct Hunt {
    holds: Option<f64>,
    breaks: Option<f64>,
}

impl Hunt {
    /// The next rate to try; none once the two are close.
    fn next(&self, first: f64, precision: f64) -> Option<f64> {
        match (self.holds, self.breaks) {
            (None, None) => Some(first),
            (Some(low), None) => Some(low * UP),
            (None, Some(high)) => Some(high / UP),
            (Some(low), Some(high)) if high <= low * (1.0 + precision) => None,
            (Some(low), Some(high)) => Some(f64::midpoint(low, high)),
        }
    }

    fn tried(&mut self, rate: f64, holds: bool) {
        let end = if holds { &mut self.holds } else { &mut self.breaks };
        *end = Some(rate);
    }
}

/// Tries rates until the limit is known well enough.
///
/// # Errors
/// No rate holds.
pub async fn find(at: &mut Prepared, wanted: Search, capacity: f64, stretch: f64) -> Result<Found, Failure> {
    let (mut hunt, mut steps, mut best) = (Hunt::default(), Vec::new(), None);
    while steps.len() < MOST_STEPS
        && let Some(rate) = hunt.next(capacity * wanted.from_of_capacity, wanted.precision)
    {
        let flow = Flow { rate, seconds: wanted.step_seconds * stretch };
        let load = open_loop(&[flow], ROOM, sender(&at.client, &at.plan.next_series())).await;
        let step = Step::of(rate, &load, &wanted)?;
        let word = if step.holds { "holds" } else { "does not hold" };
        let p99 = step.p99_ms.unwrap_or(f64::NAN);
        output::line(&format!(
            "  {rate:.1} requests/s {word}: {:.2} % answered, p99 {p99:.0} ms",
            100.0 * step.answered_share
        ));
        hunt.tried(rate, step.holds);
        if step.holds {
            best = Some(load);
        }
        steps.push(step);
    }
    let best = best.ok_or_else(|| Failure::Service("no rate holds that was tried".into()))?;
    Ok(Found { steps, best })
}

impl Step {
    fn of(rate: f64, load: &Load, wanted: &Search) -> Result<Self, Failure> {
        let measures = figures::measures(load, 0.0)?;
        let answered_share = measures.get("all.answered_share").copied().unwrap_or_default();
        let p99_ms = measures.get("all.p99_ms").copied();
        let in_time = p99_ms.is_some_and(|p| p <= wanted.p99_ms);
        let holds = load.dropped == 0 && in_time && answered_share >= wanted.answered_share;
        Ok(Self { rate, answered_share, p99_ms, holds })
    }
}

impl Found {
    /// Measures at the limit, and the limit.
    ///
    /// # Errors
    /// A histogram that cannot be made.
    pub fn measures(&self, capacity: f64) -> Result<Measures, Failure> {
        let mut measures = figures::measures(&self.best, 0.0)?;
        let rates = self.steps.iter().filter(|s| s.holds).map(|s| s.rate);
        let highest = rates.fold(0.0, f64::max);
        measures.insert("search.highest_rate".into(), highest);
        measures.insert("search.highest_rate_of_capacity".into(), highest / capacity);
        Ok(measures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(of: f64, first: f64) -> (f64, usize) {
        let (mut hunt, mut tries) = (Hunt::default(), 0);
        while let Some(rate) = hunt.next(first, 0.05) {
            hunt.tried(rate, rate <= of);
            tries += 1;
            assert!(tries < 40, "it comes to no end");
        }
        (hunt.holds.unwrap(), tries)
    }

    #[test]
    fn the_limit_is_found_from_below_and_from_above() {
        for first in [2.0, 40.0, 100.0, 900.0] {
            let (found, tries) = limit(100.0, first);
            assert!((95.0..=100.0).contains(&found), "{found} from {first} in {tries}");
        }
    }
}
