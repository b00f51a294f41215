//! The pictures that a list names: where they are, what they are called in a report, and who is in them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use super::csv::{Columns, Csv};
use crate::failure::Failure;

/// Columns of a list of labels.
const LABELS: Columns = Columns { required: &["image"], optional: &["subject", "cohort"] };

/// Finds pictures. One that is not there is a mistake in the command, not a failure to enrol.
///
/// # Errors
/// [`Failure::Usage`] naming the first one that is missing.
pub fn locate(folder: &Path, names: &BTreeSet<&str>) -> Result<Vec<(String, PathBuf)>, Failure> {
    let find = |name: &&str| {
        let path = folder.join(name);
        if path.is_file() {
            Ok(((*name).to_owned(), path))
        } else {
            Err(Failure::Usage(format!(
                "the picture {} is missing: --images names the folder that holds {name}",
                path.display()
            )))
        }
    };
    names.iter().map(find).collect()
}

/// What a report calls a picture: its name in the list, unless that leads out of the folder.
pub fn shown(name: &str) -> String {
    let path = Path::new(name);
    let inside = path.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
    if inside && !name.contains(":\\") {
        return name.to_owned();
    }
    let file = name.rsplit(['/', '\\']).next().unwrap_or_default();
    format!("(elsewhere) {file}")
}

/// A file's name without its folder.
pub fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// Numbers for names, in the order in which they come.
#[derive(Debug, Default)]
pub struct Numbers {
    by_name: BTreeMap<String, u32>,
    names: Vec<String>,
}

impl Numbers {
    /// The number of a name, a new one if need be.
    pub fn of(&mut self, name: &str) -> u32 {
        if let Some(n) = self.by_name.get(name) {
            return *n;
        }
        let n = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.by_name.insert(name.to_owned(), n);
        self.names.push(name.to_owned());
        n
    }

    /// The number of a name that has one.
    pub fn known(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// The names by number.
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

/// What `--labels` says of pictures.
#[derive(Debug, Default)]
pub struct Labels {
    by_image: BTreeMap<String, Label>,
    /// The file as it is, for its checksum.
    pub bytes: Vec<u8>,
}

#[derive(Debug)]
struct Label {
    subject: Option<String>,
    cohort: Option<String>,
    line: usize,
}

impl Labels {
    /// Reads labels; one of the two columns at least must be there.
    ///
    /// # Errors
    /// [`Failure::Usage`] with the line.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let csv = Csv::read("labels", path, LABELS)?;
        if !csv.has("subject") && !csv.has("cohort") {
            return Err(csv.fault(1, "the column `subject` or `cohort` is missing"));
        }
        let mut by_image: BTreeMap<String, Label> = BTreeMap::new();
        for row in csv.rows() {
            let given = |column: &str| Some(csv.value(row, column)).filter(|v| !v.is_empty()).map(str::to_owned);
            let label = Label { subject: given("subject"), cohort: given("cohort"), line: row.line };
            let image = csv.needed(row, "image")?;
            if let Some(before) = by_image.insert(image.to_owned(), label) {
                return Err(csv.fault(row.line, &format!("{image} is labelled in line {} already", before.line)));
            }
        }
        Ok(Self { by_image, bytes: csv.bytes })
    }

    /// Who is in a picture.
    pub fn subject(&self, image: &str) -> Option<&str> {
        self.by_image.get(image)?.subject.as_deref()
    }

    /// The cohort of a picture.
    pub fn cohort(&self, image: &str) -> Option<&str> {
        self.by_image.get(image)?.cohort.as_deref()
    }

    /// Pictures with their subjects.
    ///
    /// # Errors
    /// [`Failure::Usage`] for a picture without a subject.
    pub fn people(&self, path: &Path) -> Result<Vec<(String, String)>, Failure> {
        let person = |(image, label): (&String, &Label)| match &label.subject {
            Some(subject) => Ok((image.clone(), subject.clone())),
            None => Err(Failure::Usage(format!("{} line {}: the subject is empty", path.display(), label.line))),
        };
        self.by_image.iter().map(person).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_no_folder_outside() {
        assert_eq!(shown("Ada/1.jpg"), "Ada/1.jpg");
        assert_eq!(shown("./Ada/1.jpg"), "./Ada/1.jpg");
        assert_eq!(shown("/home/somebody/secret/1.jpg"), "(elsewhere) 1.jpg");
        assert_eq!(shown("../other/1.jpg"), "(elsewhere) 1.jpg");
        assert_eq!(shown("C:\\somebody\\1.jpg"), "(elsewhere) 1.jpg");
    }

    #[test]
    fn numbers_are_given_once() {
        let mut numbers = Numbers::default();
        assert_eq!([numbers.of("a"), numbers.of("b"), numbers.of("a")], [0, 1, 0]);
        assert_eq!((numbers.known("b"), numbers.known("c"), numbers.names().len()), (Some(1), None, 2));
    }
}
