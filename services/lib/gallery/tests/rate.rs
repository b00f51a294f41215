//! How fast the scan is and how much memory a template takes, on this machine. Run by hand:
//! `cargo test -p visavis-gallery --test rate -- --ignored --nocapture dim_512`.
//! One test at a time: memory freed by one would be used by the next.
#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "helpers of tests")]

mod common;

use std::time::Instant;

use common::*;
use visavis_gallery::{FlatIndex, Index, Query, Row};

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
    let before = resident();
    let index = FlatIndex::new(contract(1));
    let started = Instant::now();
    for face in 0..rows {
        let t = template(1, u64::from(face), dim);
        let subject = u16::try_from(face % 50_000).unwrap();
        index.upsert(&[Row { key: key(subject, face), template: &t, subject: entry(subject, &[]) }]).unwrap();
    }
    let filled = started.elapsed().as_secs_f64();
    let held = before.and_then(|b| Some((resident()? - b) / rows as usize));
    eprintln!(
        "dim {dim}: {rows} rows in {filled:.2} s; bytes per template: resident {held:?}, own count {}",
        index.bytes() / rows as usize
    );
    let probes: Vec<Vec<f32>> = (0..32).map(|n| direction(n * 1000, dim)).collect();
    for batch in [1, 8, 32] {
        let queries: Vec<Query<'_>> = probes[..batch].iter().map(|p| Query::new(p, 5)).collect();
        index.search_many(&queries).unwrap();
        let (started, mut scans) = (Instant::now(), 0u32);
        while started.elapsed().as_secs_f64() < 1.5 {
            assert_eq!(index.search_many(&queries).unwrap()[0].hits.len(), 5);
            scans += 1;
        }
        let seconds = started.elapsed().as_secs_f64() / f64::from(scans);
        let rate = f64::from(rows) * batch as f64 / seconds / 1e6;
        eprintln!("  batch {batch:2}: {:8.2} ms per scan, {rate:6.1} M comparisons/s", seconds * 1e3);
    }
}
