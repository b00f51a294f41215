//! What became of a request.

use crate::{pictures::Shows, plan::Operation};

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Answered as such a picture is to be answered.
    Answered,
    /// Told to come again: the service holds what it has taken on to its deadline.
    Refused,
    /// Taken on and not done by its deadline.
    Late,
    /// Answered with something else.
    Wrong,
    /// No answer.
    Broken,
}

impl Fate {
    /// Of an answer with this status.
    pub const fn of(operation: Operation, shows: Shows, status: u16) -> Self {
        let expected = match (shows, operation) {
            (Shows::Face, Operation::Enrol) => 201,
            // Whether there is a face is what detection tells.
            (Shows::Face, _) | (Shows::NoFace, Operation::Detect) => 200,
            (Shows::NoFace | Shows::Damage, _) => 422,
        };
        match status {
            429 | 503 => Self::Refused,
            504 => Self::Late,
            s if s == expected => Self::Answered,
            _ => Self::Wrong,
        }
    }

    /// Whether a caller who did nothing wrong is left without what it asked for, and not told to come again.
    pub const fn is_error(self) -> bool {
        matches!(self, Self::Late | Self::Wrong | Self::Broken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_without_a_face_is_answered_by_saying_so() {
        use Operation::{Detect, Enrol, Identify};
        for (operation, shows, status, fate) in [
            (Identify, Shows::Face, 200, Fate::Answered),
            (Enrol, Shows::Face, 201, Fate::Answered),
            (Enrol, Shows::Face, 200, Fate::Wrong),
            (Identify, Shows::NoFace, 422, Fate::Answered),
            (Identify, Shows::NoFace, 200, Fate::Wrong),
            (Detect, Shows::NoFace, 200, Fate::Answered),
            (Detect, Shows::Damage, 422, Fate::Answered),
            (Identify, Shows::Face, 422, Fate::Wrong),
            (Identify, Shows::Face, 503, Fate::Refused),
            (Identify, Shows::Damage, 504, Fate::Late),
            (Identify, Shows::Face, 500, Fate::Wrong),
        ] {
            assert_eq!(Fate::of(operation, shows, status), fate, "{operation:?} {shows:?} {status}");
        }
    }
}
