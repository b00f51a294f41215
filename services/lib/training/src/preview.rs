//! A contact sheet of a recipe's augmentation: a row for each photo, a column for each effect alone, then photos as
//! training will see them. Called by `visavis train preview`.

use vision::{Augment, Effect, Key, Rgb8};

use crate::Recipe;

/// Columns of photos as training will see them.
const DRAWN: u64 = 4;

/// Between pictures, in pixels.
const GAP: u32 = 4;

const SIDE: u32 = 112;

/// The sheet, and what its columns are, from the left.
#[must_use]
pub fn preview(recipe: &Recipe, crops: &[Rgb8]) -> (Rgb8, Vec<String>) {
    let columns = columns(recipe);
    let (across, down) = (columns.len() as u32, crops.len().max(1) as u32);
    let mut sheet = Rgb8::filled(across * (SIDE + GAP) + GAP, down * (SIDE + GAP) + GAP, [255; 3]);
    for (row, crop) in crops.iter().enumerate() {
        for (column, (_, make)) in columns.iter().enumerate() {
            let key = Key { seed: recipe.seed, epoch: column as u64, sample: row as u64 };
            let at = |i: usize| i as u32 * (SIDE + GAP) + GAP;
            paste(&mut sheet, &make(crop, key), (at(column), at(row)));
        }
    }
    (sheet, columns.into_iter().map(|(name, _)| name).collect())
}

type Column = (String, Box<dyn Fn(&Rgb8, Key) -> Rgb8>);

fn columns(recipe: &Recipe) -> Vec<Column> {
    let plain = Augment::default();
    let mut all: Vec<Column> = vec![("as it is".into(), Box::new(move |crop, key| plain.augment(crop, key)))];
    if recipe.augment.flip > 0.0 {
        let a = Augment { flip: 1.0, ..plain };
        all.push(("flip".into(), Box::new(move |crop, key| a.augment(crop, key))));
    }
    for (from, part) in [(recipe.augment, ""), (recipe.domain, "domain: ")] {
        for (name, a) in alone(&from) {
            all.push((format!("{part}{name}"), Box::new(move |crop, key| a.augment(crop, key))));
        }
    }
    let (augment, domain) = (recipe.augment, recipe.domain);
    for i in 0..DRAWN {
        let see = move |crop: &Rgb8, key: Key| domain.augment(&augment.augment(crop, key), key);
        all.push((format!("as seen, {}", i + 1), Box::new(see)));
    }
    all
}

/// Every effect that has a turn at all, always and by itself.
fn alone(a: &Augment) -> Vec<(&'static str, Augment)> {
    let off = Augment::default();
    let on = |e: Effect| Effect { probability: 1.0, ..e };
    let one = |name: &'static str, e: Effect| {
        let mut only = off;
        let place = match name {
            "rotation" => &mut only.rotation,
            "scale" => &mut only.scale,
            "shift" => &mut only.shift,
            "brightness" => &mut only.brightness,
            "contrast" => &mut only.contrast,
            "saturation" => &mut only.saturation,
            "occlusion" => &mut only.occlusion,
            "noise" => &mut only.noise,
            "salt_and_pepper" => &mut only.salt_and_pepper,
            "reduced" => &mut only.reduced,
            "motion_blur" => &mut only.motion_blur,
            _ => &mut only.covered,
        };
        *place = on(e);
        (name, only)
    };
    a.effects().into_iter().filter(|(_, e, _)| e.probability > 0.0).map(|(name, e, _)| one(name, e)).collect()
}

fn paste(sheet: &mut Rgb8, picture: &Rgb8, (x, y): (u32, u32)) {
    let stride = sheet.width() as usize * 3;
    let from = y as usize * stride + x as usize * 3;
    let rows = sheet.data_mut()[from..].chunks_mut(stride);
    for (target, row) in rows.zip((0..picture.height()).map(|y| picture.row(y))) {
        target[..row.len()].copy_from_slice(row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_effect_that_has_a_turn_has_a_column_that_shows_it() {
        let recipe =
            Recipe::named("from-scratch", &["domain.reduced={ probability = 1.0, range = [32, 32] }".into()]).unwrap();
        let grey = |n: u32| Rgb8::new(SIDE, SIDE, (0..SIDE * SIDE * 3).map(|i| (i * n % 251) as u8).collect()).unwrap();
        let (sheet, columns) = preview(&recipe, &[grey(7), grey(11)]);
        assert_eq!(columns.len(), 1 + 1 + 9 + 1 + 4, "{columns:?}");
        assert!(columns.contains(&"domain: reduced".to_owned()) && columns.contains(&"salt_and_pepper".to_owned()));
        assert_eq!((sheet.width(), sheet.height()), (16 * 116 + 4, 2 * 116 + 4));
        let cell = |column: u32| {
            let rows = 4..4 + SIDE;
            let from = (column * 116 + 4) as usize * 3;
            rows.flat_map(|y| sheet.row(y)[from..from + 336].to_vec()).collect::<Vec<u8>>()
        };
        assert_eq!(cell(0), grey(7).data());
        assert!((1..16).all(|c| cell(c) != cell(0)), "a column shows nothing");
    }
}
