//! Every kernel at every level of this machine against the plain one, whose own results are held against double
//! precision where they are sums of products. Sizes with and without whole vectors.

use super::*;
use crate::threads::Threads;

struct Random(u64);

impl Random {
    fn list(&mut self, len: usize) -> Vec<f32> {
        let mut next = || {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        };
        (0..len).map(|_| next()).collect()
    }
}

fn close(a: &[f32], b: &[f32], what: &str) {
    assert_eq!(a.len(), b.len());
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        assert!((a - b).abs() <= 2e-5 * (1.0 + b.abs()), "{what} [{i}]: {a} and {b}");
    }
}

/// Calls `f` for each level and holds what it gives against the plain one.
fn at_each_level(what: &str, mut f: impl FnMut(Level) -> Vec<f32>) -> Vec<f32> {
    let plain = f(Level(Kind::Plain));
    for level in Level::all() {
        close(&f(level), &plain, &format!("{what} at {level:?}"));
    }
    plain
}

fn narrow(sums: &[f64]) -> Vec<f32> {
    sums.iter().map(|s| *s as f32).collect()
}

#[test]
fn products_of_scattered_rows() {
    let mut random = Random(1);
    for (rows, taps, depth, columns) in [(1, 1, 1, 1), (9, 1, 17, 33), (13, 3, 8, 64), (30, 2, 5, 31), (8, 9, 16, 100)]
    {
        let values = random.list(rows * taps * depth + 50);
        // Some taps are missing.
        let starts: Vec<usize> = (0..rows * taps).map(|i| if i % 5 == 4 { NONE } else { i * 7 % 50 + i }).collect();
        let b = random.list(taps * depth * columns);
        let (bias, before) = (random.list(columns), random.list(rows * columns));
        let at: Vec<usize> = (0..rows).map(|r| (rows - 1 - r) * columns).collect();
        for add in [false, true] {
            let seen = at_each_level("product", |level| {
                let tops: Vec<usize> = (0..taps).map(|t| t * depth * columns).collect();
                let stack = Stack { values: &b, tops: &tops, depth, columns, down: columns, right: 1 };
                let mut packed = Vec::new();
                let packed = pack(level, &Threads::new(2), &stack, &mut packed);
                let zeros = vec![0.0; depth];
                let right = Product { packed, columns, bias: &bias, add, zeros: &zeros };
                let mut c = before.clone();
                product(level, &Rows { values: &values, starts: &starts, taps, depth }, &right, &mut c, &at);
                c
            });
            for (r, at) in at.iter().enumerate() {
                for j in 0..columns {
                    let mut sum = f64::from(bias[j]) + if add { f64::from(before[at + j]) } else { 0.0 };
                    for (t, start) in starts[r * taps..][..taps].iter().enumerate().filter(|(_, s)| **s != NONE) {
                        for k in 0..depth {
                            sum += f64::from(values[start + k]) * f64::from(b[(t * depth + k) * columns + j]);
                        }
                    }
                    assert!((f64::from(seen[at + j]) - sum).abs() < 1e-4, "row {r}, column {j}");
                }
            }
        }
    }
}

/// A matrix whose columns lie behind one another packs to the same as its twin.
#[test]
fn packing_reads_either_order() {
    let values = Random(2).list(37 * 45);
    let turned: Vec<f32> = (0..37 * 45).map(|i| values[i % 37 * 45 + i / 37]).collect();
    let level = Level::best();
    let (mut a, mut b) = (Vec::new(), Vec::new());
    let stack = Stack { values: &values, tops: &[0], depth: 37, columns: 45, down: 45, right: 1 };
    let other = Stack { values: &turned, tops: &[0], depth: 37, columns: 45, down: 1, right: 37 };
    assert_eq!(pack(level, &Threads::new(1), &stack, &mut a), pack(level, &Threads::new(1), &other, &mut b));
}

#[test]
fn sums_of_outer_products() {
    let mut random = Random(3);
    for (m, n, pairs) in [(1, 1, 1), (8, 32, 20), (13, 50, 9), (17, 16, 40), (5, 7, 3)] {
        let (a, b, before) = (random.list(m + 40), random.list(n + 40), random.list(m * n));
        let pairs: Vec<(usize, usize)> = (0..pairs).map(|i| (i * 3 % 40, i * 7 % 40)).collect();
        let seen = at_each_level("outer", |level| {
            let mut c = before.clone();
            outer(level, (&a, &b), &pairs, Sums { c: &mut c, rows: m, columns: n, stride: n });
            c
        });
        for (at, seen) in seen.iter().enumerate() {
            let (i, j) = (at / n, at % n);
            let sum: f64 = pairs.iter().map(|p| f64::from(a[p.0 + i]) * f64::from(b[p.1 + j])).sum();
            assert!((f64::from(*seen) - sum - f64::from(before[at])).abs() < 1e-4);
        }
    }
}

#[test]
fn depthwise_convolutions() {
    let mut random = Random(4);
    for (channels, input, kernel, stride, pad) in
        [(16, 9, 3, 1, 1), (35, 8, 3, 2, 1), (3, 5, 2, 1, 0), (48, 7, 7, 1, 0), (17, 6, 5, 3, 2)]
    {
        let output = (input + 2 * pad - kernel) / stride + 1;
        let window = Window {
            channels,
            input: [input; 2],
            output: [output; 2],
            kernel: [kernel; 2],
            stride: [stride; 2],
            pad: [pad; 2],
        };
        let (x, w) = (random.list(input * input * channels), random.list(kernel * kernel * channels));
        let gradient = random.list(output * output * channels);
        for add in [false, true] {
            at_each_level("depthwise", |level| {
                let mut y = gradient.clone();
                depthwise(level, &window, (&x, &w), &mut y, add);
                y
            });
            at_each_level("depthwise inputs", |level| {
                let mut to = x.clone();
                depthwise_inputs(level, &window, (&gradient, &w), &mut to, add);
                to
            });
        }
        at_each_level("depthwise weights", |level| {
            let mut sums = w.clone();
            depthwise_weights(level, &window, &x, &gradient, &mut sums);
            sums
        });
    }
}

#[test]
fn passes_over_channels() {
    let mut random = Random(5);
    for (rows, c) in [(1, 1), (7, 5), (300, 16), (523, 40)] {
        let [scale, shift, slope, mean, by_x, constant] = std::array::from_fn(|_| random.list(c));
        let (x, gradient, before) = (random.list(rows * c), random.list(rows * c), random.list(rows * c));
        let affine = Affine { scale: &scale, shift: &shift, slope: &slope };
        let through = Through { affine, mean: &mean, by: &scale, by_x: &by_x, constant: &constant };
        at_each_level("norm_act", |level| {
            let mut y = vec![0.0; rows * c];
            norm_act(level, &affine, &x, &mut y);
            y
        });
        for (from, add) in [(None, false), (Some(&*gradient), false), (Some(&*gradient), true)] {
            let mut levels = Vec::new();
            at_each_level("norm_act_back", |level| {
                let mut to = if from.is_some() { before.clone() } else { gradient.clone() };
                let sums = norm_act_back(level, &through, &x, Flow { from, add }, &mut to);
                let alone = norm_act_sums(level, &affine, &mean, &x, &gradient);
                close(&narrow(&sums), &narrow(&alone), "sums");
                levels.push(narrow(&sums));
                to
            });
            levels.iter().for_each(|sums| close(sums, &levels[0], "sums of norm_act_back"));
        }
        at_each_level("moments", |level| narrow(&moments(level, &x, &mean)));
        at_each_level("column sums", |level| narrow(&column_sums(level, &x, c)));
    }
}

#[test]
fn functions_and_rows() {
    let mut random = Random(6);
    let functions = [
        Unary::Line(2.0, -1.0),
        Unary::Sigmoid,
        Unary::Tanh,
        Unary::Exp,
        Unary::Gelu,
        Unary::Erf,
        Unary::Sqrt,
        Unary::Reciprocal,
        Unary::Power(2.0),
        Unary::Power(1.5),
    ];
    let (x, gradient) = (random.list(83), random.list(83));
    let x: Vec<f32> = x.iter().map(|x| x.abs() + 0.1).collect();
    for function in functions {
        at_each_level("unary", |level| {
            let mut y = vec![0.0; 83];
            unary(level, function, &x, &mut y);
            y
        });
        for (from, add) in [(None, false), (Some(&*x), false), (Some(&*x), true)] {
            at_each_level("unary_back", |level| {
                let mut to = gradient.clone();
                unary_back(level, function, &x, Flow { from, add }, &mut to);
                to
            });
        }
    }
    for (rows, d) in [(3, 5), (300, 24), (2, 197)] {
        let (x, gradient, scale, shift) =
            (random.list(rows * d), random.list(rows * d), random.list(d), random.list(d));
        at_each_level("layer_norm", |level| {
            let mut y = vec![0.0; rows * d];
            layer_norm(level, &x, (&scale, &shift, 1e-5), &mut y);
            y
        });
        let shares = at_each_level("softmax", |level| {
            let mut y = vec![0.0; rows * d];
            softmax(level, d, &x, &mut y);
            y
        });
        for (from, add) in [(None, false), (Some(&*x), false), (Some(&*x), true)] {
            at_each_level("layer_norm_back", |level| {
                let mut to = gradient.clone();
                let sums = layer_norm_back(level, &x, (&scale, 1e-5), Flow { from, add }, &mut to);
                to.extend(sums.iter().map(|s| *s as f32));
                to
            });
            at_each_level("softmax_back", |level| {
                let mut to = gradient.clone();
                softmax_back(level, d, &shares, Flow { from, add }, &mut to);
                to
            });
        }
    }
}

#[test]
fn groups_are_spread_and_gathered() {
    let x = Random(7).list(24);
    at_each_level("groups", |level| {
        let (mut one, mut back) = (vec![0.0; 24], vec![0.0; 24]);
        spread_group(level, 3, 1, &x, &mut one);
        assert_eq!(one[3..6], [x[4]; 3]);
        gather_group(level, 3, 2, &x, &mut back);
        assert!((back[5] - (x[3] + x[4] + x[5])).abs() < 1e-6 && back[4] == 0.0);
        [one, back].concat()
    });
    let mut sum = x.clone();
    add(Level::best(), &x, &mut sum);
    assert!(sum.iter().zip(&x).all(|(s, x)| *s == 2.0 * x));
}
