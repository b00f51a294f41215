//! The first stage: every photo is read, people are split, the data report is made. Then what the model makes of the
//! photos before it learns: features for the method `head`, templates where centres, a teacher or a champion are wanted.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use onnx::ModelProto;

use super::{Open, teacher::Champion};
use crate::{
    Recipe, Samples, TrainingError,
    backend::Part,
    data::{DataReport, Scan, report, scan, suspects},
    embed::{Embedding, templates, through},
    files::{bytes_of, floats_of, read, write_json, write_whole},
    inputs::{Features, View},
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
        return Err(TrainingError::Model("it gives values that are no finite numbers before it has learned".into()));
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
    let (path, views, size) = (run.path("features.bin"), open.recipe.head.views, open.network.input());
    let opened = |file: File| Features { file, path: path.clone(), views, size };
    if let Ok(file) = File::open(&path) {
        return Ok(Some(opened(file)));
    }
    let value = open.features.as_deref().unwrap_or_default();
    let short = crate::graph::until(&open.working, value)?;
    // Nothing of it learns, and nothing is kept for learning.
    let mut backbone = open.backend.open(&short, Part::Whole, crate::recipe::NormMode::Frozen, open.recipe.threads)?;
    let seen = |s: &usize| {
        let training = (0..views as u64).map(View::Training);
        training.chain([View::Plain]).map(|v| (*s, v)).collect::<Vec<_>>()
    };
    let held_out = photos.validation.iter().chain(&photos.test);
    let held_out = held_out.flat_map(|s| [(*s, View::Plain), (*s, View::Domain)]);
    let items: Vec<(usize, View)> = photos.train.iter().flat_map(seen).chain(held_out).collect();

    let temporary = path.with_added_extension("part");
    let failed = |e| TrainingError::write(&path, e);
    let file = File::create(&temporary).map_err(failed)?;
    let mut next = items.iter();
    let mut take = |rows: &[f32]| {
        for (row, (sample, view)) in rows.chunks_exact(size).zip(&mut next) {
            let place = sample * (views + 2) + Features::place(views, *view);
            file.write_all_at(&bytes_of(row), (place * size * 4) as u64).map_err(failed)?;
        }
        Ok(())
    };
    let how = embedding(open.recipe, Phase::Embedding);
    let done = through(backbone.as_mut(), &open.pixels(), &items, how, (progress, &mut take))?;
    if done.is_none() {
        return Ok(None);
    }
    file.sync_all().map_err(failed)?;
    fs::rename(&temporary, &path).map_err(failed)?;
    let file = File::open(&path).map_err(|e| TrainingError::read(&path, e))?;
    Ok(Some(opened(file)))
}
