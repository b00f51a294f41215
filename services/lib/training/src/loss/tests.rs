//! Gradients against central differences in f64, and what each loss is about.

use proptest::prelude::*;
use vision::Random;

use super::*;

const N: usize = 4;
const DIM: usize = 11;
const CLASSES: usize = 5;

struct Case {
    x: Vec<f64>,
    w: Vec<f64>,
    bias: Vec<f64>,
    labels: Vec<usize>,
    teacher_features: Vec<f64>,
    teacher_logits: Vec<f64>,
}

fn case(seed: u64) -> Case {
    let mut random = Random::of(&[seed]);
    let mut some = |n: usize| (0..n).map(|_| f64::from(random.normals()[0])).collect::<Vec<f64>>();
    let (x, w, bias) = (some(N * DIM), some(CLASSES * DIM), some(CLASSES));
    let (teacher_features, teacher_logits) = (some(N * DIM), some(N * CLASSES));
    Case { x, w, bias, labels: vec![0, 3, 3, 4], teacher_features, teacher_logits }
}

impl Case {
    fn evaluate(&self, criterion: &Criterion<f64>) -> Evaluated<f64> {
        let teacher = Teacher { features: &self.teacher_features, logits: &self.teacher_logits };
        criterion.evaluate(&self.x, &self.labels, Prototypes { weights: &self.w, bias: &self.bias }, Some(&teacher))
    }

    /// (loss(v + h) − loss(v − h)) / 2h for every value of a vector.
    fn differences(&mut self, criterion: &Criterion<f64>, which: fn(&mut Self) -> &mut Vec<f64>) -> Vec<f64> {
        let h = 1e-6;
        let one = |case: &mut Self, i: usize, by: f64| {
            which(case)[i] += by;
            let loss = case.evaluate(criterion).loss;
            which(case)[i] -= by;
            loss
        };
        (0..which(self).len()).map(|i| (one(self, i, h) - one(self, i, -h)) / (2.0 * h)).collect()
    }
}

fn criterion(kind: LossKind, scale: f32, distill: [f32; 3]) -> Criterion<f64> {
    Criterion::new(&LossPart { kind, scale, label_smoothing: 0.1, ..LossPart::default() }, 1.0, distill)
}

#[track_caller]
fn agree(name: &str, analytic: &[f64], numeric: &[f64]) {
    assert_eq!(analytic.len(), numeric.len(), "{name}");
    let scale = numeric.iter().fold(1e-3f64, |m, v| m.max(v.abs()));
    let worst = analytic.iter().zip(numeric).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(worst < 1e-6 * scale, "{name}: off by {worst} of {scale}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn gradients_are_those_of_central_differences(seed: u64) {
        for kind in [LossKind::Softmax, LossKind::Arcface, LossKind::Cosface] {
            for distill in [[0.0, 0.0, 2.0], [0.7, 0.0, 2.0], [0.0, 0.9, 2.0], [0.5, 0.5, 3.0]] {
                let c = criterion(kind, 8.0, distill);
                let mut case = case(seed);
                let all = case.evaluate(&c);
                agree("embeddings", &all.embeddings, &case.differences(&c, |c| &mut c.x));
                agree("prototypes", &all.weights, &case.differences(&c, |c| &mut c.w));
                if kind == LossKind::Softmax {
                    agree("biases", &all.bias, &case.differences(&c, |c| &mut c.bias));
                }
            }
        }
    }
}

#[test]
fn a_loss_by_hand() {
    // Two people at right angles, one photo at 60° from its own: cosines 0.5 and √3/2.
    let labels = [0usize];
    let (x, w) = ([0.5f64, 3f64.sqrt() / 2.0], [1.0f64, 0.0, 0.0, 1.0]);
    let p = Prototypes { weights: &w, bias: &[0.0, 0.0] };
    let plain = LossPart { scale: 2.0, label_smoothing: 0.0, ..LossPart::default() };
    let at = |kind, grown| {
        Criterion::new(&LossPart { kind, ..plain }, grown, [0.0, 0.0, 2.0]).evaluate(&x, &labels, p, None)
    };
    let entropy = |own: f64, other: f64| ((2.0 * own).exp() + (2.0 * other).exp()).ln() - 2.0 * own;
    let other = 3f64.sqrt() / 2.0;
    let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-7, "{a} {b}");
    near(at(LossKind::Arcface, 1.0).loss, entropy((60f64.to_radians() + 0.5).cos(), other));
    near(at(LossKind::Arcface, 0.0).loss, entropy(0.5, other));
    near(at(LossKind::Cosface, 1.0).loss, entropy(0.15, other));
    assert_eq!(at(LossKind::Arcface, 1.0).correct, 0);
    let smooth = Criterion::new(
        &LossPart { kind: LossKind::Cosface, label_smoothing: 0.2, margin: Some(0.0), ..plain },
        1.0,
        [0.0; 3],
    );
    near(smooth.evaluate(&x, &labels, p, None).loss, 0.9 * entropy(0.5, other) + 0.1 * entropy(other, 0.5));
}

#[test]
fn a_student_that_agrees_with_its_teacher_pays_nothing() {
    let mut case = case(3);
    case.teacher_features = case.x.iter().map(|v| 5.0 * v).collect();
    let c = criterion(LossKind::Softmax, 1.0, [1.0, 0.0, 2.0]);
    assert!(case.evaluate(&c).distillation.abs() < 1e-12, "length does not count");
    let linear = Linear { x: &case.x, weights: &case.w, bias: &case.bias, n: N };
    let logits = linear.logits();
    case.teacher_logits = logits;
    let c = criterion(LossKind::Softmax, 1.0, [0.0, 1.0, 2.0]);
    assert!(case.evaluate(&c).distillation.abs() < 1e-12);
    case.teacher_logits[0] += 1.0;
    assert!(case.evaluate(&c).distillation > 1e-3);
}

#[test]
fn single_precision_agrees_with_double_at_the_published_scale() {
    let case = case(11);
    let single = |v: &[f64]| v.iter().map(|x| *x as f32).collect::<Vec<f32>>();
    let part = LossPart::default();
    let double = Criterion::<f64>::new(&part, 1.0, [0.0; 3]).evaluate(
        &case.x,
        &case.labels,
        Prototypes { weights: &case.w, bias: &[] },
        None,
    );
    let (x, w) = (single(&case.x), single(&case.w));
    let narrow = Criterion::<f32>::new(&part, 1.0, [0.0; 3]).evaluate(
        &x,
        &case.labels,
        Prototypes { weights: &w, bias: &[] },
        None,
    );
    assert!((f64::from(narrow.loss) - double.loss).abs() < 1e-4 * double.loss);
    let most = double.embeddings.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    for (a, b) in narrow.embeddings.iter().zip(&double.embeddings) {
        assert!((f64::from(*a) - b).abs() < 1e-4 * most);
    }
}
