//! The batch sizes that are warmed. GPU kernels are tuned anew for each new shape, so only these are ever run there.

/// Warmed batch sizes, ascending.
pub const BUCKETS: [usize; 6] = [1, 2, 4, 8, 16, 32];

/// The smallest bucket that holds `n` items; `n` itself where none is large enough.
#[must_use]
pub fn bucket_for(n: usize) -> usize {
    BUCKETS.into_iter().find(|b| *b >= n).unwrap_or(n)
}

/// The buckets an engine of this largest batch can run.
pub fn buckets_up_to(max_batch: usize) -> impl Iterator<Item = usize> {
    BUCKETS.into_iter().filter(move |b| *b <= max_batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_round_up_to_the_next_bucket() {
        assert_eq!([1, 2, 3, 5, 9, 17, 32, 33].map(bucket_for), [1, 2, 4, 8, 16, 32, 32, 33]);
        assert_eq!(buckets_up_to(8).collect::<Vec<_>>(), [1, 2, 4, 8]);
        assert_eq!(buckets_up_to(1).collect::<Vec<_>>(), [1]);
    }
}
