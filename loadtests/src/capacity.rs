//! The capacity model, held against a measurement: what one request costs while nothing else runs says how many the
//! machine carries, `cores / seconds of processor per request`. Also what a subject takes in Redis.

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::{
    answers::Fate,
    cli::CapacityArgs,
    document::{self, Machine},
    failure::Failure,
    figures::{self, count},
    load::closed_loop,
    output,
    pictures::Album,
    plan::sender,
    residents::{Prepared, enrol, prepare},
    run::CALLERS,
    scenario::Scenario,
    stand::Stand,
};

/// Kernel ticks a second in /proc: the ABI fixes USER_HZ at 100 on the supported architectures.
const TICKS: f64 = 100.0;
/// The scenario whose requests are counted.
const SCENARIO: &str = "capacity";
/// Stages of a job that compute.
const STAGES: [&str; 6] = ["decode", "detect", "align", "embed", "search", "store"];

/// What requests cost with so many callers.
#[derive(Debug, Serialize)]
struct Cost {
    callers: u64,
    /// Answered as they should be, a second.
    per_second: f64,
    /// Processor time of each process for one request, in milliseconds.
    cpu_ms: BTreeMap<String, f64>,
    /// Time of each stage of one job, in milliseconds.
    stage_ms: BTreeMap<String, f64>,
    /// Median of the answers.
    p50_ms: f64,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Capacity {
    machine: Machine,
    alone: Cost,
    full: Cost,
    /// Requests a second, from the cost alone.
    predicted_per_second: f64,
    /// Predicted over measured.
    ratio: f64,
    /// Bytes of Redis for a subject with one face.
    redis_bytes_per_subject: f64,
}

/// Whether the prediction is close enough.
///
/// # Errors
/// A service that does not answer.
pub async fn run(args: &CapacityArgs) -> Result<bool, Failure> {
    let (_, scenario) = Scenario::read(SCENARIO)?;
    let (album, mut stand) = (Album::open(None)?, Stand::local(scenario.cluster, Vec::new()));
    output::line(&format!("capacity: {}\n  against {}", scenario.about, stand.name()));
    let mut at = prepare(&stand, &scenario, &album).await?;
    let redis_bytes_per_subject = subject_bytes(&mut stand, &at, scenario.enrolled, args.subjects).await?;
    let lasting = Duration::from_secs_f64(args.seconds);
    drop(closed_loop(CALLERS, lasting / 5, sender(&at.client, &at.plan.next_series())).await);
    let alone = cost(&stand, &mut at, 1, lasting).await?;
    let full = cost(&stand, &mut at, CALLERS, lasting).await?;
    let machine = Machine::this();
    let cpu_seconds: f64 = alone.cpu_ms.values().sum::<f64>() / 1000.0;
    let predicted = count(machine.cores as u64) / cpu_seconds;
    let found = Capacity {
        ratio: predicted / full.per_second,
        predicted_per_second: predicted,
        machine,
        alone,
        full,
        redis_bytes_per_subject,
    };
    output::line(&found.table());
    document::write(&args.out.join("capacity.json"), &found)?;
    Ok((found.ratio - 1.0).abs() <= args.within)
}

async fn cost(stand: &Stand, at: &mut Prepared, callers: u64, lasting: Duration) -> Result<Cost, Failure> {
    let (cpu, stages) = (processor(stand), stage_sums(stand));
    let began = Instant::now();
    let load = closed_loop(callers, lasting, sender(&at.client, &at.plan.next_series())).await;
    let took = began.elapsed().as_secs_f64();
    let answered = load.replies.iter().filter(|r| r.fate == Fate::Answered).count() as u64;
    if answered == 0 {
        return Err(Failure::Service(format!("nothing is answered: {:?}", figures::answers(&load))));
    }
    let each = |before: &BTreeMap<String, f64>, after: BTreeMap<String, f64>| -> BTreeMap<String, f64> {
        let spent = |(name, after): (String, f64)| {
            let before = before.get(&name).copied().unwrap_or_default();
            (name, 1000.0 * (after - before) / count(answered))
        };
        after.into_iter().map(spent).collect()
    };
    let p50_ms = figures::measures(&load, 0.0)?.get("all.p50_ms").copied().unwrap_or_default();
    Ok(Cost {
        callers,
        per_second: count(answered) / took,
        cpu_ms: each(&cpu, processor(stand)),
        stage_ms: each(&stages, stage_sums(stand)),
        p50_ms,
    })
}

/// Seconds of processor that each process has taken so far, this one included.
fn processor(stand: &Stand) -> BTreeMap<String, f64> {
    let mut all: BTreeMap<String, f64> = BTreeMap::new();
    for (name, pid) in stand.processes() {
        // nginx leads a group of processes.
        let spent = if name == "nginx" { of_group(pid) } else { ticks(&pid.to_string()).map(|(_, t)| t) };
        *all.entry(name).or_default() += spent.unwrap_or_default();
    }
    all.insert("the sender".into(), ticks("self").map_or(0.0, |(_, t)| t));
    all
}

fn of_group(leader: u32) -> Option<f64> {
    let processes = fs::read_dir("/proc").ok()?.filter_map(|e| e.ok()?.file_name().into_string().ok());
    let of = processes.filter(|p| p.bytes().all(|b| b.is_ascii_digit())).filter_map(|p| ticks(&p));
    Some(of.filter(|(group, _)| *group == leader).map(|(_, t)| t).sum())
}

/// Process group and seconds of processor, user and system.
fn ticks(process: &str) -> Option<(u32, f64)> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The command's name in parentheses may hold spaces. After it: state, parent, group, …; user and system time are the
    // 12th and 13th field.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let time = |i: usize| fields.get(i)?.parse::<f64>().ok();
    Some((fields.get(2)?.parse().ok()?, (time(11)? + time(12)?) / TICKS))
}

fn stage_sums(stand: &Stand) -> BTreeMap<String, f64> {
    let sum = |stage: &str| stand.metric("visavis_stage_seconds_sum", &format!("stage=\"{stage}\""));
    STAGES.iter().map(|stage| ((*stage).to_owned(), sum(stage))).collect()
}

/// Bytes of Redis for each of so many further subjects.
async fn subject_bytes(stand: &mut Stand, at: &Prepared, from: usize, many: usize) -> Result<f64, Failure> {
    let before = used(stand)?;
    enrol(&at.client, &at.plan, from..from + many).await?;
    Ok((used(stand)? - before) / count(many.max(1) as u64))
}

/// Bytes that the data in Redis take, without what its clients take.
fn used(stand: &mut Stand) -> Result<f64, Failure> {
    let info = stand.cluster()?.redis().command(&["INFO", "memory"]);
    let value = info.lines().find_map(|l| l.strip_prefix("used_memory_dataset:"));
    let bytes = value.and_then(|v| v.trim().parse().ok());
    bytes.ok_or_else(|| Failure::Service("Redis does not tell its memory".into()))
}

impl Capacity {
    fn table(&self) -> String {
        let mut text = String::new();
        let line = |name: &str, costs: [Option<&f64>; 2]| {
            let [alone, full] = costs.map(|c| c.map_or("-".to_owned(), |ms| format!("{ms:.2}")));
            format!("  {name:24} {alone:>10} {full:>10}\n")
        };
        text.push_str(&format!("  {:24} {:>10} {:>10}\n", "ms per request", "1 caller", format!("{CALLERS} callers")));
        for name in self.alone.stage_ms.keys() {
            let stage = format!("stage {name}");
            text.push_str(&line(&stage, [self.alone.stage_ms.get(name), self.full.stage_ms.get(name)]));
        }
        for name in self.alone.cpu_ms.keys() {
            let process = format!("processor: {name}");
            text.push_str(&line(&process, [self.alone.cpu_ms.get(name), self.full.cpu_ms.get(name)]));
        }
        let sums = [&self.alone, &self.full].map(|c| c.cpu_ms.values().sum::<f64>());
        text.push_str(&line("processor: together", [Some(&sums[0]), Some(&sums[1])]));
        text.push_str(&line("median of the answers", [Some(&self.alone.p50_ms), Some(&self.full.p50_ms)]));
        text.push_str(&format!(
            "  answered {:.1}/s by 1 caller, {:.1}/s by {CALLERS}; predicted {:.1}/s from the first column on {} cores: \
             {:.3} of what was measured\n  a subject with one face takes {:.1} KiB of Redis",
            self.alone.per_second,
            self.full.per_second,
            self.predicted_per_second,
            self.machine.cores,
            self.ratio,
            self.redis_bytes_per_subject / 1024.0
        ));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_taken_time_and_is_in_its_group() {
        let (group, spent) = ticks("self").unwrap();
        assert!(spent >= 0.0 && group > 0);
        assert!(of_group(group).unwrap() >= spent);
        assert_eq!(ticks("no such process"), None);
    }
}
