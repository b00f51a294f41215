//! Sums, differences, products and quotients of two tensors, either of which may be the same along some axes.

use super::{Back, Context, Op, Strides};

/// What is done with two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// `a + b`.
    Add,
    /// `a - b`.
    Sub,
    /// `a · b`.
    Mul,
    /// `a / b`.
    Div,
}

impl Arithmetic {
    #[inline(always)]
    fn of(self, a: f32, b: f32) -> f32 {
        match self {
            Self::Add => a + b,
            Self::Sub => a - b,
            Self::Mul => a * b,
            Self::Div => a / b,
        }
    }

    /// What the gradient is multiplied with for the left and for the right value.
    #[inline(always)]
    fn factor(self, side: usize, a: f32, b: f32) -> f32 {
        match (self, side) {
            (Self::Add, _) | (Self::Sub, 0) => 1.0,
            (Self::Sub, _) => -1.0,
            (Self::Mul, 0) => b,
            (Self::Mul, _) => a,
            (Self::Div, 0) => 1.0 / b,
            (Self::Div, _) => -a / (b * b),
        }
    }
}

/// One of [`Arithmetic`] on two tensors.
#[derive(Clone, Debug)]
pub struct Binary {
    /// What is done.
    pub arithmetic: Arithmetic,
    /// How each side is read along the result. The sizes of both are the result's.
    pub sides: [Strides; 2],
    /// The result has samples; else it is computed from parameters alone.
    pub batched: bool,
}

impl Binary {
    fn same(&self, side: usize) -> bool {
        let strides = &self.sides[side];
        let mut step = 1;
        let full = strides.dims.iter().zip(&strides.steps).rev().all(|(dim, s)| {
            let fits = *dim == 1 || *s == step;
            step *= dim;
            fits
        });
        full && (strides.of_sample != 0 || !self.batched)
    }

    fn back_to(&self, cx: &Context<'_>, back: &mut Back<'_, '_>, side: usize) {
        let (a, b, gradient) = (back.inputs[0], back.inputs[1], back.gradient);
        let (left, right) = (&self.sides[0], &self.sides[1]);
        let same = self.same(side);
        let Some(target) = back.target(side) else { return };
        let to = target.cleared();
        let (len, run, arithmetic) = (left.len(), left.run(), self.arithmetic);
        let walk = |samples: std::ops::Range<usize>, to: &mut [f32]| {
            let first = samples.start;
            let mut others = Vec::new();
            right.walk(samples.clone(), |_, other| others.push(other));
            let mut others = others.into_iter();
            left.walk(samples, |at, mine| {
                let other = others.next().unwrap_or(0);
                let strides = &self.sides[side];
                let place = if same {
                    at
                } else if side == 0 {
                    mine
                } else {
                    other
                };
                let step = strides.step();
                for i in 0..run {
                    let x = a.get(mine + i * left.step()).copied().unwrap_or(0.0);
                    let y = b.get(other + i * right.step()).copied().unwrap_or(0.0);
                    to[place + i * step] += gradient[first * len + at + i] * arithmetic.factor(side, x, y);
                }
            });
        };
        if same {
            cx.threads.split(to, len, |first, part| walk(first..first + part.len() / len, part));
        } else {
            walk(0..gradient.len() / len, to);
        }
    }
}

impl Op for Binary {
    fn forward(&mut self, cx: &mut Context<'_>, inputs: &[&[f32]], output: &mut [f32]) {
        let (left, right) = (&self.sides[0], &self.sides[1]);
        let (len, run, arithmetic) = (left.len(), left.run(), self.arithmetic);
        cx.threads.split(output, len, |first, part| {
            let samples = first..first + part.len() / len;
            if self.same(0) && self.same(1) {
                let from = first * len;
                let pairs = inputs[0][from..].iter().zip(&inputs[1][from..]);
                part.iter_mut().zip(pairs).for_each(|(to, (a, b))| *to = arithmetic.of(*a, *b));
                return;
            }
            left.walk(samples.clone(), |at, mine| {
                let to = &mut part[at..at + run];
                match left.step() {
                    1 => to.copy_from_slice(&inputs[0][mine..mine + run]),
                    step => to.iter_mut().enumerate().for_each(|(i, to)| *to = inputs[0][mine + i * step]),
                }
            });
            right.walk(samples, |at, other| {
                let to = &mut part[at..at + run];
                match right.step() {
                    1 => to.iter_mut().zip(&inputs[1][other..]).for_each(|(to, b)| *to = arithmetic.of(*to, *b)),
                    step => {
                        to.iter_mut()
                            .enumerate()
                            .for_each(|(i, to)| *to = arithmetic.of(*to, inputs[1][other + i * step]));
                    }
                }
            });
        });
    }

    fn backward(&mut self, cx: &mut Context<'_>, mut back: Back<'_, '_>) {
        self.back_to(cx, &mut back, 0);
        self.back_to(cx, &mut back, 1);
    }

    fn reads_input(&self, index: usize) -> bool {
        match self.arithmetic {
            Arithmetic::Add | Arithmetic::Sub => false,
            Arithmetic::Mul => index < 2,
            Arithmetic::Div => index < 2,
        }
    }

    fn passes(&self) -> bool {
        self.arithmetic == Arithmetic::Add && self.same(0) && self.same(1)
    }
}
