//! The pictures of a calibration with their names: a folder for each person, or a list.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use evaluation::SamePerson;

use crate::cli::CalibrateArgs;
use crate::eval::csv::{Columns, Csv};
use crate::eval::pictures::{Labels, Numbers, file_name, locate, shown};
use crate::failure::Failure;
use crate::person_folders::folders;

/// Columns of a list of double names.
const SAME_PERSON: Columns = Columns { required: &["subject", "other"], optional: &[] };

/// A picture and whose it is.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Number of the person.
    pub subject: u32,
    /// Name below the folder.
    pub image: String,
    /// Where it is.
    pub key: String,
}

impl Picture {
    /// What a report calls it.
    pub fn shown(&self) -> String {
        shown(&self.image)
    }
}

/// All pictures.
#[derive(Debug)]
pub struct Sample {
    /// By name.
    pub pictures: Vec<Picture>,
    /// Names of the people by number.
    pub people: Numbers,
    /// Pairs of numbers that are one person.
    pub one_person: SamePerson,
    /// Name of the folder or list.
    pub source: String,
    /// Lists that were read: role, path, bytes.
    pub inputs: Vec<(&'static str, PathBuf, Vec<u8>)>,
}

impl Sample {
    /// Reads what the command line names.
    ///
    /// # Errors
    /// [`Failure::Usage`], with the line where it is a list's fault.
    pub fn read(args: &CalibrateArgs) -> Result<Self, Failure> {
        let mut inputs = Vec::new();
        let (named, source) = match (&args.labels, &args.images) {
            (Some(list), images) => {
                let labels = Labels::read(list)?;
                let people = labels.people(list)?;
                let folder = images.clone().or_else(|| list.parent().map(Path::to_owned)).unwrap_or_default();
                inputs.push(("labels", list.clone(), labels.bytes));
                let names: BTreeSet<&str> = people.iter().map(|(image, _)| image.as_str()).collect();
                let paths: BTreeMap<String, PathBuf> = locate(&folder, &names)?.into_iter().collect();
                let place = |(image, subject): (String, String)| {
                    let path = paths.get(&image).cloned().unwrap_or_default();
                    (image, subject, path)
                };
                (people.into_iter().map(place).collect(), file_name(list))
            }
            (None, Some(folder)) => (folders(folder)?, file_name(&folder.canonicalize().unwrap_or(folder.clone()))),
            (None, None) => return Err(Failure::Usage("name the pictures with --images or --labels".to_owned())),
        };
        let named: Vec<(String, String, PathBuf)> = named;
        let mut people = Numbers::default();
        let picture = |(image, subject, path): (String, String, PathBuf)| Picture {
            subject: people.of(&subject),
            image,
            key: path.to_string_lossy().into_owned(),
        };
        let pictures: Vec<Picture> = named.into_iter().map(picture).collect();
        if people.names().len() < 2 {
            let what = "a calibration compares different people, and there are pictures of only one";
            return Err(Failure::Usage(format!("{source}: {what}")));
        }
        let mut one_person = SamePerson::default();
        if let Some(path) = &args.same_person {
            let csv = Csv::read("list of double names", path, SAME_PERSON)?;
            one_person = double_names(&csv, &people)?;
            inputs.push(("same-person", path.clone(), csv.bytes));
        }
        Ok(Self { pictures, people, one_person, source, inputs })
    }

    /// The pictures and where they are.
    pub fn images(&self) -> Vec<(String, PathBuf)> {
        self.pictures.iter().map(|p| (p.key.clone(), PathBuf::from(&p.key))).collect()
    }

    /// Name below the folder.
    pub fn image_of<'a>(&'a self, key: &'a str) -> &'a str {
        self.pictures.iter().find(|p| p.key == key).map_or(key, |p| &p.image)
    }
}

fn double_names(csv: &Csv, people: &Numbers) -> Result<SamePerson, Failure> {
    let mut pairs = SamePerson::default();
    for row in csv.rows() {
        let number = |column: &str| {
            let name = csv.needed(row, column)?;
            people.known(name).ok_or_else(|| csv.fault(row.line, &format!("there are no pictures of `{name}`")))
        };
        let (a, b) = (number("subject")?, number("other")?);
        if a == b {
            return Err(csv.fault(row.line, "the two names are the same"));
        }
        pairs.insert((a.min(b), a.max(b)));
    }
    Ok(pairs)
}
