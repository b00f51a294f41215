//! The general set: a folder of photos, with a folder for each person, of people who are in no collection. What a model
//! has forgotten of them shows here. Called by `gate`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use domain::{ErrorCode, Problem};
use evaluation::gate::GateSet;

use super::Desk;
use crate::{pipeline::Context, shelf::Served, stages::in_time};

/// Most people, and most photos of each, that are looked at: what comes first by name.
const MOST_PEOPLE: usize = 400;
const MOST_OF_ONE: usize = 6;

/// Embeds the general set with both models; with how many photos showed no face.
///
/// # Errors
/// A folder that cannot be read; the models'; `deadline_exceeded`.
pub(super) async fn look(
    desk: &Desk,
    folder: &Path,
    (champion, candidate): (&Served, &Served),
    context: &Context,
) -> Result<(GateSet, usize), Problem> {
    let unreadable = |e: io::Error| {
        let detail = format!("the general set of the gate cannot be read: {e}");
        Problem::new(ErrorCode::ModelNotReady, detail)
    };
    let root = folder.to_owned();
    let listed = tokio::task::spawn_blocking(move || people(&root)).await;
    let people = listed.map_err(|_| Problem::new(ErrorCode::Internal, "the work was broken off"))?;
    let (mut set, mut faceless) = (GateSet::default(), 0);
    for (subject, photos) in (0u32..).zip(people.map_err(unreadable)?) {
        for photo in photos {
            in_time(context.deadline)?;
            let _turn = desk.precedence.item().await;
            let read = tokio::task::spawn_blocking(move || fs::read(photo)).await;
            let bytes = read.map_err(|_| Problem::new(ErrorCode::Internal, "the work was broken off"))?;
            let image = Bytes::from(bytes.map_err(unreadable)?);
            match desk.pipeline.detect(image, 1, context).await {
                Ok(found) => match found.faces.first() {
                    Some(face) => {
                        let ours = champion.pipeline.embed_one(&face.crop, context).await?;
                        let theirs = candidate.pipeline.embed_one(&face.crop, context).await?;
                        set.push(subject, &ours.to_f32(), &theirs.to_f32());
                    }
                    None => faceless += 1,
                },
                // A photo that is none is the set's own fault, and no model's.
                Err(p) if p.code.status() < 500 => faceless += 1,
                Err(p) => return Err(p),
            }
        }
    }
    Ok((set, faceless))
}

/// The photos of each person, in the order of their names.
fn people(root: &Path) -> io::Result<Vec<Vec<PathBuf>>> {
    let mut people = Vec::new();
    for folder in sorted(root)?.into_iter().filter(|p| p.is_dir()).take(MOST_PEOPLE) {
        people.push(sorted(&folder)?.into_iter().filter(|p| p.is_file()).take(MOST_OF_ONE).collect());
    }
    Ok(people)
}

fn sorted(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = fs::read_dir(folder)?.map(|e| e.map(|e| e.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}
