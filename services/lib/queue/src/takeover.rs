//! Whose entries are taken over before they have been silent for long: those of consumers whose worker is no member any
//! more. Caller: [`crate::Consumer`]. Time is tokio's.

use std::{collections::HashSet, time::Duration};

use tokio::time::Instant;

/// Between a member's name and the rest of its consumer's. A name without it belongs to no member.
const OF: char = '#';

/// The member a consumer works for.
#[derive(Clone, Debug)]
pub struct Membership {
    name: String,
    lease: Duration,
}

impl Membership {
    pub fn new(name: String, lease: Duration) -> Self {
        Self { name, lease }
    }

    /// The name of a consumer of this member.
    pub fn consumer(&self, id: &str) -> String {
        format!("{}{OF}{id}", self.name)
    }

    /// Silence after which an entry of a member that is gone may be taken over. Two heartbeats of a worker and a lease
    /// whose renewals have failed are longer.
    pub fn gone_idle(&self) -> Duration {
        self.lease * 3 / 5
    }

    /// Time between looks for members that are gone.
    pub fn look_every(&self) -> Duration {
        self.lease / 5
    }
}

/// Judges which consumers are gone. After an outage everybody's lease has ended, the living ones' too: whoever was out
/// of touch itself judges nobody until the others have had time to come back.
#[derive(Debug)]
pub struct Judge {
    from: Instant,
}

impl Judge {
    /// One that has just come.
    pub fn new(membership: Option<&Membership>) -> Self {
        Self { from: Instant::now() + settling(membership) }
    }

    /// The engine could not be reached, or this consumer's own member is none at present.
    pub fn out_of_touch(&mut self, membership: Option<&Membership>) {
        self.from = Instant::now() + settling(membership);
    }

    /// Whether it may judge now.
    pub fn may(&self) -> bool {
        Instant::now() >= self.from
    }
}

/// Several renewals of a lease fit into it.
fn settling(membership: Option<&Membership>) -> Duration {
    membership.map_or(Duration::ZERO, |m| m.lease / 2)
}

/// Those of `holders` whose member is not among the `living`; nothing where `own` is not either. The holders must have
/// been listed first: a member joins before it takes anything, so one that comes in between is not taken for gone.
pub fn gone(own: &Membership, holders: Vec<String>, living: &HashSet<String>) -> Option<Vec<String>> {
    if !living.contains(&own.name) {
        return None;
    }
    let member_of = |name: &str| name.rsplit_once(OF).map(|(member, _)| member.to_owned());
    Some(holders.into_iter().filter(|h| member_of(h).is_some_and(|m| !living.contains(&m))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_consumers_of_members_that_are_gone_are_gone() {
        let own = Membership::new("host-1".into(), Duration::from_secs(5));
        let holders = ["host-1#a", "host-2#b", "host-3#c", "older"].map(String::from).to_vec();
        let living = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<HashSet<_>>();
        let found = gone(&own, holders.clone(), &living(&["host-1", "host-2"]));
        assert_eq!(found, Some(vec!["host-3#c".to_owned()]));
        assert_eq!(gone(&own, holders, &living(&["host-2"])), None, "one that is out of touch judges nobody");
    }
}
