//! Names of keys. What stands in braces decides the slot in a cluster: one for each lane, each reply stream, and each
//! of the small things beside them.

use domain::Lane;

/// Names of one installation's keys.
#[derive(Clone, Debug)]
pub struct Keys(String);

impl Keys {
    /// All begin with `prefix`.
    pub fn new(prefix: &str) -> Self {
        Self(prefix.to_owned())
    }

    /// The stream of a lane.
    pub fn jobs(&self, lane: Lane) -> String {
        self.lane(lane, "jobs")
    }

    /// Bytes of the jobs of a lane.
    pub fn bytes(&self, lane: Lane) -> String {
        self.lane(lane, "bytes")
    }

    /// The stream of a lane's dead letters.
    pub fn dead(&self, lane: Lane) -> String {
        self.lane(lane, "dead")
    }

    /// What the name of a job's body begins with.
    pub fn body(&self, lane: Lane) -> String {
        self.lane(lane, "body:")
    }

    fn lane(&self, lane: Lane, what: &str) -> String {
        format!("{}:{{{}}}:{what}", self.0, lane.as_str())
    }

    /// A fresh reply stream.
    pub fn replies(&self, id: &str) -> String {
        format!("{}:{{replies-{id}}}", self.0)
    }

    /// Whether an address that came with a job names a reply stream, and no other key.
    pub fn is_replies(&self, address: &str) -> bool {
        address.strip_prefix(&self.0).is_some_and(|rest| rest.starts_with(":{replies-") && rest.ends_with('}'))
    }

    /// What a check writes.
    pub fn check(&self) -> String {
        format!("{}:{{check}}", self.0)
    }

    /// The mark of a cancelled job.
    pub fn cancel(&self, job: &str) -> String {
        format!("{}:{{cancel}}:{job}", self.0)
    }

    /// Ends of leases, and what the members say.
    pub fn members(&self) -> [String; 2] {
        ["leases", "notes"].map(|what| format!("{}:{{members}}:{what}", self.0))
    }

    /// An allowance.
    pub fn allowance(&self, bucket: &str) -> String {
        format!("{}:{{allowance-{bucket}}}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_reply_streams_of_this_installation_are_written_to() {
        let keys = Keys::new("vv");
        assert!(keys.is_replies(&keys.replies("0190")));
        for other in ["", "vv:{interactive}:jobs", "xx:{replies-0190}", "vv:{replies-0190}:jobs"] {
            assert!(!keys.is_replies(other), "{other}");
        }
    }
}
