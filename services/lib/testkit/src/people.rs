//! The three people of the fixtures, with several photos each: real ones where there are, else the same photo taken
//! as another camera might have: another crop, size, light and encoding.

use std::{collections::HashMap, sync::Mutex};

use bytes::Bytes;

use crate::{Fixture, Picture, fixture};

/// Somebody of whom there are photos.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Person {
    /// Five photos of her or him.
    Obama,
    /// One photo and pictures derived from it.
    Biden,
    /// One photo and pictures derived from it.
    Astronaut,
}

impl Person {
    /// Everybody.
    pub const ALL: [Self; 3] = [Self::Obama, Self::Biden, Self::Astronaut];

    /// A subject id.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::Obama => "obama",
            Self::Biden => "biden",
            Self::Astronaut => "astronaut",
        }
    }

    /// The photo to enrol: about head and shoulders, small, so that tests are quick.
    #[must_use]
    pub fn photo(self) -> Bytes {
        cached(self, "photo", || self.portrait(Fixture::of(self)).png())
    }

    /// Other photos of the same person, none of them the one to enrol.
    #[must_use]
    pub fn others(self) -> Vec<Bytes> {
        match self {
            Self::Obama => vec![
                cached(self, "second", || self.portrait(Fixture::Obama2).png()),
                cached(self, "third", || self.portrait(Fixture::Obama3).png()),
            ],
            Self::Biden | Self::Astronaut => {
                let portrait = || self.portrait(Fixture::of(self));
                vec![
                    cached(self, "darker", || portrait().resized(300, 300).brightened(0.7).png()),
                    cached(self, "mirrored", || portrait().mirrored().brightened(1.15).png()),
                ]
            }
        }
    }

    fn portrait(self, which: Fixture) -> Picture {
        let whole = Picture::decode(&fixture(which));
        match which {
            Fixture::Astronaut => whole.cropped(92, 0, 288, 288),
            _ => whole.at_most(640),
        }
    }
}

impl Fixture {
    fn of(person: Person) -> Self {
        match person {
            Person::Obama => Self::Obama,
            Person::Biden => Self::Biden,
            Person::Astronaut => Self::Astronaut,
        }
    }
}

/// Two faces of like size in one picture.
#[must_use]
pub fn two_people() -> Bytes {
    cached(Person::Obama, "beside another", || {
        let half = |f: Person| f.portrait(Fixture::of(f)).resized(400, 400);
        half(Person::Astronaut).beside(&half(Person::Astronaut).mirrored()).png()
    })
}

/// Made once in a process.
fn cached(person: Person, what: &'static str, make: impl FnOnce() -> Bytes) -> Bytes {
    static MADE: Mutex<Option<HashMap<(Person, &'static str), Bytes>>> = Mutex::new(None);
    let mut made = MADE.lock().expect("no test panicked while making a picture");
    made.get_or_insert_default().entry((person, what)).or_insert_with(make).clone()
}
