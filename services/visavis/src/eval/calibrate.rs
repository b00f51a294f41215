//! `visavis eval calibrate`: the table of scores by false match rate, from pictures with names.

mod guard;
mod sample;

use std::path::PathBuf;

use evaluation::document::{CALIBRATION, Calibration, CalibrationSample, InUse, PicturePair, Provenance, Speed};
use evaluation::{CalibrationRow, Embeddings, Histogram, NonMatedScores, ScoreSummary, calibrate};
use runtime::Config;

use super::embed::Embedded;
use super::session::Session;
use super::table::Table;
use super::verification::{failures, unusable};
use super::{show, write};
use crate::cli::{CalibrateArgs, TableFormat};
use crate::failure::Failure;
use crate::output;
use sample::Sample;

/// Points of the curve in the report.
const CURVE_POINTS: i32 = 160;

/// Makes the table.
///
/// # Errors
/// Unusable input files or models.
pub async fn run(config: &Config, args: &CalibrateArgs) -> Result<(), Failure> {
    let sample = Sample::read(args)?;
    let destination = write::prepare(&args.report)?;
    let session = Session::load(config, args.report.threads).await?;
    let (embedded, speed) = session.embed(sample.images()).await?;

    let made = Made::new(&sample, &embedded, args.max_comparisons)?;
    let mut document = made.document()?;
    let (detector, embedder) = (&session.models().detector, &session.models().embedder);
    document.id = args.id.clone().unwrap_or_else(|| slug(&format!("{embedder}-{detector}-{}", sample.source)));
    document.in_use_id = session.calibration().map(|c| c.id().to_owned());
    let in_use =
        session.calibration().map(|c| c.points().iter().map(|p| InUse { fmr: p.fmr, score: p.score }).collect());
    document.in_use = in_use.unwrap_or_default();
    let inputs: Vec<_> =
        sample.inputs.iter().map(|(role, path, bytes)| (*role, path.as_path(), bytes.as_slice())).collect();
    document.provenance = session.provenance(&inputs);
    document.speed = speed;
    let table = Table {
        detector,
        id: &document.id.clone(),
        sample: &document.sample_text.clone(),
        rows: &document.rows.clone(),
    };
    document.manifest = table.toml();

    let crops = match (&destination, args.report.no_thumbnails) {
        (Some(_), false) => Some(session.crops(&made.suspect_paths(&document)).await?),
        _ => None,
    };
    let html = || evaluation::report::calibration(&document, crops.as_deref());
    write::write(&args.report, destination.as_ref(), &document, html)?;
    if let Some(path) = &args.out {
        let json = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("json"));
        let text = if json { format!("{:#}\n", table.json()) } else { table.toml() };
        std::fs::write(path, text).map_err(|e| Failure::io("the table", path, &e))?;
    }
    match args.print {
        TableFormat::Toml => output::text(&show::calibration(&document, destination.as_ref())),
        TableFormat::Json => output::text(&format!("{:#}", table.json())),
    }
    Ok(())
}

/// Lower-case letters, digits and dashes.
fn slug(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c.to_ascii_lowercase() } else { '-' });
    let mut out = String::new();
    for c in plain {
        if c != '-' || !out.ends_with('-') {
            out.push(c);
        }
    }
    out.trim_matches('-').to_owned()
}

/// The templates of a sample, and the table they make.
struct Made<'a> {
    sample: &'a Sample,
    embedded: &'a Embedded,
    /// Pictures that have a template.
    enrolled: Vec<&'a sample::Picture>,
    embeddings: Embeddings,
    subjects: Vec<u32>,
    non_mated: NonMatedScores,
    table: evaluation::Calibration,
}

impl<'a> Made<'a> {
    fn new(sample: &'a Sample, embedded: &'a Embedded, most: usize) -> Result<Self, Failure> {
        let (mut embeddings, mut enrolled, mut subjects) = (Embeddings::default(), Vec::new(), Vec::new());
        for picture in &sample.pictures {
            if let Some(t) = embedded.template(&picture.key)
                && embeddings.push(&t.to_f32())
            {
                enrolled.push(picture);
                subjects.push(picture.subject);
            }
        }
        let mut non_mated = embeddings.non_mated(&subjects, &sample.one_person, most);
        let table = calibrate(&mut non_mated.scores).map_err(unusable)?;
        // A table with equal scores is no table, and better refused now than by the manifest.
        table.table("").map_err(unusable)?;
        Ok(Self { sample, embedded, enrolled, embeddings, subjects, non_mated, table })
    }

    fn document(&self) -> Result<Calibration, Failure> {
        let scores = || self.non_mated.scores.iter().map(|s| f64::from(*s));
        let mated: Vec<f64> = self.embeddings.mated(&self.subjects).into_iter().map(f64::from).collect();
        let people: std::collections::BTreeSet<u32> = self.subjects.iter().copied().collect();
        let sample = CalibrationSample {
            source: self.sample.source.clone(),
            images: self.sample.pictures.len(),
            failed_images: self.sample.pictures.len() - self.enrolled.len(),
            subjects: people.len(),
            comparisons: self.table.sample,
            possible: self.non_mated.possible,
            one_person: self.sample.one_person.len(),
        };
        Ok(Calibration {
            schema: CALIBRATION.to_owned(),
            provenance: Provenance::default(),
            id: String::new(),
            sample_text: show::sample(&sample),
            sample,
            rows: self.table.rows.clone(),
            in_use: Vec::new(),
            in_use_id: None,
            curve: curve(&self.non_mated.scores, &self.table.rows),
            histogram: Histogram::new(mated.iter().copied(), scores()),
            non_mated_scores: ScoreSummary::of(scores()),
            mated_scores: ScoreSummary::of(mated.iter().copied()),
            guard: self.guard()?,
            manifest: String::new(),
            failures: failures(self.embedded, |key| self.sample.image_of(key)),
            speed: Speed::default(),
        })
    }

    /// Pictures of the suspects, as the document lists them.
    fn suspect_paths(&self, document: &Calibration) -> Vec<[PathBuf; 2]> {
        let path = |name: &String| {
            let found = self.sample.pictures.iter().find(|p| p.shown() == *name);
            found.map(|p| PathBuf::from(&p.key)).unwrap_or_default()
        };
        let pair = |PicturePair { left, right, .. }: &PicturePair| [path(left), path(right)];
        document.guard.suspects.iter().map(|s| pair(&s.pair)).collect()
    }
}

/// Score by rate at even steps of its logarithm, down to the last measured row.
fn curve(sorted: &[f32], rows: &[CalibrationRow]) -> Vec<InUse> {
    let last = rows.iter().rfind(|r| !r.extrapolated).map_or(-1.0, |r| r.fmr.log10());
    let point = |i: i32| {
        let fmr = 10f64.powf(last * f64::from(i) / f64::from(CURVE_POINTS));
        let place = ((fmr * sorted.len() as f64) as usize).clamp(1, sorted.len()) - 1;
        InUse { fmr, score: f64::from(sorted[place]) }
    };
    if sorted.is_empty() { Vec::new() } else { (0..=CURVE_POINTS).map(point).collect() }
}

#[cfg(test)]
mod tests {
    #[test]
    fn ids_are_plain() {
        assert_eq!(super::slug("sface-yunet-My photos (2)"), "sface-yunet-my-photos-2");
    }
}
