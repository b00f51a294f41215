//! The first stage: every photo is read, people are split, the data report is made. Then what the model makes of the
//! photos before it learns: features for the method `head`, templates where centres, a teacher or a champion are wanted.

use std::path::Path;

use onnx::ModelProto;

use super::{Open, teacher::Champion};
use crate::{
    Recipe, Samples, TrainingError,
    backend::Part,
    data::{DataReport, Scan, report, scan, suspects},
    embed::{Embedding, templates, through},
    features::{Features, Rows, Writer},
    files::{bytes_of, floats_of, read, write_json, write_whole},
    inputs::View,
    progress::{Phase, Progress},
    recipe::Prototypes,
    run::{Dataset, Run},
    split::{Role, split},
};

/// Threads that load photos: decoding is little beside the network.
pub(super) const LOADERS: usize = 2;

/// Photos by what they are for.
pub(super) struct Photos {
    pub usable: Vec<usize>,
    pub train: Vec<usize>,
    pub validation: Vec<usize>,
    pub test: Vec<usize>,
    /// Number of people who are told apart.
    pub classes: usize,
    pub report: DataReport,
    /// Class of every photo in `train`, in its order.
    pub labels: Vec<usize>,
}

/// What the other stages need.
pub(super) struct Prepared {
    pub photos: Photos,
    /// What the model that training begins with makes of the photos, where it knows faces.
    pub champion: Option<Champion>,
}

impl Photos {
    fn of(samples: &dyn Samples, scan: Scan, roles: &[Role]) -> Self {
        let of = |role: Role| {
            let mine = scan.usable.iter().copied().filter(|&s| roles[samples.identity(s)] == role);
            mine.collect::<Vec<usize>>()
        };
        let train = of(Role::Train);
        let mut classes = vec![None; samples.identities().len()];
        let mut next = 0;
        for &s in &train {
            let class = &mut classes[samples.identity(s)];
            if class.is_none() {
                *class = Some(next);
                next += 1;
            }
        }
        let labels = train.iter().filter_map(|&s| classes[samples.identity(s)]).collect();
        let report = report(samples, &scan, roles);
        Self {
            labels,
            train,
            validation: of(Role::Validation),
            test: of(Role::Test),
            classes: next,
            report,
            usable: scan.usable,
        }
    }

    /// Photos of people who are met at the end, and whether they have chosen the best step as well: without test people
    /// there is nobody else.
    pub fn final_test(&self) -> (&[usize], bool) {
        if self.test.is_empty() { (&self.validation, true) } else { (&self.test, false) }
    }
}

/// Reads all photos and opens the run; `None` when it was told to stop.
pub(super) fn begin(
    recipe: &Recipe,
    model: &ModelProto,
    samples: &dyn Samples,
    folder: &Path,
    progress: &mut dyn Progress,
) -> Result<Option<(Run, Photos)>, TrainingError> {
    let Some(found) = scan(samples, progress)? else { return Ok(None) };
    let mut counts = vec![0; samples.identities().len()];
    found.usable.iter().for_each(|&s| counts[samples.identity(s)] += 1);
    let roles = split(samples.identities(), &counts, recipe.seed, &recipe.split)?;
    let dataset = Dataset {
        sha256: found.sha256.clone(),
        identities: counts.iter().filter(|n| **n > 0).count(),
        samples: found.usable.len(),
    };
    let photos = Photos::of(samples, found, &roles);
    let run = Run::open(folder, recipe, &onnx::encode(model), (dataset, samples.lineage()))?;
    write_json(&run.path("data.json"), &photos.report)?;
    Ok(Some((run, photos)))
}

/// Computes what is needed once; `None` when it was told to stop.
pub(super) fn finish(
    run: &mut Run,
    open: &mut Open<'_>,
    mut photos: Photos,
    progress: &mut dyn Progress,
) -> Result<Option<Prepared>, TrainingError> {
    if open.features.is_some() {
        let Some(features) = features(run, open, &photos, progress)? else { return Ok(None) };
        open.cached = Some(features);
    }
    let knows_faces = open.recipe.loss.prototypes == Prototypes::Centres || open.recipe.distill.is_on();
    if !knows_faces {
        return Ok(Some(Prepared { photos, champion: None }));
    }
    let Some(champion) = champion(run, open, &photos, progress)? else { return Ok(None) };
    suspects(&mut photos.report, open.samples, (&photos.usable, &champion.plain));
    write_json(&run.path("data.json"), &photos.report)?;
    Ok(Some(Prepared { photos, champion: Some(champion) }))
}

/// How photos are embedded in this run.
pub(super) fn embedding(recipe: &Recipe, phase: Phase) -> Embedding {
    Embedding { micro: recipe.batch.micro, threads: LOADERS, phase }
}

/// Templates of all photos as they are, and of those held out through the domain.
fn champion(
    run: &Run,
    open: &mut Open<'_>,
    photos: &Photos,
    progress: &mut dyn Progress,
) -> Result<Option<Champion>, TrainingError> {
    let dim = open.network.dim();
    let domain: Vec<usize> = match open.recipe.domain.is_off() {
        true => Vec::new(),
        false => photos.validation.iter().chain(&photos.test).copied().collect(),
    };
    let (plain, path) = (photos.usable.len() * dim, run.path("champion.bin"));
    if let Some(all) = read(&path)?.map(|b| floats_of(&b)).filter(|a| a.len() == plain + domain.len() * dim) {
        return Ok(Some(Champion::new(photos, dim, &all, &domain)));
    }
    let items = photos.usable.iter().map(|s| (*s, View::Plain));
    let items: Vec<(usize, View)> = items.chain(domain.iter().map(|s| (*s, View::Domain))).collect();
    let how = embedding(open.recipe, Phase::Embedding);
    let (network, inputs) = open.split();
    let Some(all) = templates(network, inputs.as_ref(), &items, how, progress)? else { return Ok(None) };
    if all.iter().any(|v| !v.is_finite()) {
        return Err(TrainingError::not_finite());
    }
    write_whole(&path, &bytes_of(&all))?;
    Ok(Some(Champion::new(photos, dim, &all, &domain)))
}

/// Values before the last linear layer, of every view that the method `head` will ask for.
fn features(
    run: &Run,
    open: &Open<'_>,
    photos: &Photos,
    progress: &mut dyn Progress,
) -> Result<Option<Features>, TrainingError> {
    let (folder, size) = (run.folder(), open.network.input());
    let held_out = photos.validation.iter().chain(&photos.test).copied();
    let rows = Rows::new(&photos.train, held_out, open.recipe.head.views);
    if let Some(there) = Features::open(folder, rows.clone(), size) {
        return Ok(Some(there));
    }
    let value = open.features.as_deref().unwrap_or_default();
    let short = crate::graph::until(&open.working, value)?;
    // Nothing of it learns, and nothing is kept for learning.
    let mut backbone = open.backend.open(&short, Part::Whole, crate::recipe::NormMode::Frozen, open.recipe.threads)?;
    let mut writer = Writer::create(folder, &rows, size)?;
    let mut take = |batch: &[f32]| writer.add(batch);
    let how = embedding(open.recipe, Phase::Embedding);
    let done = through(backbone.as_mut(), &open.pixels(), rows.all(), how, (progress, &mut take))?;
    if done.is_none() {
        return Ok(None);
    }
    writer.finish(rows).map(Some)
}
