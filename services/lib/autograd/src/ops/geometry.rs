//! Walking through a tensor while another, smaller or otherwise ordered one is read along. Callers: operators that
//! broadcast, permute or reduce.

/// Sizes of the axes that are walked through, in the order of memory, and for each the step that the other tensor
/// makes; 0 where it stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strides {
    /// Sizes, without the axis of samples.
    pub dims: Vec<usize>,
    /// Steps of the other tensor.
    pub steps: Vec<usize>,
    /// Its step from sample to sample: its length, or 0 where it is the same for all.
    pub of_sample: usize,
}

impl Strides {
    /// Size of the last axis, along which everything is done at once.
    pub fn run(&self) -> usize {
        self.dims.last().copied().unwrap_or(1)
    }

    /// Step along the last axis.
    pub fn step(&self) -> usize {
        self.steps.last().copied().unwrap_or(0)
    }

    /// Values of one sample.
    pub fn len(&self) -> usize {
        self.dims.iter().product()
    }

    /// Calls `each` for every run of the samples in `samples`: where it begins, counted from the first of them, and
    /// where the other tensor is read, counted from its own beginning.
    pub fn walk(&self, samples: std::ops::Range<usize>, mut each: impl FnMut(usize, usize)) {
        let outer = &self.dims[..self.dims.len().saturating_sub(1)];
        let runs: usize = outer.iter().product();
        let run = self.run();
        let mut at = 0;
        let mut index = vec![0usize; outer.len()];
        for sample in samples {
            let mut other = sample * self.of_sample;
            for _ in 0..runs {
                each(at, other);
                at += run;
                for axis in (0..outer.len()).rev() {
                    index[axis] += 1;
                    other += self.steps[axis];
                    if index[axis] < outer[axis] {
                        break;
                    }
                    other -= self.steps[axis] * outer[axis];
                    index[axis] = 0;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_visits_what_indices_say() {
        let strides = Strides { dims: vec![2, 3, 4], steps: vec![1, 0, 2], of_sample: 9 };
        let mut seen = Vec::new();
        strides.walk(1..3, |at, other| seen.push((at, other)));
        let mut wanted = Vec::new();
        for s in 0..2 {
            for i in 0..2 {
                for j in 0..3 {
                    wanted.push((s * 24 + i * 12 + j * 4, (s + 1) * 9 + i));
                }
            }
        }
        assert_eq!(seen, wanted);
    }
}
