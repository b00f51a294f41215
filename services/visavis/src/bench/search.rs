//! `visavis bench search`: exact search of a gallery of vectors like those of faces, beside the time that reading as
//! many bytes takes. Called by `bench`.

use std::{
    fs,
    sync::{Arc, mpsc},
    thread,
    time::Instant,
};

use domain::{ContractId, FaceId, Metadata, SubjectId, Template};
use gallery::{FlatIndex, Index, Memory, Query, Row, RowKey, SubjectEntry, kernel_name, synthetic::Faces};
use serde::Serialize;
use store::SubjectHandle;

use super::{Report, machine::cores, median};
use crate::{cli::SearchArgs, failure::Failure};

/// Most bytes that are read for comparison: more do not change the speed.
const MOST_READ: usize = 1 << 30;

/// Templates that are put together.
const CHUNK: u64 = 4096;

/// Probes to choose from; half of them of subjects in the gallery.
const PROBES: u64 = 256;

/// Exact search of one gallery.
#[derive(Debug, Serialize)]
pub struct SearchReport {
    rows: u64,
    dim: usize,
    threads: usize,
    /// Candidates asked for.
    limit: usize,
    /// Instruction set in use.
    kernel: &'static str,
    /// Rows per second that were put into the index, by one thread.
    rows_put_per_second: f64,
    /// Memory a template takes: half-precision values, 8-bit copy, scale, residual, owner, directory and subject.
    bytes_per_template: u64,
    /// The same as the system counts it, where it tells.
    resident_bytes_per_template: Option<u64>,
    /// Memory read per second, by as many threads.
    read_gb_per_second: f64,
    batches: Vec<Batch>,
}

/// Searches of some probes at a time.
#[derive(Debug, Serialize)]
struct Batch {
    probes: usize,
    /// Median of the rounds.
    ms: f64,
    fastest_ms: f64,
    probes_per_second: f64,
    /// Bytes of the 8-bit copy per second; each is read once for all probes.
    gb_per_second: f64,
    /// Memory read per second, measured in turn with the searches.
    read_gb_per_second: f64,
    /// Time that reading as many bytes takes, over that of the search: the median of the rounds.
    share_of_read_bandwidth: f64,
    /// Rows whose canonical values were compared, for each probe.
    rows_scored_per_probe: f64,
}

/// Fills a gallery and searches it.
///
/// # Errors
/// A number of rows or values that cannot be.
pub async fn run(args: &SearchArgs) -> Result<SearchReport, Failure> {
    let args = args.clone();
    tokio::task::spawn_blocking(move || measure(&args)).await.map_err(|e| Failure::Other(e.to_string()))?
}

fn measure(args: &SearchArgs) -> Result<SearchReport, Failure> {
    if args.rows == 0 || args.dim == 0 || args.batch.contains(&0) || args.rounds == 0 {
        return Err(Failure::Usage("rows, dim, batch and rounds must not be 0".to_owned()));
    }
    let threads = if args.threads == 0 { cores() } else { args.threads };
    let faces = Faces::new(args.dim);
    let index = FlatIndex::with_threads(ContractId::from_bytes([0; 16]), threads);
    let before = resident();
    let seconds = fill(&index, &faces, args)?;
    let resident = before.and_then(|b| Some(resident()?.saturating_sub(b) / args.rows));
    let bytes = args.dim.next_multiple_of(4) * usize::try_from(args.rows).unwrap_or(usize::MAX);
    let bench = Bench {
        probes: (0..PROBES).map(|n| probe(&faces, args, n)).collect::<Result<_, _>>()?,
        memory: Memory::new(threads, bytes.min(MOST_READ)),
        bytes,
        index,
    };
    let batches = args.batch.iter().map(|n| bench.search(args, *n)).collect::<Result<Vec<_>, _>>()?;
    let index = &bench.index;
    let read = median(batches.iter().map(|b| b.read_gb_per_second).collect());
    Ok(SearchReport {
        rows: args.rows,
        dim: args.dim,
        threads,
        limit: args.limit,
        kernel: kernel_name(),
        rows_put_per_second: args.rows as f64 / seconds,
        bytes_per_template: index.bytes() as u64 / args.rows,
        resident_bytes_per_template: resident,
        read_gb_per_second: read,
        batches,
    })
}

/// A filled gallery and what it is measured with.
struct Bench {
    index: FlatIndex,
    probes: Vec<Vec<f32>>,
    memory: Memory,
    /// Bytes of the 8-bit copy.
    bytes: usize,
}

impl Bench {
    /// Searches with `n` probes at a time, other probes in each round, and reads memory before each.
    fn search(&self, args: &SearchArgs, n: usize) -> Result<Batch, Failure> {
        let scale = self.bytes as f64 / self.memory.bytes() as f64;
        let (mut times, mut reads, mut shares) = (Vec::new(), Vec::new(), Vec::new());
        let mut before = self.index.work();
        for round in 0..=args.rounds {
            let probes = self.probes.iter().cycle().skip(round * n % self.probes.len()).take(n);
            let queries: Vec<Query<'_>> = probes.map(|p| Query::new(p, args.limit)).collect();
            let read = self.memory.read().as_secs_f64() * scale;
            let start = Instant::now();
            self.index.search_many(&queries).map_err(other)?;
            let took = start.elapsed().as_secs_f64();
            // The first round warms up.
            if round == 0 {
                before = self.index.work();
                continue;
            }
            times.push(took);
            reads.push(read);
            shares.push(read / took);
        }
        let work = self.index.work();
        let scored = (work.scored_rows - before.scored_rows) as f64 / (work.probes - before.probes).max(1) as f64;
        let fastest = times.iter().copied().fold(f64::INFINITY, f64::min);
        let (time, read) = (median(times), median(reads));
        Ok(Batch {
            probes: n,
            ms: time * 1e3,
            fastest_ms: fastest * 1e3,
            probes_per_second: n as f64 / time,
            gb_per_second: self.bytes as f64 / time / 1e9,
            read_gb_per_second: self.bytes as f64 / read / 1e9,
            share_of_read_bandwidth: median(shares),
            rows_scored_per_probe: scored,
        })
    }
}

/// Half of the probes are of subjects in the gallery, of a photo that is not; half are of strangers.
fn probe(faces: &Faces, args: &SearchArgs, n: u64) -> Result<Vec<f32>, Failure> {
    let subjects = args.rows.div_ceil(args.per_subject.max(1));
    let subject = if n.is_multiple_of(2) { n * 7919 % subjects } else { subjects + n };
    let template = Template::from_embedding(ContractId::from_bytes([0; 16]), &faces.sample(subject, u64::MAX / 2 + n));
    Ok(template.map_err(other)?.to_f32())
}

/// Puts the rows, made by the other cores, into the index; the seconds that the putting took.
fn fill(index: &FlatIndex, faces: &Faces, args: &SearchArgs) -> Result<f64, Failure> {
    let chunks = args.rows.div_ceil(CHUNK);
    // One core is for the putting.
    let makers = cores().saturating_sub(1).max(1) as u64;
    let mut seconds = 0.0;
    thread::scope(|s| {
        // Each maker has its own channel, so that rows come in order.
        let made: Vec<_> = (0..makers)
            .map(|maker| {
                let (to, made) = mpsc::sync_channel(2);
                s.spawn(move || {
                    for chunk in (maker..chunks).step_by(usize::try_from(makers).unwrap_or(1)) {
                        let rows = chunk * CHUNK..args.rows.min((chunk + 1) * CHUNK);
                        // Fails when the other side has given up.
                        if to.send(rows.map(|n| template(faces, args, n)).collect::<Vec<_>>()).is_err() {
                            return;
                        }
                    }
                });
                made
            })
            .collect();
        for chunk in 0..chunks {
            let from = &made[usize::try_from(chunk % makers).unwrap_or(0)];
            let templates = from.recv().map_err(other)?;
            let first = chunk * CHUNK;
            let rows = (first..).zip(&templates).map(|(n, template)| row(args, n, template.as_ref()));
            let rows = rows.collect::<Result<Vec<_>, _>>()?;
            let start = Instant::now();
            index.upsert(&rows).map_err(other)?;
            seconds += start.elapsed().as_secs_f64();
        }
        Ok(seconds)
    })
}

fn template(faces: &Faces, args: &SearchArgs, n: u64) -> Option<Template> {
    let per_subject = args.per_subject.max(1);
    Template::from_embedding(ContractId::from_bytes([0; 16]), &faces.sample(n / per_subject, n % per_subject)).ok()
}

fn row<'t>(args: &SearchArgs, n: u64, template: Option<&'t Template>) -> Result<Row<'t>, Failure> {
    let subject = n / args.per_subject.max(1);
    let mut handle = [0; 16];
    handle[..8].copy_from_slice(&subject.to_be_bytes());
    let id = SubjectId::new(format!("subject-{subject}")).map_err(other)?;
    let face_id = FaceId::new(format!("face-{n}")).map_err(other)?;
    Ok(Row {
        key: RowKey { handle: SubjectHandle(handle), face_id },
        template: template.ok_or_else(|| Failure::Other("a vector without direction".to_owned()))?,
        subject: Arc::new(SubjectEntry { id, external_id: None, metadata: Metadata::default(), terms: Arc::default() }),
    })
}

/// Resident memory of this process in bytes, where the system tells.
fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

fn other(e: impl std::fmt::Display) -> Failure {
    Failure::Other(e.to_string())
}

impl Report for SearchReport {
    fn table(&self) -> String {
        let resident =
            self.resident_bytes_per_template.map_or_else(String::new, |b| format!(", {b} as the system counts"));
        let mut text = format!(
            "{} rows of {} values, best {}, {} threads, {}; {:.0} rows/s put\n\
             {} bytes per template{resident}; memory reads at {:.1} GB/s\n",
            self.rows,
            self.dim,
            self.limit,
            self.threads,
            self.kernel,
            self.rows_put_per_second,
            self.bytes_per_template,
            self.read_gb_per_second,
        );
        for b in &self.batches {
            text.push_str(&format!(
                "  {:3} probes {:9.3} ms, fastest {:9.3}; {:8.0} probes/s; {:6.1} GB/s, {:5.1} % of the memory's; \
                 {:.1} rows scored for each\n",
                b.probes,
                b.ms,
                b.fastest_ms,
                b.probes_per_second,
                b.gb_per_second,
                100.0 * b.share_of_read_bandwidth,
                b.rows_scored_per_probe,
            ));
        }
        text
    }
}
