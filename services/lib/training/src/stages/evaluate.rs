//! The third stage: the weights that were best on validation, and the model that training began with, on people whom
//! neither has learned from, as the cameras see them and as they are.

use evaluation::document::{CURVE_POINTS, Measured, TrainingProtocol};
use evaluation::{Bootstrap, Comparison, Roc, Scores, paired_verification, verification};
use serde::{Deserialize, Serialize};

use super::{
    Open,
    prepare::{Prepared, embedding},
    state::{identities, put},
};
use crate::{
    TrainingError,
    checkpoint::{Checkpoint, Place},
    embed::templates,
    files::{read_json, write_json},
    inputs::View,
    pairs::{comparisons, pairs},
    progress::{Phase, Progress},
    run::Run,
};

/// Photos whose templates are kept to compare another engine with.
const PROBES: usize = 8;

/// What the stage puts into evaluation.json.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Evaluation {
    /// Through the domain first, if there is one, then as they are.
    pub protocols: Vec<TrainingProtocol>,
    /// Photos with the model's templates.
    pub probes: Vec<(usize, Vec<f32>)>,
}

/// Measures both; `None` when it was told to stop. Leaves the best weights in the network.
pub(super) fn evaluate(
    run: &Run,
    prepared: &Prepared,
    open: &mut Open<'_>,
    progress: &mut dyn Progress,
) -> Result<Option<(Evaluation, Place)>, TrainingError> {
    let path = run.path("best.bin");
    let best = Checkpoint::read(&path, &run.record.id)?;
    let best = best.ok_or_else(|| TrainingError::run(&path, "there are no weights that were validated"))?;
    put(&best, open.network.as_mut())?;
    let file = run.path("evaluation.json");
    if let Some(done) = read_json::<Evaluation>(&file)? {
        return Ok(Some((done, best.place)));
    }
    let (recipe, samples) = (open.recipe, open.samples);
    let (photos, chose) = prepared.photos.final_test();
    let people = identities(samples, photos);
    let pairs = pairs(&people, recipe.validation.most_pairs, recipe.seed);
    let how = embedding(recipe, Phase::Evaluating);
    let dim = open.network.dim();
    let mut done = Evaluation { protocols: Vec::new(), probes: Vec::new() };
    let views = [("as the cameras see them", View::Domain), ("as they are", View::Plain)];
    for (name, view) in views.into_iter().filter(|(_, v)| *v == View::Plain || !recipe.domain.is_off()) {
        let items: Vec<(usize, View)> = photos.iter().map(|s| (*s, view)).collect();
        let (network, inputs) = open.split();
        let Some(of_candidate) = templates(network, inputs.as_ref(), &items, how, progress)? else { return Ok(None) };
        let candidate = comparisons(&pairs, &of_candidate, &people);
        let champion = prepared.champion.as_ref().map(|c| c.all(photos, view == View::Domain));
        let champion = champion.map(|c| comparisons(&pairs, &c, &people));
        if view == View::Plain {
            let rows = photos.iter().copied().zip(of_candidate.chunks_exact(dim).map(<[f32]>::to_vec));
            done.probes = rows.take(PROBES).collect();
        }
        done.protocols.push(protocol(name, (&candidate, champion.as_deref()), &people, chose)?);
    }
    write_json(&file, &done)?;
    Ok(Some((done, best.place)))
}

fn protocol(
    name: &str,
    (candidate, champion): (&[Comparison], Option<&[Comparison]>),
    people: &[usize],
    chose_the_step: bool,
) -> Result<TrainingProtocol, TrainingError> {
    let samples = people.len();
    let mut identities = people.to_vec();
    identities.sort_unstable();
    identities.dedup();
    let measured = |c: &[Comparison]| {
        let scores = Scores::from_comparisons(c)?;
        let report = verification(c, (samples, 0), None, Bootstrap::default())?;
        Ok::<Measured, TrainingError>(Measured { report, curve: Roc::new(&scores).corners(CURVE_POINTS) })
    };
    let paired = champion.map(|c| paired_verification(c, candidate, Bootstrap::default())).transpose()?;
    Ok(TrainingProtocol {
        name: name.to_owned(),
        identities: identities.len(),
        samples,
        chose_the_step,
        candidate: measured(candidate)?,
        champion: champion.map(measured).transpose()?,
        paired,
    })
}
