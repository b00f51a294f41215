//! `visavis train preview`: a contact sheet of a recipe's augmentation on photos of the user's own.

use std::collections::BTreeSet;

use runtime::Config;
use vision::Rgb8;

use super::crops::{Aligner, Photo, as_it_is, photos};
use crate::cli::PreviewArgs;
use crate::failure::Failure;
use crate::{output, wiring};

/// Draws the sheet.
///
/// # Errors
/// Photos, a recipe or a file that cannot be used.
pub async fn run(config: &Config, args: &PreviewArgs) -> Result<(), Failure> {
    let recipe = args.recipe.read("from-scratch")?;
    if args.out.extension().is_none_or(|e| !e.eq_ignore_ascii_case("png")) {
        return Err(Failure::Usage("--out names a file that ends in .png".into()));
    }
    let data = args.photos.data.clone().unwrap_or_default();
    let chosen = one_of_each(photos(&data)?, args.rows.clamp(1, 100));
    let mut files = Vec::with_capacity(chosen.len());
    for photo in &chosen {
        files.push(std::fs::read(&photo.path).map_err(|e| Failure::io("the photo", &photo.path, &e))?);
    }
    let faces = if args.photos.aligned {
        let limits = wiring::worker(config).limits;
        files.iter().map(|f| as_it_is(f, &limits)).collect()
    } else {
        Aligner::load(config).await?.faces(files).await?
    };
    let crops: Vec<Rgb8> = faces.into_iter().filter_map(|f| f.ok().map(|(crop, _)| crop)).collect();
    if crops.is_empty() {
        return Err(Failure::Usage(format!("{}: no face was found in {} photos", data.display(), chosen.len())));
    }
    let (sheet, columns) = training::preview(&recipe, &crops);
    let png = vision::encode_png(&sheet).map_err(Failure::Other)?;
    std::fs::write(&args.out, png).map_err(|e| Failure::io("the sheet", &args.out, &e))?;
    let named: Vec<String> = columns.iter().enumerate().map(|(i, name)| format!("  {:2}  {name}", i + 1)).collect();
    output::text(&format!(
        "{}: {} photos; columns from the left:\n{}",
        args.out.display(),
        crops.len(),
        named.join("\n")
    ));
    Ok(())
}

/// The first photo of each person, then others, so many at most.
fn one_of_each(all: Vec<Photo>, most: usize) -> Vec<Photo> {
    let mut seen = BTreeSet::new();
    let (mut first, rest): (Vec<Photo>, Vec<Photo>) = all.into_iter().partition(|p| seen.insert(p.person.clone()));
    first.extend(rest);
    first.truncate(most);
    first
}
