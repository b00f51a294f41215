//! The pictures that are sent: good ones of several people, sizes and light, some without a face, some that cannot be
//! decoded. From the packages that the tests use, or from a folder.

use std::{fs, path::Path};

use bytes::Bytes;
use testkit::{Person, Picture as Canvas};

use crate::failure::Failure;

/// What a picture shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// One face.
    Face,
    /// None.
    NoFace,
    /// Nothing: it cannot be decoded.
    Damage,
}

/// An encoded picture.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Its bytes.
    pub bytes: Bytes,
    /// What a careful caller declares.
    pub media_type: &'static str,
    /// Whose face, counted from 0.
    pub person: usize,
}

/// All there are.
#[derive(Clone, Debug)]
pub struct Album {
    pub faces: Vec<Picture>,
    pub without: Vec<Picture>,
    pub damaged: Vec<Picture>,
}

impl Album {
    /// From a folder with a folder for each person, or from the tests' packages.
    ///
    /// # Errors
    /// A folder that cannot be read or holds no photos.
    pub fn open(folder: Option<&Path>) -> Result<Self, Failure> {
        let faces = match folder {
            Some(folder) => from_folder(folder)?,
            None => from_packages(),
        };
        let png = |bytes: Bytes, person| Picture { bytes, media_type: "image/png", person };
        let wall = Canvas::filled(320, 240, [90, 120, 60]).beside(&Canvas::filled(160, 240, [200, 190, 170]));
        let without = vec![png(wall.png(), 0), png(Canvas::filled(640, 480, [15, 20, 60]).png(), 0)];
        let whole = Person::Obama.photo();
        let mut garbage = vec![0xff, 0xd8, 0xff, 0xe0, 0x00, 0x10];
        garbage.extend(b"JFIF\0".iter().cycle().take(20_000));
        let jpeg = Picture { bytes: garbage.into(), media_type: "image/jpeg", person: 0 };
        let damaged = vec![png(whole.slice(..whole.len() / 2), 0), jpeg];
        Ok(Self { faces, without, damaged })
    }

    /// People there are.
    pub fn people(&self) -> usize {
        self.faces.iter().map(|p| p.person + 1).max().unwrap_or_default()
    }

    /// Pictures to enrol a person with.
    pub fn portraits(&self, person: usize) -> impl Iterator<Item = Bytes> {
        self.faces.iter().filter(move |p| p.person == person).map(|p| p.bytes.clone())
    }
}

fn from_packages() -> Vec<Picture> {
    let mut all = Vec::new();
    for (person, who) in Person::ALL.into_iter().enumerate() {
        for photo in std::iter::once(who.photo()).chain(who.others()) {
            let canvas = Canvas::decode(&photo);
            let (width, height) = canvas.size();
            let small = canvas.at_most(width.max(height) * 3 / 5);
            let variants = [photo, small.png(), canvas.brightened(0.85).at_most(400).png()];
            all.extend(variants.map(|bytes| Picture { bytes, media_type: "image/png", person }));
        }
    }
    all
}

fn from_folder(folder: &Path) -> Result<Vec<Picture>, Failure> {
    let list = |path: &Path| {
        let entries = fs::read_dir(path).map_err(|e| Failure::file(path, &e))?;
        let mut paths: Vec<_> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
        paths.sort();
        Ok::<_, Failure>(paths)
    };
    let mut all = Vec::new();
    for (person, of) in list(folder)?.into_iter().filter(|p| p.is_dir()).enumerate() {
        for path in list(&of)? {
            let media_type = match path.extension().and_then(|e| e.to_str()) {
                Some("jpg" | "jpeg") => "image/jpeg",
                Some("png") => "image/png",
                Some("webp") => "image/webp",
                _ => continue,
            };
            let bytes = fs::read(&path).map_err(|e| Failure::file(&path, &e))?.into();
            all.push(Picture { bytes, media_type, person });
        }
    }
    if all.is_empty() {
        return Err(Failure::file(folder, &"holds no folder with photos"));
    }
    Ok(all)
}
