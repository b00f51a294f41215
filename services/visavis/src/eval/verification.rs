//! `visavis eval verification`: embeds each distinct picture once, compares the pairs, and reports.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use evaluation::document::{
    CURVE_POINTS, FailedImage, PicturePair, Provenance, Speed, VERIFICATION, Verification, VerificationProtocol, Worst,
};
use evaluation::{
    Bootstrap, Comparison, EvaluationError, Histogram, Roc, Scores, cohorts, folds, threshold_from, verification,
};
use runtime::Config;

use super::embed::Embedded;
use super::pairs::{self, Pair, Pairs};
use super::people::{People, people};
use super::pictures::{Labels, Numbers, file_name, locate, shown};
use super::session::Session;
use super::{FACE, WORST, show, write};
use crate::cli::VerificationArgs;
use crate::failure::Failure;
use crate::output;

/// Runs the protocol.
///
/// # Errors
/// Unusable input files or models.
pub async fn run(config: &Config, args: &VerificationArgs) -> Result<(), Failure> {
    let test = pairs::read(&args.pairs)?;
    let train = args.threshold_from.as_deref().map(pairs::read).transpose()?;
    if let (Some(_), Some(_)) = (test.folds(), &train) {
        let both = "the pairs have folds, which choose each other's threshold: leave out --threshold-from";
        return Err(Failure::Usage(both.to_owned()));
    }
    let labels = args.labels.as_deref().map(Labels::read).transpose()?;
    let people = people(&args.pairs, &test.pairs, labels.as_ref())?;
    let all = || test.pairs.iter().chain(train.iter().flat_map(|t| &t.pairs));
    let images = locate(&args.images, &names(all()))?;
    let other = write::other(args.compare.as_ref(), VERIFICATION)?;
    let destination = write::prepare(&args.report)?;

    let session = Session::load(config, args.report.threads).await?;
    let (embedded, speed) = session.embed(images).await?;
    let mut cohort_names = Numbers::default();
    let comparisons = compare(&test.pairs, &embedded, &people, labels.as_ref(), &mut cohort_names);
    let threshold = match &train {
        None => None,
        Some(t) => {
            let comparisons = compare(&t.pairs, &embedded, &People::default(), None, &mut Numbers::default());
            Some(threshold_from(&comparisons).map_err(unusable)?)
        }
    };
    let mut inputs = vec![("pairs", args.pairs.as_path(), test.bytes.as_slice())];
    inputs.extend(
        args.threshold_from.as_deref().zip(train.as_ref()).map(|(p, t)| ("threshold-from", p, t.bytes.as_slice())),
    );
    inputs.extend(args.labels.as_deref().zip(labels.as_ref()).map(|(p, l)| ("labels", p, l.bytes.as_slice())));
    let measured =
        Measured { test: &test, comparisons: &comparisons, embedded: &embedded, cohorts: cohort_names.names() };
    let mut document = measured.document(threshold, people.how)?;
    document.provenance = session.provenance(&inputs);
    document.protocol.pairs = file_name(&args.pairs);
    document.protocol.threshold_from = args.threshold_from.as_deref().map(file_name);
    document.speed = speed;

    let crops = match (&destination, args.report.no_thumbnails) {
        (Some(_), false) => Some(session.crops(&measured.worst_paths(&args.images)).await?),
        _ => None,
    };
    let html = || evaluation::report::verification(&document, crops.as_deref(), other.as_ref());
    write::write(&args.report, destination.as_ref(), &document, html)?;
    output::text(&show::verification(&document, destination.as_ref()));
    Ok(())
}

fn names<'a>(pairs: impl Iterator<Item = &'a Pair>) -> BTreeSet<&'a str> {
    pairs.flat_map(|p| [p.left.as_str(), p.right.as_str()]).collect()
}

fn compare(
    pairs: &[Pair],
    embedded: &Embedded,
    people: &People,
    labels: Option<&Labels>,
    cohorts: &mut Numbers,
) -> Vec<Comparison> {
    let comparison = |(i, p): (usize, &Pair)| {
        let templates = embedded.template(&p.left).zip(embedded.template(&p.right));
        let score = templates.and_then(|(left, right)| left.score(right)).map(f64::from);
        let labelled = labels.and_then(|l| {
            let (left, right) = (l.cohort(&p.left)?, l.cohort(&p.right)?);
            (left == right).then_some(left)
        });
        let cohort = p.cohort.as_deref().or(labelled).map(|name| cohorts.of(name));
        Comparison { mated: p.same, score, subjects: people.numbers.get(i).copied(), cohort }
    };
    pairs.iter().enumerate().map(comparison).collect()
}

/// Pairs with their scores.
struct Measured<'a> {
    test: &'a Pairs,
    comparisons: &'a [Comparison],
    embedded: &'a Embedded,
    cohorts: &'a [String],
}

impl Measured<'_> {
    fn document(&self, threshold: Option<f64>, subjects: &str) -> Result<Verification, Failure> {
        let bootstrap = Bootstrap::default();
        let named = names(self.test.pairs.iter());
        let failed = named.iter().filter(|n| self.embedded.template(n).is_none()).count();
        let report = verification(self.comparisons, (named.len(), failed), threshold, bootstrap).map_err(unusable)?;
        let by_fold = self.test.folds().map(|f| folds(self.comparisons, &f)).transpose().map_err(unusable)?;
        let scores = Scores::from_comparisons(self.comparisons).map_err(unusable)?;
        // Where folds choose the threshold, their mean is the one to hold cohorts against.
        let common = by_fold.as_ref().map_or(report.accuracy.threshold, |f| f.threshold);
        let of = |mated: bool| self.comparisons.iter().filter(move |c| c.mated == mated).filter_map(|c| c.score);
        let pictures = |pairs: Vec<(&Pair, f64)>| {
            let name = |(p, score): (&Pair, f64)| PicturePair { left: shown(&p.left), right: shown(&p.right), score };
            pairs.into_iter().map(name).collect()
        };
        let [mated, non_mated] = self.worst();
        Ok(Verification {
            schema: VERIFICATION.to_owned(),
            provenance: Provenance::default(),
            protocol: VerificationProtocol {
                face: FACE.to_owned(),
                subjects: subjects.to_owned(),
                ..Default::default()
            },
            cohorts: cohorts(self.comparisons, self.cohorts, common, bootstrap),
            folds: by_fold,
            curve: Roc::new(&scores).corners(CURVE_POINTS),
            histogram: Histogram::new(of(true), of(false)),
            worst: Worst { mated: pictures(mated), non_mated: pictures(non_mated) },
            failures: failures(self.embedded, |name| name),
            speed: Speed::default(),
            report,
        })
    }

    /// Mated pairs of the lowest score, and non-mated ones of the highest.
    fn worst(&self) -> [Vec<(&Pair, f64)>; 2] {
        [true, false].map(|mated| {
            let of = self.test.pairs.iter().zip(self.comparisons).filter(|(_, c)| c.mated == mated);
            let mut scored: Vec<(&Pair, f64)> = of.filter_map(|(p, c)| Some((p, c.score?))).collect();
            scored.sort_by(|a, b| if mated { a.1.total_cmp(&b.1) } else { b.1.total_cmp(&a.1) });
            scored.truncate(WORST);
            scored
        })
    }

    fn worst_paths(&self, folder: &Path) -> Vec<[PathBuf; 2]> {
        let path = |(p, _): &(&Pair, f64)| [&p.left, &p.right].map(|name| folder.join(name));
        self.worst().iter().flatten().map(path).collect()
    }
}

/// Pictures without a template, as a report names them; `name` gives the name in its list.
pub fn failures<'a>(embedded: &'a Embedded, name: impl Fn(&'a str) -> &'a str) -> Vec<FailedImage> {
    let failed = embedded.failures();
    failed.map(|(image, reason)| FailedImage { image: shown(name(image)), reason: reason.to_owned() }).collect()
}

#[expect(clippy::needless_pass_by_value, reason = "fits map_err")]
pub fn unusable(e: EvaluationError) -> Failure {
    Failure::Usage(format!("{e}. Check the lists"))
}
