//! Memory of the service's processes while it is under load, and whether it grows. The store's is told apart: it keeps
//! what it is given, an event of the audit trail for every recognition, and is to grow by that and by no more.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Resident memory of one process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Series {
    /// Which.
    pub process: String,
    /// Points of (seconds from the start of the load, MiB).
    pub points: Vec<[f64; 2]>,
}

/// Samples of all processes.
#[derive(Debug, Default)]
pub struct Watch {
    by_process: BTreeMap<String, Vec<[f64; 2]>>,
}

impl Watch {
    /// One look at all processes: name and resident bytes.
    pub fn look(&mut self, at: f64, memory: &[(String, u64)]) {
        for (process, bytes) in memory {
            let mib = crate::figures::count(*bytes) / f64::from(1 << 20);
            self.by_process.entry(process.clone()).or_default().push([at, mib]);
        }
    }

    /// What was seen.
    pub fn series(self) -> Vec<Series> {
        self.by_process.into_iter().map(|(process, points)| Series { process, points }).collect()
    }
}

/// The process that keeps what it is given, as the stand names it.
pub const STORE: &str = "redis";

/// Growth of all processes but the store together in MiB an hour, from `from` seconds on: the slope of a straight line
/// through each process's points. Nothing for less than ten looks.
pub fn growth(series: &[Series], from: f64) -> Option<f64> {
    let slopes: Vec<f64> = working(series).filter_map(|s| slope(&s.points, from)).collect();
    (!slopes.is_empty()).then(|| slopes.iter().sum::<f64>() * 3600.0)
}

/// Growth of the store in bytes a second, likewise.
pub fn kept(series: &[Series], from: f64) -> Option<f64> {
    let store = series.iter().find(|s| s.process == STORE)?;
    slope(&store.points, from).map(|mib| mib * f64::from(1 << 20))
}

/// Memory of all processes but the store together at the end.
pub fn last(series: &[Series]) -> f64 {
    working(series).filter_map(|s| s.points.last()).map(|p| p[1]).sum()
}

fn working(series: &[Series]) -> impl Iterator<Item = &Series> {
    series.iter().filter(|s| s.process != STORE)
}

fn slope(points: &[[f64; 2]], from: f64) -> Option<f64> {
    let kept: Vec<[f64; 2]> = points.iter().copied().filter(|p| p[0] >= from).collect();
    if kept.len() < 10 {
        return None;
    }
    let n = crate::figures::count(kept.len() as u64);
    let mean = |i: usize| kept.iter().map(|p| p[i]).sum::<f64>() / n;
    let (mx, my) = (mean(0), mean(1));
    let (over, under) = kept.iter().fold((0.0, 0.0), |(over, under), p| {
        let dx = p[0] - mx;
        (over + dx * (p[1] - my), under + dx * dx)
    });
    (under > 0.0).then_some(over / under)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_the_slope_after_the_warm_up_of_all_processes() {
        let line = |mib_per_second: f64| -> Vec<[f64; 2]> {
            // Climbs steeply until the tenth second, as galleries and pools fill.
            (0..100).map(f64::from).map(|t| [t, if t < 10.0 { 50.0 * t } else { 500.0 + mib_per_second * t }]).collect()
        };
        let series = |name: &str, points| Series { process: name.into(), points };
        let all = [series("a", line(0.001)), series("b", line(0.0)), series(STORE, line(0.5))];
        let grown = growth(&all, 10.0).unwrap();
        assert!((grown - 3.6).abs() < 1e-6, "{grown}");
        assert!(growth(&all, 0.0).unwrap() > 100.0);
        assert!((last(&all) - 1000.099).abs() < 1e-6, "{}", last(&all));
        let stored = kept(&all, 10.0).unwrap();
        assert!((stored - 524_288.0).abs() < 1e-3, "{stored}");
        assert_eq!(growth(&[series("a", line(1.0)[..5].to_vec())], 0.0), None);
    }
}
