//! Photos that are nearly the same, found on their thumbnails. Sorted by mean grey, only neighbours have to be looked
//! at: two pictures differ on average by no less than their means do.

use super::scan::SIDE;

const PIXELS: usize = SIDE * SIDE;

/// Mean difference in grey levels up to which two photos count as the same.
const ALIKE: u32 = 3;

/// Two places among the thumbnails, the lower first, and their mean difference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Twins {
    pub left: usize,
    pub right: usize,
    pub difference: f32,
}

/// All pairs that are nearly the same, in their order; at most so many.
pub(super) fn twins(thumbnails: &[[u8; PIXELS]], most: usize) -> Vec<Twins> {
    let sum = |t: &[u8; PIXELS]| t.iter().map(|v| u32::from(*v)).sum::<u32>();
    let mut order: Vec<(u32, usize)> = thumbnails.iter().map(sum).enumerate().map(|(i, s)| (s, i)).collect();
    order.sort_unstable();
    let limit = ALIKE * PIXELS as u32;
    let mut found = Vec::new();
    for (at, (grey, i)) in order.iter().enumerate() {
        for (other_grey, j) in &order[at + 1..] {
            if other_grey - grey > limit {
                break;
            }
            let (a, b) = (&thumbnails[*i], &thumbnails[*j]);
            let difference: u32 = a.iter().zip(b).map(|(x, y)| u32::from(x.abs_diff(*y))).sum();
            if difference <= limit {
                let difference = difference as f32 / PIXELS as f32;
                found.push(Twins { left: *i.min(j), right: *i.max(j), difference });
            }
        }
        // A folder of one photo over and over has too many pairs to list.
        if found.len() > 16 * most {
            break;
        }
    }
    found.sort_by_key(|t| (t.left, t.right));
    found.truncate(most);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_photo_with_a_little_noise_is_found_and_others_are_not() {
        let picture = |seed: usize| std::array::from_fn(|i| ((i * 7 + seed * 131 + i * i * seed) % 251) as u8);
        let mut all: Vec<[u8; PIXELS]> = (0..40).map(picture).collect();
        let mut noisy = all[5];
        noisy.iter_mut().step_by(2).for_each(|v| *v = v.saturating_add(3));
        all.push(noisy);
        let found = twins(&all, 10);
        assert_eq!(found.iter().map(|t| (t.left, t.right)).collect::<Vec<_>>(), [(5, 40)]);
        assert!(found[0].difference > 1.0 && found[0].difference < 2.0);
    }
}
