//! How fast rows are put, how much memory a template takes and how fast the scan is, on this machine. Run by hand, one
//! test at a time, since memory freed by one would be used by the next:
//! `cargo test --release --workspace --test gallery -- --ignored --nocapture dim_512`.
//! `visavis bench search` measures the same of the whole program.

use std::time::Instant;

use domain::{FaceId, Template};
use visavis_gallery::{FlatIndex, Index, Memory, Query, Row, RowKey, kernel_name, synthetic::Faces};

use crate::common::*;

/// Resident memory in bytes, where the system tells.
fn resident() -> Option<usize> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    pages.split(' ').nth(1)?.parse::<usize>().ok().map(|p| p * 4096)
}

#[test]
#[ignore = "measures, asserts nothing"]
fn dim_128() {
    measure(128, 200_000);
}

#[test]
#[ignore = "measures, asserts nothing"]
fn dim_512() {
    measure(512, 100_000);
}

fn measure(dim: usize, rows: u32) {
    let (faces, before) = (Faces::new(dim), resident());
    let index = FlatIndex::with_threads(contract(1), 1);
    let mut filled = 0.0;
    for n in 0..rows {
        let t = Template::from_embedding(contract(1), &faces.sample(u64::from(n / 2), u64::from(n % 2))).unwrap();
        let subject = u16::try_from(n % 50_000).unwrap();
        let key = RowKey { handle: handle(subject), face_id: FaceId::new(format!("f{n}")).unwrap() };
        let row = Row { key, template: &t, subject: entry(subject, &[]) };
        let started = Instant::now();
        index.upsert(&[row]).unwrap();
        filled += started.elapsed().as_secs_f64();
    }
    let held = before.and_then(|b| Some((resident()? - b) / rows as usize));
    eprintln!(
        "dim {dim}, {}: {rows} rows put in {filled:.2} s; bytes per template: resident {held:?}, own count {}",
        kernel_name(),
        index.bytes() / rows as usize
    );
    let probes: Vec<Vec<f32>> = (0..64).map(|n| faces.sample(n * 1000, 9)).collect();
    let memory = Memory::new(1, rows as usize * dim);
    for batch in [1, 2, 4, 6, 8, 16, 32, 64] {
        let queries: Vec<Query<'_>> = probes[..batch].iter().map(|p| Query::new(p, 5)).collect();
        index.search_many(&queries).unwrap();
        let (mut scans, mut reads, work) = (vec![], vec![], index.work());
        for _ in 0..60 {
            reads.push(memory.read().as_secs_f64());
            let started = Instant::now();
            assert_eq!(index.search_many(&queries).unwrap()[0].hits.len(), 5);
            scans.push(started.elapsed().as_secs_f64());
        }
        let middle = |times: &mut Vec<f64>| {
            times.sort_by(f64::total_cmp);
            (times[0] * 1e3, times[times.len() / 2] * 1e3)
        };
        let ((read, read_mid), (scan, scan_mid)) = (middle(&mut reads), middle(&mut scans));
        let done = index.work();
        eprintln!(
            "  batch {batch:2}: {scan:7.3} ms (median {scan_mid:7.3}); reading as many bytes {read:7.3} ms \
             ({read_mid:7.3}); ratio {:.2} ({:.2}); {:.1} rows scored per probe",
            scan / read,
            scan_mid / read_mid,
            (done.scored_rows - work.scored_rows) as f64 / (done.probes - work.probes) as f64,
        );
    }
}
