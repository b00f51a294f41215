//! People of a collection whom the gate looks at: those whose consent allows training and whose crops are retained, but
//! for whoever the candidate was trained on, as far as its lineage tells. Called by `gate`.

use std::collections::{BTreeMap, HashSet};

use ::crops::In;
use domain::{CollectionId, ErrorCode, FaceId, Problem, Template, TenantId, Timestamp};
use store::{CropOf, ModelRecord, SubjectHandle, TemplateRow};
use vision::Rgb8;

use super::{Desk, store_problem};
use crate::{pipeline::Context, shelf::Served, stages::in_time};

/// Subjects read at a time.
const PAGE: usize = 50;

/// Most pictures of one person.
const MOST_OF_ONE: usize = 6;

/// A collection.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub tenant: &'a TenantId,
    pub collection: &'a CollectionId,
}

/// What was found, and what is to be said of it.
#[derive(Default)]
pub(super) struct HeldOut {
    pub set: evaluation::gate::GateSet,
    pub notes: Vec<String>,
}

/// Embeds the held-out people with both models.
///
/// # Errors
/// The store's, the models'; `deadline_exceeded`.
pub(super) async fn look(
    desk: &Desk,
    place: Place<'_>,
    (champion, candidate): (&Served, &Served),
    record: &ModelRecord,
    context: &Context,
) -> Result<HeldOut, Problem> {
    let Place { tenant, collection } = place;
    let told = record.trained_on(collection);
    let trained: HashSet<SubjectHandle> = told.iter().flatten().filter_map(|handle| handle.parse().ok()).collect();
    let mut found = HeldOut::default();
    if told.is_none() {
        let note =
            "Nothing is known of who the model was trained on: everybody with a retained crop counts as held out.";
        found.notes.push(note.to_owned());
    }
    let subjects = desk.subjects(tenant, collection);
    let (mut people, mut after) = (0, None);
    while people < desk.config.gate.most_subjects {
        // Handles are hashes: the first so many are drawn as good as at random.
        let (rows, next) = subjects.trainable(Timestamp::now(), after, PAGE).await.map_err(store_problem)?;
        let mut by_subject: BTreeMap<SubjectHandle, Vec<TemplateRow>> = BTreeMap::new();
        for row in rows.into_iter().filter(|r| !trained.contains(&r.handle)) {
            by_subject.entry(row.handle).or_default().push(row);
        }
        for (handle, rows) in by_subject {
            if people >= desk.config.gate.most_subjects {
                break;
            }
            let mut any = false;
            for row in rows.iter().take(MOST_OF_ONE) {
                in_time(context.deadline)?;
                let _turn = desk.precedence.item().await;
                let Some(crop) = crop(desk, place, (handle, &row.face_id)).await? else { continue };
                let theirs = candidate.pipeline.embed_one(&crop, context).await?;
                let ours = match row.templates.of(champion.contract()) {
                    Some(stored) => stored.clone(),
                    None => champion.pipeline.embed_one(&crop, context).await?,
                };
                any |= push(&mut found, people, &ours, &theirs);
            }
            people += usize::from(any);
        }
        after = next;
        if after.is_none() {
            break;
        }
    }
    Ok(found)
}

fn push(found: &mut HeldOut, subject: usize, ours: &Template, theirs: &Template) -> bool {
    let subject = u32::try_from(subject).unwrap_or(u32::MAX);
    found.set.push(subject, &ours.to_f32(), &theirs.to_f32())
}

/// The aligned face that is retained of an enrolled one; nothing where none is.
///
/// # Errors
/// The store's, the objects'.
pub(super) async fn crop(
    desk: &Desk,
    place: Place<'_>,
    (handle, face): (SubjectHandle, &FaceId),
) -> Result<Option<Rgb8>, Problem> {
    let Some(crops) = &desk.crops else { return Ok(None) };
    let at = In { tenant: place.tenant, collection: place.collection };
    let found = crops.read(at, CropOf { handle, face }).await.map_err(|e| Problem::new(e.code(), e.to_string()))?;
    let alignment = desk.pipeline.alignment();
    let Some((record, png)) = found.filter(|(record, _)| record.alignment == alignment.name()) else { return Ok(None) };
    let limits = desk.config.limits;
    let picture = desk.pipeline.cpu.go_on(move || vision::decode(&png, &limits)).await?;
    let damaged = |what: String| Problem::new(ErrorCode::Internal, format!("a retained crop cannot be read: {what}"));
    let picture = picture.map_err(|e| damaged(e.to_string()))?;
    drop(record);
    Ok(vision::without_margin(&picture, alignment))
}
