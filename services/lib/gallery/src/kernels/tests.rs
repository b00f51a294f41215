//! Every kernel of this machine against plain arithmetic in double precision.

use half::f16;
use proptest::prelude::*;

use super::*;

/// Values and extremes: zeros, subnormals of half precision, one value that dwarfs the others.
fn values(len: impl Into<prop::collection::SizeRange>) -> impl Strategy<Value = Vec<f32>> {
    let one = prop_oneof![8 => -1.0f32..1.0, 1 => Just(0.0), 1 => Just(6e-8), 1 => Just(-1.0), 1 => -1e-3f32..1e-3];
    prop::collection::vec(one, len)
}

fn halves(values: &[f32]) -> Vec<u16> {
    values.iter().map(|v| f16::from_f32(*v).to_bits()).collect()
}

fn wide(row: &[u16]) -> Vec<f64> {
    row.iter().map(|v| f16::from_bits(*v).to_f64()).collect()
}

/// Codes of rows and probes as they come, not as quantisation makes them: extremes in every place.
#[derive(Debug)]
struct Case {
    steps: usize,
    words: usize,
    codes: Vec<u8>,
    scales: Vec<f32>,
    residuals: Vec<f32>,
    /// Codes of each probe, within ±63.
    probes: Vec<Vec<[i8; 4]>>,
    gain: f32,
    floor: f32,
}

fn case() -> impl Strategy<Value = Case> {
    let sizes = (prop_oneof![1..40usize, Just(128usize)], 1..=3usize, 1..=MAX_LANES);
    sizes.prop_flat_map(|(steps, words, lanes)| {
        let code = prop_oneof![6 => 1..=255u8, 1 => Just(255u8), 1 => Just(1u8), 1 => Just(0u8)];
        let probe = prop_oneof![4 => -63..=63i8, 1 => Just(63i8), 1 => Just(-63i8)];
        let rows = words * WORD_ROWS;
        (
            prop::collection::vec(code, words * steps * STEP_BYTES),
            prop::collection::vec(0.0f32..0.01, rows),
            prop::collection::vec(0.0f32..0.2, rows),
            prop::collection::vec(prop::collection::vec(prop::array::uniform4(probe), steps), lanes),
            (0.0f32..300.0, -3000.0f32..3000.0),
        )
            .prop_map(move |(codes, scales, residuals, probes, (gain, floor))| Case {
                steps,
                words,
                codes,
                scales,
                residuals,
                probes,
                gain,
                floor,
            })
    })
}

impl Case {
    fn sum(&self, lane: usize, word: usize, row: usize) -> i64 {
        let step = |s: usize| {
            let rows = &self.codes[(word * self.steps + s) * STEP_BYTES + row * 4..][..4];
            rows.iter().zip(self.probes[lane][s]).map(|(a, b)| (i64::from(*a) - 128) * i64::from(b)).sum::<i64>()
        };
        (0..self.steps).map(step).sum()
    }

    fn check(&self, kernel: Kernel) -> Result<(), TestCaseError> {
        let packed: Vec<Vec<i32>> = self.probes.iter().map(|p| p.iter().map(pack).collect()).collect();
        let lanes: Vec<Lane<'_>> = packed
            .iter()
            .zip(&self.probes)
            .map(|(codes, probe)| {
                let sum: i32 = probe.iter().flatten().map(|b| i32::from(*b)).sum();
                Lane { codes, bias: 128 * sum, gain: self.gain, floor: self.floor }
            })
            .collect();
        let tile = Tile { codes: &self.codes, scales: &self.scales, residuals: &self.residuals, steps: self.steps };
        let mut found = Found::default();
        for (group, lanes) in lanes.chunks(kernel.lanes()).enumerate() {
            kernel.scan(&tile, lanes, &self.codes, &mut found);
            for lane in 0..lanes.len() {
                for word in 0..self.words {
                    self.check_word(kernel, &found, (lane, group * kernel.lanes() + lane), word)?;
                }
            }
        }
        Ok(())
    }

    fn check_word(
        &self,
        kernel: Kernel,
        found: &Found,
        (lane, probe): (usize, usize),
        word: usize,
    ) -> Result<(), TestCaseError> {
        let mask = found.mask(lane, word);
        for row in 0..WORD_ROWS {
            let place = word * WORD_ROWS + row;
            let product = self.sum(probe, word, row) as f64 * f64::from(self.scales[place]);
            let error = f64::from(self.residuals[place]) * f64::from(self.gain);
            let (upper, floor) = (product + error, f64::from(self.floor));
            let close = 1e-6 * (product.abs() + error + 1.0);
            let reached = mask >> row & 1 == 1;
            prop_assert!((upper - floor).abs() < close || reached == (upper >= floor), "{kernel:?} row {place}");
            if mask != 0 {
                let given = f64::from(found.uppers(lane, word)[row]);
                prop_assert!((given - upper).abs() < close, "{kernel:?} row {place}: {given} for {upper}");
            }
        }
        Ok(())
    }
}

fn pack(step: &[i8; 4]) -> i32 {
    i32::from_ne_bytes(step.map(i8::cast_unsigned))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn scans_agree_with_double_precision(case in case()) {
        for kernel in Kernel::all() {
            case.check(kernel)?;
        }
    }

    #[test]
    fn scores_agree_with_double_precision_and_with_each_other(
        (row, probe) in (1..700usize).prop_flat_map(|n| (values(n), values(n))),
    ) {
        let row = halves(&row);
        let products: Vec<f64> = wide(&row).iter().zip(&probe).map(|(a, b)| a * f64::from(*b)).collect();
        let (exact, size) = (products.iter().sum::<f64>(), products.iter().map(|p| p.abs()).sum::<f64>());
        let plain = scalar::dot(&row, &probe) + 0.0;
        prop_assert!((f64::from(plain) - exact).abs() <= 1e-5 * size + 1e-9);
        for kernel in Kernel::all() {
            kernel.prefetch(&row);
            prop_assert_eq!((kernel.dot(&row, &probe) + 0.0).to_bits(), plain.to_bits(), "{:?}", kernel);
        }
    }

    #[test]
    fn quantisation_loses_no_more_than_it_says(row in values(1..700)) {
        let row = halves(&row);
        for kernel in Kernel::all() {
            let mut codes = vec![7; row.len() + 3];
            let (scale, residual) = kernel.quantise(&row, &mut codes);
            prop_assert_eq!(&codes[row.len()..], [7; 3], "{:?} writes the row alone", kernel);
            let values = wide(&row);
            let lost = values.iter().zip(&codes).map(|(v, c)| v - (f64::from(*c) - 128.0) * f64::from(scale));
            let lost = lost.map(|v| v * v).sum::<f64>().sqrt();
            prop_assert!(codes[..row.len()].iter().all(|c| *c > 0), "{:?}", kernel);
            prop_assert!(f64::from(residual) >= lost, "{kernel:?}: {residual} for {lost}");
            prop_assert!(f64::from(residual) <= lost * 1.01 + 1e-5, "{kernel:?}: {residual} for {lost}");
        }
    }
}

/// Largest sums of every kernel, at the most values a vector may have.
#[test]
fn the_longest_vectors_do_not_overflow() {
    let steps = steps(MAX_DIM);
    for kernel in Kernel::all() {
        let most = kernel.probe_max() as i8;
        for (code, probe) in [(255u8, most), (1, most), (255, -most), (1, -most)] {
            let codes = vec![code; steps * STEP_BYTES];
            let packed = vec![pack(&[probe; 4]); steps];
            let (scales, residuals) = (vec![1.0; WORD_ROWS], vec![0.0; WORD_ROWS]);
            let tile = Tile { codes: &codes, scales: &scales, residuals: &residuals, steps };
            let bias = 128 * MAX_DIM as i32 * i32::from(probe);
            let mut found = Found::default();
            kernel.scan(&tile, &[Lane { codes: &packed, bias, gain: 0.0, floor: f32::MIN }], &[], &mut found);
            let expected = (i64::from(code) - 128) * i64::from(probe) * MAX_DIM as i64;
            assert!(found.uppers(0, 0).iter().all(|u| *u == expected as f32), "{kernel:?}: {expected}");
        }
    }
}

#[test]
fn reading_reads_everything_it_is_given() {
    for kernel in Kernel::all() {
        let mut bytes = vec![0u8; 4096];
        assert_eq!(kernel.read(&bytes), 0, "{kernel:?}");
        for at in [0, 511, 1024, 4095] {
            bytes[at] = 1;
            assert_ne!(kernel.read(&bytes), 0, "{kernel:?} at {at}");
            bytes[at] = 0;
        }
    }
}

#[test]
fn the_fastest_kernel_comes_first_and_the_plain_one_last() {
    let all = Kernel::all();
    assert_eq!(all.first(), Some(&Kernel::best()));
    assert_eq!(all.last().map(|k| k.name()), Some("scalar"));
}
