//! The gate between two models: the champion and a candidate on the same pictures, measured alike, and the decision
//! whether the candidate may take the champion's place. Called by the worker before a promotion.
//!
//! Two sets are looked at: people of the collection itself that the candidate has not been trained on (better is wanted
//! there), and a general set, so that what a model has forgotten shows (no worse than a margin is wanted there).

use serde::{Deserialize, Serialize};

use crate::{
    Bootstrap, Comparison, Difference, Embeddings, EvaluationError, Gallery, Paired, Search, paired_identification,
    paired_verification,
};

/// Schema of [`GateReport`].
pub const GATE: &str = "visavis.gate/1";

/// Comparisons of different persons that are looked at, at the most; beyond, evenly chosen ones.
const MOST_NON_MATED: usize = 20_000;

/// Measures that the decision looks at.
const DECIDING: [&str; 4] = ["tar_at_fmr_1e-3", "tar_at_fmr_1e-4", "rank_1", "fnir_at_fpir_1e-2"];

/// What is asked of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct GatePolicy {
    /// Whether it has to be better on held-out people, by more than chance explains; else no worse than the margin.
    pub require_better: bool,
    /// How much worse a measure may be on held-out people, at the far end of its interval.
    pub held_out_margin: f64,
    /// The same on the general set.
    pub general_margin: f64,
    /// Whether a general set is needed at all.
    pub require_general_set: bool,
    /// Fewest held-out people with two pictures at least.
    pub least_subjects: usize,
}

impl Default for GatePolicy {
    fn default() -> Self {
        Self {
            require_better: true,
            held_out_margin: 0.02,
            general_margin: 0.01,
            require_general_set: false,
            least_subjects: 10,
        }
    }
}

/// Both models on one set of pictures: embeddings in the same order, and whose each is.
#[derive(Clone, Debug, Default)]
pub struct GateSet {
    /// By the model that answers at present.
    pub champion: Embeddings,
    /// By the model that may take its place.
    pub candidate: Embeddings,
    /// Number of each picture's subject.
    pub subjects: Vec<u32>,
}

/// What a set came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GatePart {
    /// People.
    pub subjects: usize,
    /// Of these, with two pictures at least.
    pub subjects_with_mates: usize,
    /// Pictures.
    pub samples: usize,
    /// Comparisons of one person.
    pub mated: usize,
    /// Comparisons of different persons.
    pub non_mated: usize,
    /// Searches for people who are enrolled, and for people who are not.
    pub searches: [usize; 2],
    /// 1:1.
    pub verification: Paired,
    /// 1:N, open set: every other person is enrolled with one picture, all other pictures are searched for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identification: Option<Paired>,
}

/// What the gate found, and whether the candidate passes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GateReport {
    /// [`GATE`].
    pub schema: String,
    /// Whether it passes.
    pub passed: bool,
    /// Why it does not, or on what grounds it does; for people.
    pub reasons: Vec<String>,
    /// What was asked.
    pub policy: GatePolicy,
    /// On held-out people; absent where there are too few to measure anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out: Option<GatePart>,
    /// On the general set; absent where none is configured: forgetting was not looked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub general: Option<GatePart>,
    /// What is to be known beside the figures.
    pub notes: Vec<String>,
}

impl GateSet {
    /// Adds a picture; false, and nothing is added, where an embedding is of another length than those before.
    pub fn push(&mut self, subject: u32, champion: &[f32], candidate: &[f32]) -> bool {
        let fits = |set: &Embeddings, vector: &[f32]| {
            let mut one = Embeddings::default();
            one.push(vector) && (set.is_empty() || set.is_of_length(vector.len()))
        };
        let both = fits(&self.champion, champion) && fits(&self.candidate, candidate);
        if both {
            self.champion.push(champion);
            self.candidate.push(candidate);
            self.subjects.push(subject);
        }
        both
    }

    /// Measures both models on this set.
    ///
    /// # Errors
    /// [`EvaluationError::TooFew`] where nobody has two pictures, or there is only one person.
    pub fn measure(&self, bootstrap: Bootstrap) -> Result<GatePart, EvaluationError> {
        let pairs = self.pairs();
        let run = |of: &Embeddings| -> Vec<Comparison> {
            let one = |&(i, j): &(usize, usize)| {
                let (a, b) = (self.subjects[i], self.subjects[j]);
                let score = Some(f64::from(of.score(i, j)));
                Comparison { mated: a == b, score, subjects: Some([a, b]), cohort: None }
            };
            pairs.iter().map(one).collect()
        };
        let verification = paired_verification(&run(&self.champion), &run(&self.candidate), bootstrap)?;
        let (first, second) = (self.searches(&self.champion), self.searches(&self.candidate));
        let identification = paired_identification(&first, &second, bootstrap).ok();
        let mated = pairs.iter().filter(|(i, j)| self.subjects[*i] == self.subjects[*j]).count();
        let (mates, others): (Vec<&Search>, Vec<&Search>) = first.iter().partition(|s| s.mated);
        Ok(GatePart {
            subjects: self.people().len(),
            subjects_with_mates: self.with_mates(),
            samples: self.subjects.len(),
            mated,
            non_mated: pairs.len() - mated,
            searches: [mates.len(), others.len()],
            verification,
            identification,
        })
    }

    /// How many people have two pictures at least.
    #[must_use]
    pub fn with_mates(&self) -> usize {
        self.people().values().filter(|n| **n > 1).count()
    }

    /// People, each with the number of her or his pictures.
    fn people(&self) -> std::collections::BTreeMap<u32, usize> {
        let mut people = std::collections::BTreeMap::new();
        self.subjects.iter().for_each(|s| *people.entry(*s).or_default() += 1);
        people
    }

    /// Every pair of one person, and pairs of different persons at even distances in their list.
    fn pairs(&self) -> Vec<(usize, usize)> {
        let n = self.subjects.len();
        let all = || (0..n).flat_map(move |i| (i + 1..n).map(move |j| (i, j)));
        let of = |(i, j): &(usize, usize)| self.subjects[*i] == self.subjects[*j];
        let mut pairs: Vec<(usize, usize)> = all().filter(of).collect();
        let others = all().count() - pairs.len();
        let step = others.div_ceil(MOST_NON_MATED).max(1);
        pairs.extend(all().filter(|p| !of(p)).step_by(step));
        pairs
    }

    /// Every other person with several pictures is enrolled with the first of them; all other pictures are searched for.
    fn searches(&self, of: &Embeddings) -> Vec<Search> {
        let (mut gallery, mut places) = (Gallery::default(), vec![false; self.subjects.len()]);
        let people = self.people();
        let several = people.iter().filter(|(_, n)| **n > 1).map(|(s, _)| *s);
        let enrolled: std::collections::BTreeSet<u32> = several.step_by(2).collect();
        for subject in &enrolled {
            if let Some(first) = self.subjects.iter().position(|s| s == subject) {
                gallery.push(*subject, of.vector(first));
                places[first] = true;
            }
        }
        let probes = (0..self.subjects.len()).filter(|i| !places[*i]);
        let search = |i: usize| {
            let subject = self.subjects[i];
            let mated = enrolled.contains(&subject);
            let outcome = Some(gallery.search(of, i, mated.then_some(subject)).outcome);
            Search { mated, subject: Some(subject), cohort: None, outcome }
        };
        probes.map(search).collect()
    }
}

impl GatePart {
    /// The measures that decide, as far as this set has them.
    pub fn deciding(&self) -> impl Iterator<Item = &Difference> {
        let all = self.verification.differences.iter();
        let all = all.chain(self.identification.iter().flat_map(|p| &p.differences));
        all.filter(|d| DECIDING.contains(&d.measure.as_str()))
    }
}

/// Decides. A pure function of what was measured.
#[must_use]
pub fn decide(
    held_out: Option<GatePart>,
    general: Option<GatePart>,
    policy: GatePolicy,
    notes: Vec<String>,
) -> GateReport {
    let mut wrong = Vec::new();
    match &held_out {
        Some(part) if part.subjects_with_mates >= policy.least_subjects => {
            worse(part, "held-out people", policy.held_out_margin, &mut wrong);
            if policy.require_better && !part.deciding().any(Difference::is_better) {
                wrong.push("held-out people: no measure is better by more than chance explains".to_owned());
            }
        }
        found => {
            let found = found.as_ref().map_or(0, |p| p.subjects_with_mates);
            let least = policy.least_subjects;
            wrong.push(format!(
                "held-out people: {found} with two retained pictures at least, and {least} are needed to say anything"
            ));
        }
    }
    match &general {
        Some(part) => worse(part, "general set", policy.general_margin, &mut wrong),
        None if policy.require_general_set => {
            wrong.push("general set: none is configured, and one is required".to_owned());
        }
        None => {}
    }
    let passed = wrong.is_empty();
    let mut reasons = wrong;
    if passed {
        let grounds = if policy.require_better { "better, and nowhere worse" } else { "nowhere worse" };
        reasons.push(format!("{grounds} than the margins allow"));
    }
    let mut notes = notes;
    if general.is_none() {
        notes.push("No general set was looked at: whether the model has forgotten others is not known.".to_owned());
    }
    GateReport { schema: GATE.to_owned(), passed, reasons, policy, held_out, general, notes }
}

fn worse(part: &GatePart, on: &str, margin: f64, wrong: &mut Vec<String>) {
    for d in part.deciding().filter(|d| d.may_be_worse_by(margin)) {
        let (i, by) = (d.difference.interval, d.difference.value);
        wrong.push(format!(
            "{on}: {} went from {:.4} to {:.4} ({by:+.4}, 95 % interval {:+.4} to {:+.4}), more than the margin of \
             {margin} allows",
            d.measure, d.first, d.second, i.low, i.high
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Embeddings of so many people with three pictures each: `noise` says how unlike the pictures of one person are.
    fn people(count: u32, noise: [f32; 2]) -> GateSet {
        let mut set = GateSet::default();
        let mut state = 7u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        };
        for subject in 0..count {
            let centre: Vec<f32> = (0..16).map(|_| next()).collect();
            for _ in 0..3 {
                let off: Vec<f32> = (0..16).map(|_| next()).collect();
                let [a, b] = noise.map(|n| unit(centre.iter().zip(&off).map(|(c, o)| c + n * o).collect()));
                assert!(set.push(subject, &a, &b));
            }
        }
        set
    }

    fn unit(v: Vec<f32>) -> Vec<f32> {
        let length = v.iter().map(|x| x * x).sum::<f32>().sqrt();
        v.into_iter().map(|x| x / length).collect()
    }

    fn measured(noise: [f32; 2]) -> GatePart {
        people(24, noise).measure(Bootstrap { resamples: 200, ..Bootstrap::default() }).unwrap()
    }

    #[test]
    fn the_same_model_twice_is_no_worse_and_no_better() {
        let part = measured([0.8, 0.8]);
        assert_eq!((part.subjects, part.subjects_with_mates, part.samples, part.mated), (24, 24, 72, 72));
        assert_eq!(part.searches, [24, 36]);
        assert!(part.deciding().count() >= 3);
        let lenient = GatePolicy { require_better: false, ..GatePolicy::default() };
        assert!(decide(Some(part.clone()), None, lenient, vec![]).passed);
        let strict = decide(Some(part), None, GatePolicy::default(), vec![]);
        assert!(!strict.passed && strict.reasons[0].contains("better by more than chance"), "{:?}", strict.reasons);
    }

    #[test]
    fn a_better_model_passes_and_a_worse_one_does_not() {
        let better = decide(Some(measured([1.4, 0.4])), None, GatePolicy::default(), vec![]);
        assert!(better.passed, "{:?}", better.reasons);
        assert!(better.notes.iter().any(|n| n.contains("No general set")));
        let lenient = GatePolicy { require_better: false, ..GatePolicy::default() };
        let worse = decide(Some(measured([0.4, 1.4])), None, lenient, vec![]);
        assert!(!worse.passed && worse.reasons.iter().any(|r| r.contains("tar_at_fmr_1e-3")), "{:?}", worse.reasons);
    }

    #[test]
    fn who_forgot_the_others_does_not_pass() {
        let (better, forgot) = (measured([1.4, 0.4]), measured([0.4, 1.4]));
        let report = decide(Some(better.clone()), Some(forgot), GatePolicy::default(), vec![]);
        assert!(!report.passed && report.reasons.iter().all(|r| r.starts_with("general set")), "{:?}", report.reasons);
        let needed = GatePolicy { require_general_set: true, ..GatePolicy::default() };
        assert!(!decide(Some(better), None, needed, vec![]).passed);
    }

    #[test]
    fn too_few_people_are_no_ground_to_pass() {
        let few = people(4, [1.4, 0.4]).measure(Bootstrap { resamples: 50, ..Bootstrap::default() }).ok();
        let report = decide(few, None, GatePolicy::default(), vec![]);
        assert!(!report.passed && report.reasons[0].contains("4 with two"), "{:?}", report.reasons);
        assert!(!decide(None, None, GatePolicy::default(), vec![]).passed);
    }

    #[test]
    fn embeddings_of_different_lengths_are_not_mixed() {
        let mut set = GateSet::default();
        assert!(set.push(0, &[1.0, 0.0], &[1.0, 0.0, 0.0]));
        assert!(!set.push(0, &[1.0, 0.0, 0.0], &[1.0, 0.0, 0.0]) && !set.push(0, &[1.0, 0.0], &[1.0]));
        assert_eq!((set.champion.len(), set.candidate.len(), set.subjects.len()), (1, 1, 1));
        assert!(set.measure(Bootstrap::default()).is_err());
    }
}
