//! The load: requests of many clients, closed loop (each sends its next once it is answered) or open loop (at a rate,
//! whatever the server does). Called by `serve`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use super::client::{Connection, Post, Server};
use crate::failure::Failure;

/// Connections of an open loop: more requests than these under way at once wait for one, and that counts as latency.
const OPEN_CONNECTIONS: usize = 256;

/// One server under load: how it is asked and how its answers are read.
pub struct Subject {
    /// In the report.
    pub name: String,
    /// Where.
    pub server: Server,
    /// Photos of the gallery that it refused.
    pub not_enrolled: usize,
    /// One request for each probe, with the identity it is of.
    pub probes: Vec<(Post, String)>,
    /// The best identity in an answer.
    pub best: fn(&[u8]) -> Option<String>,
}

/// How hard.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// So many clients, each with one request under way.
    Clients(usize),
    /// So many requests a second.
    Rate(f64),
}

/// What became of the requests.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Outcome {
    /// Answered with 200.
    pub answered: usize,
    /// Refused, by status.
    pub refused: usize,
    /// Answers whose best identity is the right one.
    pub right: usize,
    /// Answers a second.
    pub per_second: f64,
    /// Milliseconds from when a request was due to its answer.
    pub p50_ms: f64,
    /// As above.
    pub p95_ms: f64,
    /// As above.
    pub p99_ms: f64,
}

struct Sample {
    latency: Duration,
    ok: bool,
    right: bool,
}

/// Loads a server for a while.
///
/// # Errors
/// A server that cannot be reached, a connection that breaks.
pub async fn load(subject: &Arc<Subject>, pace: Pace, lasting: Duration) -> Result<Outcome, Failure> {
    let start = Instant::now();
    let samples = match pace {
        Pace::Clients(clients) => closed(subject, clients, start + lasting).await?,
        Pace::Rate(rate) => open(subject, rate, lasting).await?,
    };
    Ok(summed(&samples, start.elapsed()))
}

async fn closed(subject: &Arc<Subject>, clients: usize, end: Instant) -> Result<Vec<Sample>, Failure> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..clients.max(1) {
        let (subject, next, mut connection) = (Arc::clone(subject), Arc::clone(&next), subject.server.connect().await?);
        tasks.spawn(async move {
            let mut samples = Vec::new();
            while Instant::now() < end {
                samples.push(ask(&subject, &mut connection, next.fetch_add(1, Relaxed), Instant::now()).await?);
            }
            Ok::<_, Failure>(samples)
        });
    }
    let mut all = Vec::new();
    while let Some(done) = tasks.join_next().await {
        all.extend(done.map_err(interrupted)??);
    }
    Ok(all)
}

async fn open(subject: &Arc<Subject>, rate: f64, lasting: Duration) -> Result<Vec<Sample>, Failure> {
    let wanted = (rate * lasting.as_secs_f64()).round().max(1.0) as usize;
    let next = Arc::new(AtomicUsize::new(0));
    let mut connections = Vec::new();
    for _ in 0..OPEN_CONNECTIONS.min(wanted) {
        connections.push(subject.server.connect().await?);
    }
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for mut connection in connections {
        let (subject, next) = (Arc::clone(subject), Arc::clone(&next));
        tasks.spawn(async move {
            let mut samples = Vec::new();
            loop {
                let number = next.fetch_add(1, Relaxed);
                if number >= wanted {
                    return Ok::<_, Failure>(samples);
                }
                let due = start + Duration::from_secs_f64(number as f64 / rate);
                sleep_until(due.into()).await;
                samples.push(ask(&subject, &mut connection, number, due).await?);
            }
        });
    }
    let mut all = Vec::new();
    while let Some(done) = tasks.join_next().await {
        all.extend(done.map_err(interrupted)??);
    }
    Ok(all)
}

/// One request; its latency counts from when it was due.
async fn ask(subject: &Subject, connection: &mut Connection, number: usize, due: Instant) -> Result<Sample, Failure> {
    let (post, identity) = &subject.probes[number % subject.probes.len()];
    let (status, body): (u16, Bytes) = connection.post(post).await?;
    let latency = due.elapsed();
    let ok = status == 200;
    Ok(Sample { latency, ok, right: ok && (subject.best)(&body).as_ref() == Some(identity) })
}

fn interrupted(e: tokio::task::JoinError) -> Failure {
    Failure::Other(format!("the load was interrupted: {e}"))
}

fn summed(samples: &[Sample], elapsed: Duration) -> Outcome {
    let mut answered: Vec<f64> = samples.iter().filter(|s| s.ok).map(|s| s.latency.as_secs_f64() * 1000.0).collect();
    answered.sort_by(f64::total_cmp);
    let quantile = |share: f64| {
        let last = answered.len().saturating_sub(1);
        answered.get((last as f64 * share).round() as usize).copied().unwrap_or_default()
    };
    Outcome {
        answered: answered.len(),
        refused: samples.len() - answered.len(),
        right: samples.iter().filter(|s| s.right).count(),
        per_second: answered.len() as f64 / elapsed.as_secs_f64(),
        p50_ms: quantile(0.5),
        p95_ms: quantile(0.95),
        p99_ms: quantile(0.99),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_of_the_answered_alone() {
        let sample = |ms, ok| Sample { latency: Duration::from_millis(ms), ok, right: ok };
        let samples: Vec<Sample> = (1..=101).map(|ms| sample(ms, true)).chain([sample(900, false)]).collect();
        let sums = summed(&samples, Duration::from_secs(2));
        assert_eq!((sums.answered, sums.refused, sums.right), (101, 1, 101));
        assert_eq!((sums.p50_ms, sums.p99_ms, sums.per_second), (51.0, 100.0, 50.5));
        assert_eq!(summed(&[], Duration::from_secs(1)).p99_ms, 0.0);
    }
}
