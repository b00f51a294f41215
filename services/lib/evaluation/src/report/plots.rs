//! The plots of the reports: ROC, DET, score histograms, CMC, and score against FMR.

use super::svg::{Axis, Plot, Scale};
use crate::{Histogram, IdentificationPoint, RocPoint};

/// A curve of this run or of another, with its name.
pub struct Named<'a, T> {
    pub name: &'a str,
    pub of: &'a [T],
}

/// Classes of this run's and the other run's curves.
const CLASSES: [&str; 2] = ["ours", "other"];

/// Rates marked on normal-deviate axes.
const DET_TICKS: [f64; 10] = [1e-5, 1e-4, 1e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4];

/// A rate for a tick: `0.1 %`.
fn percent(rate: f64) -> String {
    let value = 100.0 * rate;
    let digits = if value >= 1.0 || value == 0.0 { 0 } else { (-value.log10()).ceil() as usize };
    format!("{value:.digits$} %")
}

/// The smallest rate that a sample can show, rounded down to a power of ten, within what is worth drawing.
fn floor(rates: impl Iterator<Item = f64>) -> f64 {
    let least = rates.filter(|r| *r > 0.0).fold(0.1, f64::min);
    10f64.powf((least * (1.0 + 1e-9)).log10().floor()).clamp(1e-6, 0.01)
}

fn log_axis(label: &'static str, from: f64) -> Axis {
    let decades = (-from.log10()).round() as i32;
    let ticks = (0..=decades).map(|d| 10f64.powi(-d)).map(|v| (v, percent(v))).collect();
    Axis { label, from, to: 1.0, scale: Scale::Log, ticks }
}

/// An axis for shares near 1, from a round share below the least.
fn share_axis(label: &'static str, least: f64) -> Axis {
    let from = [0.99, 0.98, 0.95, 0.9, 0.8, 0.6].into_iter().find(|f| least >= *f).unwrap_or(0.0);
    let step = (1.0 - from) / 5.0;
    let name = |v: f64| if step < 0.01 { format!("{:.1} %", 100.0 * v) } else { format!("{:.0} %", 100.0 * v) };
    let ticks = (0..=5).map(|i| from + step * f64::from(i)).map(|v| (v, name(v))).collect();
    Axis { label, from, to: 1.0, scale: Scale::Linear, ticks }
}

fn probit_axis(label: &'static str, from: f64) -> Axis {
    let ticks = DET_TICKS.into_iter().filter(|t| *t >= from).map(|t| (t, percent(t))).collect();
    Axis { label, from, to: 0.5, scale: Scale::Probit, ticks }
}

/// The ROC: TAR against FMR, the latter on a logarithmic axis, since only small rates are of use.
pub fn roc(curves: &[Named<'_, RocPoint>]) -> String {
    let x = log_axis("false match rate (strangers taken for one person)", floor(rates(curves, |p| p.fmr)));
    let from = x.from;
    let left = curves.iter().flat_map(|c| c.of.iter().filter(|p| p.fmr <= from).map(|p| p.tar).reduce(f64::max));
    let y = share_axis("true accept rate (one person recognised)", left.fold(1.0, f64::min));
    let mut plot = Plot::new("ROC", x, y);
    for (c, class) in curves.iter().zip(CLASSES) {
        plot.curve(class, legend(curves, c), c.of.iter().map(|p| (p.fmr, p.tar)));
    }
    plot.figure(
        "How many pairs of one person are recognised, for each rate of strangers let through. Higher is better.",
    )
}

/// The DET: FNMR against FMR on normal-deviate axes, with the points of equal error.
pub fn det(curves: &[Named<'_, RocPoint>], eer: &[f64]) -> String {
    let (x, y) = (floor(rates(curves, |p| p.fmr)), floor(rates(curves, |p| 1.0 - p.tar)));
    let (x, y) = (probit_axis("false match rate", x), probit_axis("false non-match rate", y));
    let mut plot = Plot::new("DET", x, y).legend_at_top();
    for (c, class) in curves.iter().zip(CLASSES) {
        // What lies at rate 0 lies off this plot: the curve begins where both rates are seen.
        plot.curve(class, legend(curves, c), c.of.iter().map(|p| (p.fmr, 1.0 - p.tar)));
    }
    for rate in eer {
        plot.dot(*rate, *rate, &format!("equal error rate {:.2} %", 100.0 * rate));
    }
    plot.figure(
        "Both kinds of error against each other; lower left is better. Axes are spread as a normal distribution is. \
         The dot marks the equal error rate.",
    )
}

/// FNIR against FPIR.
pub fn open_set(curves: &[Named<'_, IdentificationPoint>]) -> String {
    let (x, y) = (floor(rates(curves, |p| p.fpir)), floor(rates(curves, |p| p.fnir)));
    let x = log_axis("false positive identification rate", x);
    let y = log_axis("false negative identification rate", y);
    let mut plot = Plot::new("Open set: FNIR against FPIR", x, y).legend_at_top();
    for (c, class) in curves.iter().zip(CLASSES) {
        plot.curve(class, legend(curves, c), c.of.iter().map(|p| (p.fpir, p.fnir)));
    }
    plot.figure("People missed, for each rate of strangers who are taken for somebody enrolled. Lower is better.")
}

/// The cumulative match characteristic.
pub fn cmc(curves: &[Named<'_, f64>]) -> String {
    let last = curves.iter().map(|c| c.of.len()).max().unwrap_or(1).max(2);
    let ticks = [1, 2, 3, 5, 10, 20, 30, 40, 50].into_iter().filter(|k| *k <= last);
    let ticks = ticks.map(|k| (k as f64, k.to_string())).collect();
    let x = Axis { label: "rank", from: 1.0, to: last as f64, scale: Scale::Log, ticks };
    let least = curves.iter().filter_map(|c| c.of.first().copied()).fold(1.0, f64::min);
    let y = share_axis("searches that return the person within the rank", least);
    let mut plot = Plot::new("CMC", x, y);
    for (c, class) in curves.iter().zip(CLASSES) {
        plot.curve(class, legend(curves, c), c.of.iter().enumerate().map(|(i, share)| ((i + 1) as f64, *share)));
    }
    plot.figure("How far down the list of candidates the right person is, threshold left aside. Higher is better.")
}

/// Shares of scores by bin.
pub fn histogram(h: &Histogram, names: [&str; 2], threshold: Option<f64>, caption: &str) -> String {
    let shares = |counts: &[u64]| -> Vec<f64> {
        let all = counts.iter().sum::<u64>().max(1) as f64;
        counts.iter().map(|c| *c as f64 / all).collect()
    };
    let kinds = [("bar strangers", names[1], shares(&h.non_mated)), ("bar mated", names[0], shares(&h.mated))];
    let bins = h.mated.len().max(h.non_mated.len()).max(1) as f64;
    let (from, to) = (h.from, h.from + bins * h.width);
    let highest = kinds.iter().flat_map(|k| k.2.iter().copied()).fold(0.0, f64::max).max(1e-9);
    let step = tick_step(highest, 5.0);
    let ticks = (0..).map(|i| f64::from(i) * step).take_while(|t| *t <= highest * 1.001);
    let ticks = ticks.map(|t| (t, format!("{:.1} %", 100.0 * t))).collect();
    let y = Axis {
        label: "share of the comparisons of its kind",
        from: 0.0,
        to: highest * 1.3,
        scale: Scale::Linear,
        ticks,
    };
    let step = tick_step(to - from, 6.0);
    let first = (from / step).ceil() as i64;
    let ticks = (first..).map(|i| i as f64 * step).take_while(|t| *t <= to + 1e-9);
    let ticks = ticks.map(|t| (t, format!("{:.2}", t + 0.0))).collect();
    let x = Axis { label: "comparison score", from, to, scale: Scale::Linear, ticks };
    let mut plot = Plot::new("Scores", x, y).legend_at_top();
    for (class, name, shares) in &kinds {
        for (i, share) in shares.iter().enumerate() {
            let left = h.from + i as f64 * h.width;
            plot.bar(class.trim_start_matches("bar "), [left, left + h.width], *share);
        }
        plot.key(class, name);
    }
    if let Some(t) = threshold.filter(|t| (from..=to).contains(t)) {
        plot.vertical("threshold", &format!("threshold {t:.3}"), t);
    }
    plot.figure(caption)
}

/// Score against FMR: the calibration.
pub fn score_by_fmr(measured: &[(f64, f64)], rows: &[(f64, f64)], in_use: &[(f64, f64)]) -> String {
    let all = || measured.iter().chain(rows).chain(in_use);
    let (low, high) = all().fold((1.0, -1.0f64), |(l, h), p| (p.1.min(l), p.1.max(h)));
    let step = tick_step((high - low).max(0.1), 6.0);
    let (from, to) = ((low / step).floor() * step, (high / step).ceil() * step);
    let ticks = (0..).map(|i| from + step * f64::from(i)).take_while(|t| *t <= to + 1e-9);
    let ticks = ticks.map(|t| (t, format!("{:.2}", t + 0.0))).collect();
    let x = Axis { label: "comparison score", from, to, scale: Scale::Linear, ticks };
    let y = log_axis("share of strangers at or above it (FMR)", floor(all().map(|p| p.0)));
    let mut plot = Plot::new("False match rate by score", x, y).legend_at_top();
    let turned = |points: &[(f64, f64)]| points.iter().map(|p| (p.1, p.0)).collect::<Vec<_>>();
    plot.curve("ours", "this sample", turned(measured).into_iter());
    if !in_use.is_empty() {
        plot.curve("other", "table in use", turned(in_use).into_iter());
    }
    for (fmr, score) in rows {
        plot.dot(*score, *fmr, &format!("FMR {fmr:e}: score {score:.4}"));
    }
    plot.figure("How rare strangers are who are at least so alike. Dots are the rows of the table.")
}

/// 1, 2 or 5 times a power of ten, so that about so many steps fit.
fn tick_step(range: f64, steps: f64) -> f64 {
    let rough = range / steps;
    let power = 10f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= rough * 0.999).unwrap_or(rough)
}

fn rates<'a, T>(curves: &'a [Named<'_, T>], rate: fn(&T) -> f64) -> impl Iterator<Item = f64> + 'a {
    curves.iter().flat_map(move |c| c.of.iter().map(rate))
}

/// One curve alone needs no legend.
fn legend<'a, T>(curves: &[Named<'_, T>], c: &Named<'a, T>) -> &'a str {
    if curves.len() > 1 { c.name } else { "" }
}

/// Values by step; the dot is a place worth marking.
pub fn by_step(
    title: &'static str,
    label: &'static str,
    curves: &[(&str, &[(f64, f64)])],
    dot: Option<(f64, f64)>,
    caption: &str,
) -> String {
    let all = || curves.iter().flat_map(|(_, points)| points.iter()).filter(|(_, y)| y.is_finite());
    let last = all().map(|p| p.0).fold(1.0, f64::max);
    let (low, high) = all().fold((0.0f64, 0.0f64), |(l, h), p| (l.min(p.1), h.max(p.1)));
    let high = if high > low { high } else { low + 1.0 };
    let ticks = |from: f64, to: f64, steps: f64| {
        let step = tick_step(to - from, steps);
        let digits = (-step.log10().floor()).clamp(0.0, 8.0) as usize;
        let at = (0..64).map(move |i| from + step * f64::from(i)).take_while(move |t| *t <= to + step * 1e-6);
        at.map(|t| (t, format!("{t:.digits$}"))).collect::<Vec<_>>()
    };
    let x = Axis { label: "step", from: 0.0, to: last, scale: Scale::Linear, ticks: ticks(0.0, last, 6.0) };
    let y = Axis { label, from: low, to: high, scale: Scale::Linear, ticks: ticks(low, high, 5.0) };
    let mut plot = Plot::new(title, x, y);
    for ((name, points), class) in curves.iter().zip(CLASSES) {
        plot.curve(class, name, points.iter().copied().filter(|(_, y)| y.is_finite()));
    }
    if let Some((x, y)) = dot {
        plot.dot(x, y, &format!("step {x}: {y:.4}"));
    }
    plot.figure(caption)
}
