//! `visavis queue`: the dead letters of the lanes, for an operator. Shows what a job was, never whose picture it holds.

use std::fmt::Write as _;

use domain::Lane;
use queue::{DeadLetter, EntryId, Queue};
use runtime::Config;

use crate::cli::{LetterArgs, QueueCommand};
use crate::engines;
use crate::failure::Failure;
use crate::output;
use crate::records::Records;
use crate::sealing;

/// Most dead letters looked at.
const ALL: usize = 10_000;

/// Carries out one of the queue's commands.
///
/// # Errors
/// A server that is away, a dead letter that is not there, an id that is none.
pub async fn run(config: &Config, command: &QueueCommand) -> Result<(), Failure> {
    let keys = sealing::keys(config, false).await?;
    let (queue, _) = engines::shared_queue(config, &keys)?;
    match command {
        QueueCommand::Ls { lane, json, .. } => list(&queue, lanes(*lane), *json).await,
        QueueCommand::Show { id, lane, .. } => {
            let (lane, letter) = find(&queue, &lanes(*lane), id).await?;
            show(lane, &letter);
            Ok(())
        }
        QueueCommand::Retry(LetterArgs { id, lane, .. }) => {
            let records = Records::of(config, &keys).await?;
            let mut count = 0;
            for (lane, letter) in chosen(&queue, &lanes(*lane), id.as_deref()).await? {
                count += usize::from(records.retry(&queue, lane, &letter).await?);
            }
            output::text(&format!("{count} back on its lane"));
            Ok(())
        }
        QueueCommand::Drop(LetterArgs { id, lane, .. }) => {
            let mut count = 0;
            for (lane, letter) in chosen(&queue, &lanes(*lane), id.as_deref()).await? {
                count += usize::from(queue.drop_dead_letter(lane, &letter.id).await.map_err(away)?);
            }
            output::text(&format!("{count} forgotten"));
            Ok(())
        }
    }
}

/// One dead letter, on whichever of these lanes it died.
async fn find(queue: &Queue, lanes: &[Lane], id: &str) -> Result<(Lane, DeadLetter), Failure> {
    let is_one = id.split_once('-').is_some_and(|(ms, n)| [ms, n].iter().all(|part| part.parse::<u64>().is_ok()));
    if !is_one {
        let detail =
            format!("{id:?} is no id of a dead letter: they look like 1767225600000-0; `visavis queue ls` shows them");
        return Err(Failure::Usage(detail));
    }
    for lane in lanes {
        if let Some(letter) = queue.dead_letter(*lane, &EntryId::new(id)).await.map_err(away)? {
            return Ok((*lane, letter));
        }
    }
    Err(Failure::Usage(format!("there is no dead letter {id}; `visavis queue ls` shows them")))
}

/// The one that is named, or without an id all of them.
async fn chosen(queue: &Queue, lanes: &[Lane], id: Option<&str>) -> Result<Vec<(Lane, DeadLetter)>, Failure> {
    if let Some(id) = id {
        return Ok(vec![find(queue, lanes, id).await?]);
    }
    let mut all = Vec::new();
    for lane in lanes {
        let letters = queue.dead_letters(*lane, ALL).await.map_err(away)?;
        all.extend(letters.into_iter().map(|letter| (*lane, letter)));
    }
    Ok(all)
}

fn lanes(one: Option<LaneName>) -> Vec<Lane> {
    one.map_or_else(|| Lane::ALL.to_vec(), |l| vec![l.0])
}

/// A lane on the command line.
#[derive(Clone, Copy, Debug)]
pub struct LaneName(pub Lane);

impl std::str::FromStr for LaneName {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let known = Lane::ALL.into_iter().find(|l| l.as_str() == s);
        known.map(Self).ok_or_else(|| "must be interactive, bulk or train".into())
    }
}

async fn list(queue: &Queue, lanes: Vec<Lane>, json: bool) -> Result<(), Failure> {
    let (mut text, mut rows) = (String::new(), Vec::new());
    for lane in lanes {
        let depth = queue.depth(lane).await.map_err(away)?;
        let letters = queue.dead_letters(lane, ALL).await.map_err(away)?;
        let _ = writeln!(
            text,
            "{:12} {} waiting (oldest {:.1} s), {} in work, {} dead",
            lane.as_str(),
            depth.waiting,
            depth.oldest_age.as_secs_f64(),
            depth.in_flight,
            letters.len()
        );
        for letter in &letters {
            let about = About::of(letter);
            let _ = writeln!(
                text,
                "  {:24} {}  {:14} {} deliveries  {}",
                letter.id, letter.died_at, about.kind, letter.deliveries, letter.reason
            );
            rows.push(serde_json::json!({
                "lane": lane.as_str(), "id": letter.id.as_str(), "died_at": letter.died_at, "kind": about.kind,
                "job_id": about.job, "tenant": about.tenant, "deliveries": letter.deliveries,
                "reason": letter.reason, "bytes": letter.bytes.len(),
            }));
        }
    }
    if json {
        text = rows.iter().map(|row| format!("{row}\n")).collect();
    }
    output::text(&text);
    Ok(())
}

fn show(lane: Lane, letter: &DeadLetter) {
    let about = About::of(letter);
    let rows = [
        ("lane", lane.as_str().to_owned()),
        ("died", letter.died_at.to_string()),
        ("reason", letter.reason.clone()),
        ("deliveries", letter.deliveries.to_string()),
        ("bytes", letter.bytes.len().to_string()),
        ("job", about.job),
        ("kind", about.kind),
        ("tenant", about.tenant),
        ("API key", about.key),
        ("request", about.request),
        ("accepted", about.created),
        ("deadline", about.deadline),
    ];
    let text: String = rows.iter().map(|(name, value)| format!("{name:12} {value}\n")).collect();
    output::text(&text);
}

/// What may be told of a dead letter.
#[derive(Default)]
struct About {
    job: String,
    kind: String,
    tenant: String,
    key: String,
    request: String,
    created: String,
    deadline: String,
}

impl About {
    fn of(letter: &DeadLetter) -> Self {
        let Some(told) = queue::describe(letter) else {
            return Self { kind: "unreadable".into(), ..Self::default() };
        };
        Self {
            job: told.job_id,
            kind: told.kind.unwrap_or("unknown").to_owned(),
            tenant: told.tenant,
            key: told.key_id,
            request: told.request_id,
            created: told.created.to_string(),
            deadline: told.deadline.to_string(),
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "fits map_err")]
fn away(e: queue::QueueError) -> Failure {
    Failure::Unavailable(e.to_string())
}
