//! `visavis eval identification`: enrols people, searches for others among them, and reports.

mod lists;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use domain::{CalibrationTable, ThresholdSpec};
use evaluation::document::{
    Enrolment, IDENTIFICATION, Identification, IdentificationProtocol, PicturePair, Provenance, SearchCohorts, Service,
    ServicePoint, Speed, Worst,
};
use evaluation::{
    Bootstrap, Comparison, Embeddings, Found, Gallery, Histogram, IdentificationReport, Search, cohorts, identification,
};
use runtime::Config;

use super::embed::Embedded;
use super::pictures::{file_name, shown};
use super::session::Session;
use super::verification::{failures, unusable};
use super::{FACE, WORST, show, write};
use crate::cli::IdentificationArgs;
use crate::failure::Failure;
use crate::output;
use lists::{Entry, Lists};

/// Targets at which the service's own thresholds are measured.
const TARGET_FPIR: [f64; 4] = [1e-3, 3e-3, 1e-2, 1e-1];

/// Searches a limit must allow to fail before its threshold is taken as the common one of cohorts.
const SUPPORTED: u64 = 10;

/// Runs the protocol.
///
/// # Errors
/// Unusable input files or models.
pub async fn run(config: &Config, args: &IdentificationArgs) -> Result<(), Failure> {
    let lists = Lists::read(&args.enrol, &args.probes, args.images.as_deref())?;
    let other = write::other(args.compare.as_ref(), IDENTIFICATION)?;
    let destination = write::prepare(&args.report)?;

    let session = Session::load(config, args.report.threads).await?;
    let (embedded, speed) = session.embed(lists.images()).await?;
    let searched = Searched::new(&lists, &embedded);
    let mut document = searched.document(session.calibration())?;
    document.provenance = session
        .provenance(&[("enrol", &args.enrol, &lists.enrol.bytes), ("probes", &args.probes, &lists.probes.bytes)]);
    document.protocol.enrol = file_name(&args.enrol);
    document.protocol.probes = file_name(&args.probes);
    document.speed = speed;

    let crops = match (&destination, args.report.no_thumbnails) {
        (Some(_), false) => Some(session.crops(&searched.worst_paths()).await?),
        _ => None,
    };
    let html = || evaluation::report::identification(&document, crops.as_deref(), other.as_ref());
    write::write(&args.report, destination.as_ref(), &document, html)?;
    output::text(&show::identification(&document, destination.as_ref()));
    Ok(())
}

/// Every probe, and what its search found.
struct Searched<'a> {
    lists: &'a Lists,
    embedded: &'a Embedded,
    /// Enrolled pictures that have a template, in the gallery's order.
    enrolled: Vec<&'a Entry>,
    gallery: Gallery,
    /// By probe; `None` where it failed to enrol.
    found: Vec<Option<Found>>,
}

impl<'a> Searched<'a> {
    fn new(lists: &'a Lists, embedded: &'a Embedded) -> Self {
        let mut gallery = Gallery::default();
        let mut enrolled = Vec::new();
        for entry in &lists.enrol.entries {
            if let Some(t) = embedded.template(&entry.key)
                && gallery.push(entry.subject.unwrap_or_default(), &t.to_f32())
            {
                enrolled.push(entry);
            }
        }
        let search = |probe: &Entry| {
            let mut one = Embeddings::default();
            one.push(&embedded.template(&probe.key)?.to_f32());
            Some(gallery.search(&one, 0, lists.mate(probe)))
        };
        let found = lists.probes.entries.iter().map(search).collect();
        Self { lists, embedded, enrolled, gallery, found }
    }

    fn probes(&self) -> impl Iterator<Item = (&'a Entry, Option<Found>)> + '_ {
        self.lists.probes.entries.iter().zip(self.found.iter().copied())
    }

    fn document(&self, calibration: Option<&CalibrationTable>) -> Result<Identification, Failure> {
        let search = |(p, found): (&Entry, Option<Found>)| Search {
            mated: self.lists.mate(p).is_some(),
            subject: p.subject,
            cohort: self.lists.cohort(p),
            outcome: found.map(|f| f.outcome),
        };
        let searches: Vec<Search> = self.probes().map(search).collect();
        let thresholds = self.thresholds(calibration);
        let at: Vec<f64> = thresholds.iter().map(|t| t.1).collect();
        let subjects = self.lists.subjects();
        let bootstrap = Bootstrap::default();
        let report = identification(&searches, subjects, &at, bootstrap).map_err(unusable)?;
        let points =
            thresholds.iter().zip(&report.at).map(|(t, rates)| ServicePoint { target_fpir: t.0, rates: *rates });
        let service = calibration.map(|c| Service { calibration: c.id().to_owned(), points: points.collect() });
        let enrolled: BTreeSet<Option<u32>> = self.enrolled.iter().map(|e| e.subject).collect();
        let images = self.lists.enrol.entries.len();
        let enrolment = Enrolment {
            subjects,
            images,
            failed_images: images - self.enrolled.len(),
            failed_subjects: subjects - enrolled.len(),
        };
        let mates = searches.iter().filter_map(|s| Some(s.outcome?.mate?.score));
        let strangers = searches.iter().filter(|s| !s.mated).filter_map(|s| Some(s.outcome?.top));
        let histogram = Histogram::new(mates, strangers);
        Ok(Identification {
            schema: IDENTIFICATION.to_owned(),
            provenance: Provenance::default(),
            protocol: IdentificationProtocol {
                face: FACE.to_owned(),
                not_enrolled: self.lists.not_enrolled(),
                ..IdentificationProtocol::default()
            },
            enrolment,
            service,
            cohorts: self.cohorts(&searches, &report, bootstrap),
            histogram,
            worst: self.worst_pictures(),
            failures: failures(self.embedded, |key| self.lists.image_of(key)),
            speed: Speed::default(),
            report,
        })
    }

    /// The service's targets with the thresholds that its calibration gives for this gallery.
    fn thresholds(&self, calibration: Option<&CalibrationTable>) -> Vec<(f64, f64)> {
        let of = |target: f64| {
            let resolved = calibration?.resolve(ThresholdSpec::fpir(target), self.gallery.len() as u64);
            Some((target, resolved.ok()?.score))
        };
        TARGET_FPIR.into_iter().filter_map(of).collect()
    }

    /// Cohorts as comparisons: of a mated search the mate's score, of any other the highest.
    fn cohorts(&self, searches: &[Search], report: &IdentificationReport, b: Bootstrap) -> Option<SearchCohorts> {
        let limits = &report.fnir_at_fpir;
        let limit = limits.iter().find(|l| l.support >= SUPPORTED).or(limits.last())?;
        let comparison = |s: &Search| Comparison {
            mated: s.mated,
            score: s.outcome.and_then(|o| if s.mated { o.mate.map(|m| m.score) } else { Some(o.top) }),
            subjects: s.subject.map(|n| [n, n]),
            cohort: s.cohort,
        };
        let comparisons: Vec<Comparison> = searches.iter().map(comparison).collect();
        let report = cohorts(&comparisons, self.lists.cohort_names(), limit.threshold, b)?;
        Some(SearchCohorts { report, threshold_origin: format!("FPIR at most {} % here", 100.0 * limit.fpir) })
    }

    /// Probe, enrolled picture and score of the hardest searches: people missed, and strangers found.
    fn worst(&self) -> [Vec<(&'a Entry, &'a Entry, f64)>; 2] {
        [true, false].map(|mated| {
            let pair = |(probe, found): (&'a Entry, Option<Found>)| {
                let found = found.filter(|_| self.lists.mate(probe).is_some() == mated)?;
                let (place, score) =
                    if mated { (found.mate?, found.outcome.mate?.score) } else { (found.top?, found.outcome.top) };
                Some((probe, *self.enrolled.get(place)?, score))
            };
            let mut pairs: Vec<_> = self.probes().filter_map(pair).collect();
            pairs.sort_by(|a, b| if mated { a.2.total_cmp(&b.2) } else { b.2.total_cmp(&a.2) });
            pairs.truncate(WORST);
            pairs
        })
    }

    fn worst_pictures(&self) -> Worst {
        let named = |e: &Entry| {
            let who = self.lists.name_of(e);
            if who.is_empty() { shown(&e.image) } else { format!("{who}: {}", shown(&e.image)) }
        };
        let picture = |(probe, enrolled, score): (&Entry, &Entry, f64)| PicturePair {
            left: named(probe),
            right: named(enrolled),
            score,
        };
        let [mated, non_mated] = self.worst().map(|pairs| pairs.into_iter().map(picture).collect());
        Worst { mated, non_mated }
    }

    fn worst_paths(&self) -> Vec<[PathBuf; 2]> {
        let path = |e: &Entry| Path::new(&e.key).to_owned();
        self.worst().iter().flatten().map(|(probe, enrolled, _)| [path(probe), path(enrolled)]).collect()
    }
}
