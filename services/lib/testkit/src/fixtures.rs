//! Photos of real people from packages of the Python package index, fetched once through pip, by checksum, into the
//! per-user cache. `face-recognition` is MIT-licensed and its photos are works of the US government; scikit-image
//! documents `astronaut.png` as public domain (NASA).

use bytes::Bytes;

use crate::package::{Member, Package, member};

/// A photo that tests may rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fixture {
    /// The first person, frontal.
    Obama,
    /// The first person, another day.
    Obama2,
    /// The first person, a third photo.
    Obama3,
    /// The first person, the face cut at the side.
    ObamaPartial,
    /// The first person, the face cut at the other side.
    ObamaPartial2,
    /// The second person.
    Biden,
    /// The third person.
    Astronaut,
}

impl Fixture {
    const ALL: [Self; 7] = [
        Self::Obama,
        Self::Obama2,
        Self::Obama3,
        Self::ObamaPartial,
        Self::ObamaPartial2,
        Self::Biden,
        Self::Astronaut,
    ];

    const fn file(self) -> Member {
        let (name, sha256) = match self {
            Self::Obama => ("obama.jpg", "0930e3aa8cae5920329c0c8cbc6a2ab70f47b0e67b432875beaa95cbf7e741f6"),
            Self::Obama2 => ("obama2.jpg", "a7efcc907375274796f39646510704aa86672d59f6d5469d69af3c85590976a6"),
            Self::Obama3 => ("obama3.jpg", "76ac6bf97c36dc2da0ad16a537d6a5ac1b10f48d49aac29a0cca9a17cdbc3ca3"),
            Self::ObamaPartial => {
                ("obama_partial_face.jpg", "c2d1f09e7ef3042352b41e41286e6eb0522f64f88308be13886991b95db52117")
            }
            Self::ObamaPartial2 => {
                ("obama_partial_face2.jpg", "9a812347f97633542b8cd9992de22def11b74f79d82056bc3ee830f13878e028")
            }
            Self::Biden => ("biden.jpg", "3c17508bb91554c637a2eabddfae790e5bb1caba93130814fc2ac50be9760c4c"),
            Self::Astronaut => ("astronaut.png", "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5"),
        };
        Member { name, sha256 }
    }

    const fn package(self) -> &'static Package {
        match self {
            Self::Astronaut => &SCIKIT_IMAGE,
            _ => &FACE_RECOGNITION,
        }
    }
}

/// A source archive: pip verifies the checksum before it reads the package's metadata.
static FACE_RECOGNITION: Package = Package {
    requirement: "face-recognition==1.3.0",
    sha256: "5e5efdd1686aa566af0d3cc1313b131e4b197657a8ffd03669e6d3fad92705ec",
    options: &["--no-binary=:all:"],
    folder: "face_recognition-1.3.0/tests/test_images",
    unpacker: "tarfile",
};

/// A wheel for one platform; only its pictures are wanted, so the tags let any pip fetch it.
static SCIKIT_IMAGE: Package = Package {
    requirement: "scikit-image==0.26.0",
    sha256: "74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af",
    options: &[
        "--only-binary=:all:",
        "--python-version=311",
        "--implementation=cp",
        "--abi=cp311",
        "--platform=manylinux_2_28_x86_64",
    ],
    folder: "skimage/data",
    unpacker: "zipfile",
};

/// The bytes of a photo, verified; fetched if they are not in the cache yet.
#[must_use]
pub fn fixture(which: Fixture) -> Bytes {
    let package = which.package();
    let beside = Fixture::ALL.into_iter().filter(|f| *f != which && f.package().requirement == package.requirement);
    let others: Vec<Member> = beside.map(Fixture::file).collect();
    member(package, which.file(), &others).1
}
