//! What the n-th request is: drawn by its number, so that a run can be repeated and two senders can send the same.

use std::{pin::Pin, sync::Arc};

use testkit::Client;

use crate::{
    answers::Fate,
    pictures::{Album, Picture, Shows},
    scenario::{Mix, Scenario, Shares},
};

/// The consent that comes with an enrolment, as a query carries it; the same where training is allowed as well.
const CONSENT: &str = "%7B%22purposes%22%3A%5B%22access_control%22%5D%2C%22method%22%3A%22web_form%22%7D";
const TRAINABLE: &str =
    "%7B%22purposes%22%3A%5B%22access_control%22%5D%2C%22method%22%3A%22web_form%22%2C%22training_allowed%22%3Atrue%7D";

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    Identify,
    Verify,
    Detect,
    Enrol,
}

impl Operation {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Identify, Self::Verify, Self::Detect, Self::Enrol];

    /// As measures name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Identify => "identify",
            Self::Verify => "verify",
            Self::Detect => "detect",
            Self::Enrol => "enrol",
        }
    }
}

/// Draws requests.
#[derive(Clone)]
pub struct Plan {
    collection: String,
    mix: Mix,
    shares: Shares,
    enrolled: usize,
    deadline_ms: u64,
    /// Whether whoever is enrolled allows training, which is what crops are kept for.
    trainable: bool,
    album: Album,
    /// In the ids of subjects that are enrolled under load, so that two loads do not meet.
    series: u64,
}

/// A request under way, and what comes of it.
pub type Asked = Pin<Box<dyn Future<Output = (Operation, Fate, String)> + Send>>;

/// Sends the requests of a plan by their numbers.
pub fn sender(client: &Client, plan: &Arc<Plan>) -> impl Fn(u64) -> Asked + Send + Sync + 'static {
    let (client, plan) = (client.clone(), Arc::clone(plan));
    move |number| {
        let (client, plan) = (client.clone(), Arc::clone(&plan));
        Box::pin(async move {
            let shot = plan.shot(number);
            let (fate, said) = plan.send(&client, &shot).await;
            (shot.operation, fate, said)
        })
    }
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub struct Shot<'a> {
    pub operation: Operation,
    pub shows: Shows,
    pub picture: &'a Picture,
    number: u64,
}

impl Plan {
    /// Requests to this collection, in which `enrolled` subjects are.
    pub fn new(scenario: &Scenario, album: Album, collection: &str) -> Self {
        Self {
            collection: collection.to_owned(),
            mix: scenario.mix,
            shares: scenario.pictures,
            enrolled: scenario.enrolled,
            deadline_ms: scenario.deadline_ms,
            trainable: scenario.promotes(),
            album,
            series: 0,
        }
    }

    /// From now on with other subjects for enrolments.
    pub fn next_series(&mut self) -> Arc<Self> {
        self.series += 1;
        Arc::new(self.clone())
    }

    /// The id of a subject that is enrolled before the load.
    pub fn resident(index: usize) -> String {
        format!("resident-{index}")
    }

    /// The id under which request `number` enrols.
    pub fn newcomer(&self, number: u64) -> String {
        format!("new-{}-{number}", self.series)
    }

    /// Where requests go.
    pub fn collection(&self) -> &str {
        &self.collection
    }

    /// Whether whoever is enrolled allows training.
    pub const fn trainable(&self) -> bool {
        self.trainable
    }

    /// Pictures that a resident is enrolled with: a gate between two models wants two of each person.
    pub const fn pictures_each(&self) -> usize {
        if self.trainable { 2 } else { 1 }
    }

    /// The pictures.
    pub const fn album(&self) -> &Album {
        &self.album
    }

    /// Request `number`.
    pub fn shot(&self, number: u64) -> Shot<'_> {
        let mut draw = Draw(number.wrapping_add(self.series << 40));
        let operation = self.operation(draw.below(u64::from(self.mix.total().max(1))));
        let kind = draw.share();
        let (shows, from) = if kind < self.shares.corrupt {
            (Shows::Damage, &self.album.damaged)
        } else if kind < self.shares.corrupt + self.shares.no_face {
            (Shows::NoFace, &self.album.without)
        } else {
            (Shows::Face, &self.album.faces)
        };
        let picture = &from[usize::try_from(draw.below(from.len() as u64)).unwrap_or_default()];
        Shot { operation, shows, picture, number }
    }

    fn operation(&self, drawn: u64) -> Operation {
        let weights = [self.mix.identify, self.mix.verify, self.mix.detect, self.mix.enrol];
        let mut left = drawn;
        for (operation, weight) in Operation::ALL.into_iter().zip(weights) {
            if left < u64::from(weight) {
                return operation;
            }
            left -= u64::from(weight);
        }
        Operation::Identify
    }

    /// Where a request goes, with its query.
    pub fn path(&self, shot: &Shot<'_>) -> String {
        let collection = format!("/v1/collections/{}", self.collection);
        match shot.operation {
            Operation::Identify => format!("{collection}/identify"),
            Operation::Detect => "/v1/detect".to_owned(),
            Operation::Verify => {
                // Somebody who is the one in the picture, where there is one.
                let people = self.album.people().max(1);
                let turns = (self.enrolled / people).max(1) as u64;
                let turn = usize::try_from(shot.number % turns).unwrap_or_default();
                let index = (turn * people + shot.picture.person) % self.enrolled.max(1);
                format!("{collection}/subjects/{}/verify", Self::resident(index))
            }
            Operation::Enrol => {
                let consent = if self.trainable { TRAINABLE } else { CONSENT };
                format!("{collection}/subjects?id={}&consent={consent}", self.newcomer(shot.number))
            }
        }
    }

    /// Sends a request. What came of it, and the answer in a few words.
    pub async fn send(&self, client: &Client, shot: &Shot<'_>) -> (Fate, String) {
        let request = client.request("POST", &self.path(shot));
        let request = request.header("content-type", shot.picture.media_type).body(shot.picture.bytes.clone());
        let request = request.header("x-deadline-ms", self.deadline_ms.to_string());
        match client.try_send(request).await {
            Ok(answer) => {
                let code = answer.json["code"].as_str().unwrap_or_default().to_owned();
                (Fate::of(shot.operation, shot.shows, answer.status), format!("{} {code}", answer.status))
            }
            Err(e) if e.is_timeout() => (Fate::Broken, "no answer: timed out".into()),
            Err(_) => (Fate::Broken, "no answer: the connection broke".into()),
        }
    }
}

/// Numbers that look drawn by lot (SplitMix64).
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    fn share(&mut self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits")]
        let drawn = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        drawn
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;

    use super::*;

    fn plan() -> Plan {
        let picture = |person| Picture { bytes: Bytes::from_static(b"x"), media_type: "image/png", person };
        let album =
            Album { faces: (0..3).map(picture).collect(), without: vec![picture(0)], damaged: vec![picture(0)] };
        let (_, scenario) = Scenario::read("smoke").unwrap();
        let mix = Mix { identify: 50, verify: 30, detect: 15, enrol: 5 };
        let pictures = Shares { no_face: 0.2, corrupt: 0.1 };
        Plan::new(&Scenario { mix, pictures, enrolled: 10, ..scenario }, album, "c")
    }

    #[test]
    fn operations_and_pictures_come_in_their_shares_and_in_the_same_order_again() {
        let plan = plan();
        let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
        let (mut without, mut damaged) = (0_i32, 0_i32);
        for n in 0..20_000 {
            let shot = plan.shot(n);
            *seen.entry(shot.operation.name()).or_default() += 1;
            without += i32::from(shot.shows == Shows::NoFace);
            damaged += i32::from(shot.shows == Shows::Damage);
            assert_eq!(plan.path(&shot), plan.path(&plan.shot(n)));
        }
        let near = |n: u32, share: f64| (f64::from(n) / 20_000.0 - share).abs() < 0.02;
        assert!(near(seen["identify"], 0.5) && near(seen["verify"], 0.3) && near(seen["enrol"], 0.05), "{seen:?}");
        assert!((3_600..4_400).contains(&without) && (1_700..2_300).contains(&damaged), "{without} {damaged}");
    }

    #[test]
    fn newcomers_of_two_series_do_not_meet_and_residents_are_enrolled() {
        let mut plan = plan();
        let first = plan.newcomer(7);
        drop(plan.next_series());
        assert_ne!(first, plan.newcomer(7));
        for n in 0..500 {
            let shot = plan.shot(n);
            if shot.operation == Operation::Verify {
                let path = plan.path(&shot);
                let index: usize = path.split("resident-").nth(1).unwrap().trim_end_matches("/verify").parse().unwrap();
                assert!(index < 10, "{path}");
            }
        }
    }
}
