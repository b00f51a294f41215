//! The bound itself: whatever the rows and the probe, the score lies between what the scan takes for its bounds.

use domain::{ContractId, Template};
use proptest::prelude::*;

use super::*;
use crate::{
    block::{Block, Coded},
    directory::{Directory, RowRef},
    kernels::Found,
};

/// Directions of every kind: spread evenly, all in one value, all values equal, a few values that dwarf the rest.
fn direction(dim: usize) -> impl Strategy<Value = Vec<f32>> {
    let spread = prop::collection::vec(-1.0f32..1.0, dim);
    prop_oneof![
        4 => spread.clone(),
        1 => Just(vec![1.0; dim]),
        1 => (0..dim, prop::bool::ANY).prop_map(move |(n, minus)| {
            let mut v = vec![0.0; dim];
            v[n] = if minus { -1.0 } else { 1.0 };
            v
        }),
        2 => (spread.clone(), 0..dim, -7i32..0).prop_map(|(mut v, n, power)| {
            v.iter_mut().for_each(|x| *x *= 10f32.powi(power));
            v[n] = 1.0;
            v
        }),
        1 => spread.prop_map(|v| v.iter().map(|x| x.signum()).collect()),
    ]
}

fn unit(raw: &[f32]) -> Option<Vec<f32>> {
    let template = Template::from_embedding(ContractId::from_bytes([1; 16]), raw).ok()?;
    Some(template.to_f32())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn every_score_lies_within_its_bounds(
        (probe, rows) in prop_oneof![1..40usize, Just(128usize), Just(512usize), 1..600usize]
            .prop_flat_map(|dim| (direction(dim), prop::collection::vec(direction(dim), 1..8))),
        probe_too in prop::bool::ANY,
    ) {
        let Some(probe) = unit(&probe) else { return Ok(()) };
        let mut rows: Vec<Vec<f32>> = rows.iter().filter_map(|r| unit(r)).collect();
        if probe_too {
            rows.push(probe.clone());
            rows.push(probe.iter().map(|v| -v).collect());
        }
        for kernel in Kernel::all() {
            let mut block = Block::new(probe.len());
            let mut coded = Coded::new(probe.len());
            for (slot, row) in rows.iter().enumerate() {
                let template = Template::from_embedding(ContractId::from_bytes([1; 16]), row).unwrap();
                coded.code(kernel, template.values());
                block.put(slot, template.values(), &coded, RowRef::for_tests());
            }
            let query = Query::new(&probe, 5);
            let probe = Probe::new(&query, &Directory::default(), kernel);
            let mut found = Found::default();
            kernel.scan(&block.tile(0, 1), &[probe.lane(f32::NEG_INFINITY)], &[], &mut found);
            prop_assert_eq!(found.mask(0, 0), u64::MAX);
            for slot in 0..rows.len() {
                let score = kernel.dot(block.bits(slot), &probe.values);
                let upper = probe.upper(found.uppers(0, 0)[slot]);
                let lower = probe.lower(upper, block.residual(slot));
                prop_assert!(lower <= score && score <= upper, "{kernel:?}: {lower} {score} {upper}");
                // A row is found at exactly its score, and one that cannot reach the floor is not.
                let mut at = |floor| {
                    kernel.scan(&block.tile(0, 1), &[probe.lane(floor)], &[], &mut found);
                    found.mask(0, 0) >> slot & 1 == 1
                };
                prop_assert!(at(score), "{kernel:?} passes over a row at its own score");
                prop_assert!(!at(upper + 1e-3), "{kernel:?} finds everything");
            }
        }
    }
}

/// How tight the bound is where it matters: for vectors like those of faces it costs a few dozen scores, not thousands.
#[test]
fn the_bound_is_tight_for_face_like_vectors() {
    let faces = crate::synthetic::Faces::new(512);
    let probe = faces.sample(1, 0);
    let row = faces.sample(1, 1);
    let template = Template::from_embedding(ContractId::from_bytes([1; 16]), &row).unwrap();
    let kernel = Kernel::best();
    let mut coded = Coded::new(512);
    coded.code(kernel, template.values());
    let mut block = Block::new(512);
    block.put(0, template.values(), &coded, RowRef::for_tests());
    let probe = Probe::new(&Query::new(&probe, 5), &Directory::default(), kernel);
    let width = 1.0 - probe.lower(1.0, block.residual(0));
    assert!(width > 0.0 && width < 0.05, "{width}");
}
