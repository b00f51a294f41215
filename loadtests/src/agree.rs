//! k6 and this program send the same load to the same service, in turns; what they measured is held against each other.
//! They must agree on the median and on the rate. At the tail they need not: k6 times a request from when it was sent,
//! this program from when it was due.

use serde::Serialize;
use tokio::task::block_in_place;

use crate::{
    cli::AgreeArgs,
    document,
    failure::Failure,
    figures,
    k6::{self, Summary},
    load::{ROOM, open_loop},
    output,
    pictures::Album,
    plan::sender,
    residents::prepare,
    run::carries,
    scenario::Scenario,
    stand::Stand,
};

/// One turn of each.
#[derive(Debug, Serialize)]
struct Round {
    ours: [f64; 3],
    theirs: [f64; 3],
}

/// What was found.
#[derive(Debug, Serialize)]
struct Agreement {
    rate: f64,
    seconds: f64,
    /// p50 ms, p99 ms and answers a second of each turn.
    rounds: Vec<Round>,
    /// Theirs over ours, the median over the turns: p50, p99, answers a second.
    ratios: [f64; 3],
}

/// Whether the two agree on median and rate.
///
/// # Errors
/// A service that does not answer, k6 that does not run.
pub async fn run(args: &AgreeArgs) -> Result<bool, Failure> {
    let (name, scenario) = Scenario::read(&args.scenario)?;
    let (album, stand) = (Album::open(None)?, Stand::open(&args.stand, scenario.cluster, scenario.promotes())?);
    output::line(&format!("{name}: {}\n  against {}", scenario.about, stand.name()));
    let mut at = prepare(&stand, &scenario, &album).await?;
    let capacity = match args.capacity {
        Some(told) => told,
        None => carries(&mut at).await?,
    };
    let flow = scenario.flows(Some(capacity), 1.0).first().copied();
    let flow = flow.ok_or_else(|| Failure::Other(format!("{name} has no stage")))?;
    let mut rounds = Vec::new();
    for round in 0..args.rounds.max(1) {
        let load = open_loop(&[flow], ROOM, sender(&at.client, &at.plan.next_series())).await;
        let m = figures::measures(&load, 0.0)?;
        let get = |what: &str| m.get(&format!("all.{what}")).copied().unwrap_or(f64::NAN);
        let ours = [get("p50_ms"), get("p99_ms"), get("answered_per_second")];
        let told = block_in_place(|| k6::run(&stand, (&name, at.plan.collection()), &album, flow))?;
        let Summary { p50_ms, p99_ms, answered_per_second, dropped } = told;
        let theirs = [p50_ms, p99_ms, answered_per_second];
        output::line(&format!(
            "  turn {}: here p50 {:.1} ms, p99 {:.1} ms, {:.2}/s; k6 p50 {p50_ms:.1} ms, p99 {p99_ms:.1} ms, \
             {answered_per_second:.2}/s, {dropped:.0} dropped",
            round + 1,
            ours[0],
            ours[1],
            ours[2]
        ));
        rounds.push(Round { ours, theirs });
    }
    let ratios = [0, 1, 2].map(|i| median(rounds.iter().map(|r| r.theirs[i] / r.ours[i]).collect()));
    let agree = [ratios[0], ratios[2]].iter().all(|r| (r - 1.0).abs() <= args.within);
    output::line(&format!(
        "  k6 over here: p50 {:.3}, answers/s {:.3}, p99 {:.3}; {} within {:.0} % on p50 and rate",
        ratios[0],
        ratios[2],
        ratios[1],
        if agree { "they agree" } else { "they do NOT agree" },
        100.0 * args.within
    ));
    let agreement = Agreement { rate: flow.rate, seconds: flow.seconds, rounds, ratios };
    document::write(&args.out.join("agree.json"), &agreement)?;
    Ok(agree)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let (n, at) = (values.len(), |i: usize| values.get(i).copied().unwrap_or(f64::NAN));
    if n % 2 == 1 { at(n / 2) } else { f64::midpoint(at(n / 2 - 1), at(n / 2)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
