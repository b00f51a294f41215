//! Scenarios: what is sent, at which rate, for how long, and what happens to the service meanwhile. TOML files in
//! `scenarios`; rates may be shares of what the service carries, so that a file is good for any machine.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// A scenario as its file says it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it is to show, in a sentence.
    pub about: String,
    /// Name of its objectives.
    pub slo: String,
    /// Subjects enrolled before.
    pub enrolled: usize,
    /// Connections over which requests take turns.
    pub connections: usize,
    /// Of the first stage: sent but not measured.
    #[serde(default)]
    pub warm_up_seconds: f64,
    /// Deadline that each request names.
    pub deadline_ms: u64,
    /// Operations by weight.
    pub mix: Mix,
    /// What the pictures show.
    #[serde(default)]
    pub pictures: Shares,
    /// A local cluster's processes.
    pub cluster: Processes,
    /// One after the other.
    #[serde(default)]
    pub stages: Vec<Stage>,
    /// Looks for the highest rate that holds, instead of stages.
    pub search: Option<Search>,
    /// What happens to the service.
    #[serde(default)]
    pub events: Vec<Event>,
}

/// Operations by weight.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mix {
    pub identify: u32,
    pub verify: u32,
    pub detect: u32,
    pub enrol: u32,
}

/// Shares of pictures that are not what a caller should send.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Shares {
    /// Without a face.
    pub no_face: f64,
    /// That cannot be decoded.
    pub corrupt: f64,
}

/// Processes of a local cluster.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Processes {
    pub gateways: usize,
    pub workers: usize,
}

/// A constant rate for a while.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// How long.
    pub seconds: f64,
    /// Requests a second.
    pub rate: Option<f64>,
    /// The same as a share of what the service carries.
    pub of_capacity: Option<f64>,
}

/// A search for the highest rate that holds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Search {
    /// How long each rate is tried.
    pub step_seconds: f64,
    /// The first rate, as a share of what the service carries with many callers that wait.
    pub from_of_capacity: f64,
    /// Highest and lowest rate that is not decided may differ by this share in the end.
    pub precision: f64,
    /// A rate holds while the 99th percentile stays below this,
    pub p99_ms: f64,
    /// and at least this share is answered.
    pub answered_share: f64,
}

/// Something that happens to the service.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// When, from the start of the load.
    pub at_seconds: f64,
    /// What.
    pub action: Action,
    /// To which process of its kind, from 0.
    #[serde(default)]
    pub process: usize,
    /// For `post`: where to.
    pub path: Option<String>,
    /// For `post`: what, as JSON.
    pub body: Option<String>,
    /// For `promote_model` at a running service: a model that is registered there. A local cluster is given one.
    pub model: Option<String>,
}

/// What may happen to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A worker ends at once, as in a power cut.
    KillWorker,
    /// It is started again.
    StartWorker,
    /// A gateway ends at once.
    KillGateway,
    /// It is started again.
    StartGateway,
    /// Redis stops where it is: connections stay open, nothing is answered.
    PauseRedis,
    /// It goes on.
    ResumeRedis,
    /// Another model is registered and takes the place of the one that answers for the collection.
    PromoteModel,
    /// A request with the admin key.
    Post,
}

impl Action {
    /// Whether the service is whole again after it.
    pub const fn mends(self) -> bool {
        matches!(self, Self::StartWorker | Self::StartGateway | Self::ResumeRedis)
    }

    /// For people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::KillWorker => "a worker is killed",
            Self::StartWorker => "it is started again",
            Self::KillGateway => "a gateway is killed",
            Self::StartGateway => "it is started again",
            Self::PauseRedis => "Redis stands still",
            Self::ResumeRedis => "Redis goes on",
            Self::PromoteModel => "another model is promoted",
            Self::Post => "a request of an operator",
        }
    }
}

/// A rate and how long it lasts, in requests a second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Flow {
    pub rate: f64,
    pub seconds: f64,
}

/// Where the files of this package lie.
pub fn folder() -> PathBuf {
    let here = PathBuf::from("loadtests");
    if here.join("scenarios").is_dir() { here } else { PathBuf::from(env!("CARGO_MANIFEST_DIR")) }
}

/// The file of this name in a folder of the package, or the file itself.
pub fn named(kind: &str, name: &str) -> PathBuf {
    let path = Path::new(name);
    if path.extension().is_some() { path.to_owned() } else { folder().join(kind).join(format!("{name}.toml")) }
}

/// Name of a scenario, from its file's.
pub fn name_of(path: &Path) -> String {
    path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default()
}

impl Scenario {
    /// Reads a scenario by its name or file.
    ///
    /// # Errors
    /// A file that cannot be read, or that contradicts itself.
    pub fn read(name: &str) -> Result<(String, Self), Failure> {
        let path = named("scenarios", name);
        let text = fs::read_to_string(&path).map_err(|e| Failure::file(&path, &e))?;
        let scenario: Self = toml::from_str(&text).map_err(|e| Failure::file(&path, &e))?;
        scenario.check().map_err(|why| Failure::file(&path, &why))?;
        Ok((name_of(&path), scenario))
    }

    fn check(&self) -> Result<(), String> {
        let shares = self.pictures.no_face + self.pictures.corrupt;
        if !(0.0..=1.0).contains(&shares) {
            return Err("pictures: shares are more than everything".into());
        }
        if self.mix.total() == 0 || (self.mix.verify > 0 && self.enrolled == 0) {
            return Err("mix: names no operation, or verifies nobody that is enrolled".into());
        }
        if self.stages.is_empty() == self.search.is_none() {
            return Err("has either stages or a search".into());
        }
        for stage in &self.stages {
            let fine = stage.seconds > 0.0 && stage.rate.is_some() != stage.of_capacity.is_some();
            if !fine || stage.rate.or(stage.of_capacity).is_none_or(|r| r <= 0.0) {
                return Err("a stage has seconds and either rate or of_capacity, all above 0".into());
            }
        }
        if self.events.iter().any(|e| (e.action == Action::Post) != e.path.is_some()) {
            return Err("an event names a path where it is a post, and nowhere else".into());
        }
        let promotions = self.events.iter().filter(|e| e.action == Action::PromoteModel);
        if promotions.count() > 1 || self.events.iter().any(|e| e.action != Action::PromoteModel && e.model.is_some()) {
            return Err("a model is promoted once, and no other event names one".into());
        }
        Ok(())
    }

    /// Whether it has to be known what the service carries.
    pub fn needs_capacity(&self) -> bool {
        self.search.is_some() || self.stages.iter().any(|s| s.of_capacity.is_some())
    }

    /// Whether another model takes the place of the one that answers.
    pub fn promotes(&self) -> bool {
        self.events.iter().any(|e| e.action == Action::PromoteModel)
    }

    /// The stages in requests a second.
    pub fn flows(&self, capacity: Option<f64>, stretch: f64) -> Vec<Flow> {
        let rate = |s: &Stage| s.rate.or_else(|| Some(s.of_capacity? * capacity?)).unwrap_or_default();
        self.stages.iter().map(|s| Flow { rate: rate(s), seconds: s.seconds * stretch }).collect()
    }
}

impl Mix {
    /// All weights.
    pub const fn total(&self) -> u32 {
        self.identify + self.verify + self.detect + self.enrol
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every file of the package.
    pub fn all() -> Vec<(String, Scenario)> {
        let files = fs::read_dir(folder().join("scenarios")).unwrap().map(|e| e.unwrap().path());
        files.map(|p| Scenario::read(p.to_str().unwrap()).unwrap()).collect()
    }

    #[test]
    fn the_scenarios_of_the_package_can_be_read_and_their_objectives_are_there() {
        let all = all();
        for wanted in ["smoke", "steady", "burst", "breakpoint", "soak", "mixed", "chaos", "sweep", "agree"] {
            assert!(all.iter().any(|(name, _)| name == wanted), "{wanted}");
        }
        for (name, scenario) in all {
            assert!(crate::slo::Slo::read(&scenario.slo).is_ok(), "{name}: {}", scenario.slo);
        }
    }

    #[test]
    fn shares_of_what_a_service_carries_become_rates() {
        let (_, steady) = Scenario::read("steady").unwrap();
        assert!(steady.needs_capacity());
        let flows = steady.flows(Some(100.0), 2.0);
        assert_eq!(flows[0].rate, 100.0 * steady.stages[0].of_capacity.unwrap());
        assert_eq!(flows[0].seconds, 2.0 * steady.stages[0].seconds);
    }

    #[test]
    fn what_contradicts_itself_is_refused_with_its_reason() {
        let (_, good) = Scenario::read("smoke").unwrap();
        let none = Scenario { stages: Vec::new(), ..good.clone() };
        assert!(none.check().unwrap_err().contains("either stages or a search"));
        let stage = Stage { seconds: 1.0, rate: Some(1.0), of_capacity: Some(1.0) };
        assert!(Scenario { stages: vec![stage], ..good.clone() }.check().unwrap_err().contains("either rate"));
        let pictures = Shares { no_face: 0.8, corrupt: 0.3 };
        assert!(Scenario { pictures, ..good.clone() }.check().unwrap_err().contains("shares"));
        assert!(Scenario { mix: Mix::default(), ..good }.check().is_err());
        let (_, chaos) = Scenario::read("chaos").unwrap();
        assert!(chaos.promotes());
        let mut events = chaos.events.clone();
        events.push(events.last().unwrap().clone());
        assert!(Scenario { events, ..chaos }.check().unwrap_err().contains("promoted once"));
    }
}
