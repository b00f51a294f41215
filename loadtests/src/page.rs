//! A run as one page that needs nothing else: objectives, figures, times and rates second by second, the percentile
//! curve, memory, and what happened.

use evaluation::report::{
    html::{cards, facts, page as whole, paragraph, section, table, word_table},
    svg::{Axis, Plot, Scale},
};

use crate::{
    cli::PageArgs,
    document::{self, Document},
    failure::Failure,
    figures::count,
    output,
    plan::Operation,
};

/// Classes of curves in the style sheet of the reports.
const CURVES: [&str; 4] = ["ours", "other", "mated", "strangers"];
/// Most processes with a curve of their own.
const MOST_PROCESSES: usize = CURVES.len();

/// Makes the page of a run again.
///
/// # Errors
/// A file that is no run.
pub fn run(args: &PageArgs) -> Result<bool, Failure> {
    let document = Document::read(&args.run)?;
    document::write_text(&args.page, &page(&document))?;
    output::line(&format!("{}", args.page.display()));
    Ok(document.holds())
}

/// The page.
pub fn page(document: &Document) -> String {
    let title = format!("Load: {}", document.name);
    let subtitle = format!(
        "{} Against {}; {} cores, {}{}.",
        document.scenario.about,
        document.stand,
        document.machine.cores,
        document.machine.processor,
        if document.machine.optimised { "" } else { ", built without optimisations" }
    );
    let mut body = key_figures(document);
    body.push_str(&section("Objectives", &verdicts(document)));
    let plots = [times(document), rates(document), percentiles(document), memory(document)];
    body.push_str(&section("Over time", &format!("<div class=\"plots\">\n{}</div>\n", plots.concat())));
    body.push_str(&section("By operation", &operations(document)));
    if !document.search.is_empty() {
        body.push_str(&section("Rates that were tried", &steps(document)));
    }
    if !document.events.is_empty() {
        let rows: Vec<Vec<String>> =
            document.events.iter().map(|e| vec![format!("{:.1} s", e.at), e.what.clone()]).collect();
        body.push_str(&section("What happened to the service", &word_table(&["when", "what"], &rows)));
    }
    let rows: Vec<Vec<String>> = document.answers.iter().map(|(a, n)| vec![a.clone(), n.to_string()]).collect();
    body.push_str(&section("Answers", &table(&["answer", "how often"], &rows)));
    body.push_str(&section("All measures", &all_measures(document)));
    whole(&title, &subtitle, &body)
}

fn measure(document: &Document, name: &str) -> Option<f64> {
    document.measures.get(name).copied()
}

fn shown(document: &Document, name: &str, unit: &str) -> String {
    measure(document, name).map_or("–".to_owned(), |v| format!("{}{unit}", figure(v)))
}

/// Three digits that count.
fn figure(value: f64) -> String {
    let digits = match value.abs() {
        v if v >= 100.0 || v == 0.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        _ => 4,
    };
    format!("{value:.digits$}")
}

fn key_figures(document: &Document) -> String {
    let broken = document.verdicts.iter().filter(|v| !v.holds).count();
    let verdict = if broken == 0 { "hold".to_owned() } else { format!("{broken} broken") };
    let share = |name: &str| measure(document, name).map_or("–".to_owned(), |v| format!("{:.2} %", 100.0 * v));
    let dropped = measure(document, "sender.dropped").unwrap_or_default();
    let lag = format!("sender {} behind (p99), {dropped:.0} dropped", shown(document, "sender.behind_p99_ms", " ms"));
    cards(&[
        ("Objectives", verdict, format!("{} in all", document.verdicts.len())),
        ("Answered", shown(document, "all.answered_per_second", "/s"), share("all.answered_share")),
        ("Median", shown(document, "all.p50_ms", " ms"), "from the moment a request was due".into()),
        ("99th percentile", shown(document, "all.p99_ms", " ms"), lag),
        ("Refused", share("all.refused_share"), "told to come again".into()),
        ("Errors", share("all.error_share"), "late, wrong or without an answer".into()),
    ])
}

fn verdicts(document: &Document) -> String {
    let row = |v: &crate::slo::Verdict| {
        let value = v.value.map_or("not measured".to_owned(), figure);
        vec![v.measure.clone(), v.bound.clone(), value, if v.holds { "holds" } else { "BROKEN" }.to_owned()]
    };
    table(&["measure", "bound", "measured", ""], &document.verdicts.iter().map(row).collect::<Vec<_>>())
}

fn operations(document: &Document) -> String {
    let names = std::iter::once("all").chain(Operation::ALL.iter().map(|o| o.name()));
    let row = |name: &str| {
        let cell = |what: &str| shown(document, &format!("{name}.{what}"), "");
        measure(document, &format!("{name}.offered"))?;
        let columns = [
            "offered",
            "answered_per_second",
            "p50_ms",
            "p90_ms",
            "p95_ms",
            "p99_ms",
            "p999_ms",
            "max_ms",
            "error_share",
        ];
        Some(std::iter::once(name.to_owned()).chain(columns.map(cell)).collect())
    };
    let head = ["", "requests", "answered/s", "p50 ms", "p90 ms", "p95 ms", "p99 ms", "p99.9 ms", "max ms", "errors"];
    table(&head, &names.filter_map(row).collect::<Vec<_>>())
}

fn steps(document: &Document) -> String {
    let row = |s: &crate::search::Step| {
        let p99 = s.p99_ms.map_or("–".to_owned(), figure);
        let word = if s.holds { "holds" } else { "does not hold" };
        vec![figure(s.rate), format!("{:.2} %", 100.0 * s.answered_share), p99, word.to_owned()]
    };
    let rows: Vec<Vec<String>> = document.search.iter().map(row).collect();
    paragraph("The figures of this page are of the highest rate that holds.")
        + &table(&["requests/s", "answered", "p99 ms", ""], &rows)
}

fn all_measures(document: &Document) -> String {
    let list: Vec<(&str, String)> = document.measures.iter().map(|(name, v)| (name.as_str(), figure(*v))).collect();
    facts(&list)
}

/// Round numbers along an axis from 0, about five of them.
fn even(label: &'static str, to: f64) -> Axis {
    let to = if to > 0.0 { to } else { 1.0 };
    let rough = to / 5.0;
    let ten = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|f| f * ten).find(|s| *s >= rough).unwrap_or(ten);
    let mut ticks = Vec::new();
    let mut at = 0.0;
    while at <= to * 1.001 {
        ticks.push((at, if step >= 1.0 { format!("{at:.0}") } else { format!("{at:.2}") }));
        at += step;
    }
    Axis { label, from: 0.0, to, scale: Scale::Linear, ticks }
}

/// Decades of milliseconds.
fn decades(label: &'static str, least: f64, most: f64) -> Axis {
    let power = |v: f64| 10_f64.powf(v);
    let low = least.max(0.1).log10().floor();
    let high = most.max(1.0).log10().ceil().max(low + 1.0);
    let mut ticks = Vec::new();
    let mut at = low;
    while at <= high {
        let value = power(at);
        ticks.push((value, if value < 1.0 { format!("{value:.1}") } else { format!("{value:.0}") }));
        at += 1.0;
    }
    Axis { label, from: power(low), to: power(high), scale: Scale::Log, ticks }
}

fn end(document: &Document) -> f64 {
    document.seconds.last().map_or(1.0, |s| count(s.at + 1))
}

fn marks(document: &Document, plot: &mut Plot) {
    for (i, event) in document.events.iter().enumerate() {
        let name = if i == 0 { "something happens to the service" } else { "" };
        plot.vertical("threshold", name, event.at);
    }
}

fn times(document: &Document) -> String {
    let all = || document.seconds.iter().filter(|s| s.answered > 0);
    let least = all().map(|s| s.p50_ms).fold(f64::INFINITY, f64::min);
    let most = all().map(|s| s.max_ms).fold(1.0, f64::max);
    let x = even("seconds from the start of the load", end(document));
    let y = decades("ms from the moment a request was due", if least.is_finite() { least } else { 1.0 }, most);
    let mut plot = Plot::new("Time to answer", x, y).legend_at_top();
    plot.curve("strangers", "longest", all().map(|s| (count(s.at) + 0.5, s.max_ms)));
    plot.curve("other", "99th percentile", all().map(|s| (count(s.at) + 0.5, s.p99_ms)));
    plot.curve("ours", "median", all().map(|s| (count(s.at) + 0.5, s.p50_ms)));
    marks(document, &mut plot);
    plot.figure("Of the requests that were due in each second, whenever their answers came.")
}

fn rates(document: &Document) -> String {
    let most = document.seconds.iter().map(|s| count(s.due)).fold(1.0, f64::max);
    let (x, y) = (even("seconds from the start of the load", end(document)), even("requests a second", most * 1.15));
    let mut plot = Plot::new("What became of them", x, y);
    let all = || document.seconds.iter();
    plot.curve("other", "due", all().map(|s| (count(s.at) + 0.5, count(s.due))));
    plot.curve("mated", "answered", all().map(|s| (count(s.at) + 0.5, count(s.answered))));
    plot.curve("strangers", "refused or failed", all().map(|s| (count(s.at) + 0.5, count(s.refused + s.errors))));
    marks(document, &mut plot);
    plot.figure("By the second in which they were due.")
}

fn percentiles(document: &Document) -> String {
    let tail = |share: f64| 1.0 / (1.0 - share).max(1e-6);
    let furthest = document.curve.iter().map(|p| tail(p[0])).fold(100.0, f64::max);
    let highest = furthest.log10().ceil();
    let names = ["0 %", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %", "99.9999 %"];
    let ticks = (0..).map(f64::from).zip(names).take_while(|(n, _)| *n <= highest);
    let ticks = ticks.map(|(n, name)| (10_f64.powf(n), name.to_owned())).collect();
    let to = 10_f64.powf(highest);
    let x = Axis { label: "share of the answers", from: 1.0, to, scale: Scale::Log, ticks };
    let most = document.curve.iter().map(|p| p[1]).fold(1.0, f64::max);
    let mut plot = Plot::new("Percentiles", x, even("ms from the moment a request was due", most * 1.1));
    plot.curve("ours", "", document.curve.iter().map(|p| (tail(p[0]), p[1])));
    plot.figure("The time within which each share was answered; every mark to the right is a tenth of what was left.")
}

fn memory(document: &Document) -> String {
    if document.memory.is_empty() {
        return String::new();
    }
    let points = || document.memory.iter().flat_map(|s| &s.points);
    let most = points().map(|p| p[1]).fold(1.0, f64::max);
    let last = points().map(|p| p[0]).fold(1.0, f64::max);
    let mut plot =
        Plot::new("Memory", even("seconds from the start of the load", last), even("resident MiB", most * 1.4));
    plot = plot.legend_at_top();
    // Those that hold most.
    let mut largest: Vec<_> = document.memory.iter().collect();
    let peak = |s: &crate::watch::Series| s.points.iter().map(|p| p[1]).fold(0.0, f64::max);
    largest.sort_by(|a, b| peak(b).total_cmp(&peak(a)));
    for (series, class) in largest.into_iter().take(MOST_PROCESSES).zip(CURVES) {
        plot.curve(class, &series.process, series.points.iter().map(|p| (p[0], p[1])));
    }
    marks(document, &mut plot);
    plot.figure("Of the processes that hold most.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_round_marks() {
        let axis = even("x", 43.0);
        let marks: Vec<&str> = axis.ticks.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(marks, ["0", "10", "20", "30", "40"]);
        let axis = decades("y", 3.0, 700.0);
        assert_eq!((axis.from, axis.to, axis.ticks.len()), (1.0, 1000.0, 4));
        assert_eq!(even("x", 0.0).to, 1.0);
    }
}
