//! The two lists of an identification: who is enrolled with which pictures, and who is searched for with which.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::eval::csv::{Columns, Csv};
use crate::eval::pictures::Numbers;
use crate::failure::Failure;

const COLUMNS: Columns = Columns { required: &["subject", "image"], optional: &["cohort"] };

/// A picture of a list.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Number of the person; `None` for a stranger without a name.
    pub subject: Option<u32>,
    /// Its name in the list.
    pub image: String,
    /// Where it is.
    pub key: String,
    /// The cohort that the list gives.
    cohort: Option<u32>,
    line: usize,
}

/// One list.
#[derive(Debug)]
pub struct List {
    /// In its order.
    pub entries: Vec<Entry>,
    /// The file as it is, for its checksum.
    pub bytes: Vec<u8>,
}

/// Both lists.
#[derive(Debug)]
pub struct Lists {
    /// Who is enrolled.
    pub enrol: List,
    /// Who is searched for.
    pub probes: List,
    people: Numbers,
    cohorts: Numbers,
    /// How many of the people's numbers are of enrolled people: the first ones.
    enrolled: u32,
    cohort_of: BTreeMap<u32, u32>,
}

impl Lists {
    /// Reads both lists and finds their pictures, which lie in `images` or else beside their list.
    ///
    /// # Errors
    /// [`Failure::Usage`] with the line.
    pub fn read(enrol: &Path, probes: &Path, images: Option<&Path>) -> Result<Self, Failure> {
        let (mut people, mut cohorts) = (Numbers::default(), Numbers::default());
        let csv = Csv::read("list of enrolments", enrol, COLUMNS)?;
        let enrolled = read(&csv, &folder(enrol, images), (&mut people, &mut cohorts), true)?;
        let enrolled_people = u32::try_from(people.names().len()).unwrap_or(u32::MAX);
        let probe_csv = Csv::read("list of probes", probes, COLUMNS)?;
        let probed = read(&probe_csv, &folder(probes, images), (&mut people, &mut cohorts), false)?;
        let lines: BTreeMap<&str, usize> = enrolled.iter().map(|e| (e.key.as_str(), e.line)).collect();
        for probe in &probed {
            if let Some(line) = lines.get(probe.key.as_str()) {
                let what = format!(
                    "{} is enrolled as well ({} line {line}); a search with an enrolled picture finds itself",
                    probe.image,
                    enrol.display()
                );
                return Err(probe_csv.fault(probe.line, &what));
            }
        }
        let cohort_of = cohorts_of(&csv, &enrolled, &people)?;
        Ok(Self {
            enrol: List { entries: enrolled, bytes: csv.bytes },
            probes: List { entries: probed, bytes: probe_csv.bytes },
            people,
            cohorts,
            enrolled: enrolled_people,
            cohort_of,
        })
    }

    /// Distinct pictures of both lists.
    pub fn images(&self) -> Vec<(String, PathBuf)> {
        let all = self.enrol.entries.iter().chain(&self.probes.entries);
        let keys: BTreeSet<&str> = all.map(|e| e.key.as_str()).collect();
        keys.into_iter().map(|k| (k.to_owned(), PathBuf::from(k))).collect()
    }

    /// Name in its list of a picture, for a report.
    pub fn image_of<'a>(&'a self, key: &'a str) -> &'a str {
        let mut all = self.enrol.entries.iter().chain(&self.probes.entries);
        all.find(|e| e.key == key).map_or(key, |e| &e.image)
    }

    /// Number of enrolled people.
    pub fn subjects(&self) -> usize {
        self.enrolled as usize
    }

    /// The enrolled person a probe is of.
    pub fn mate(&self, probe: &Entry) -> Option<u32> {
        probe.subject.filter(|n| *n < self.enrolled)
    }

    /// Name of the person, empty for a stranger without one.
    pub fn name_of(&self, entry: &Entry) -> &str {
        entry.subject.and_then(|n| self.people.names().get(n as usize)).map_or("", String::as_str)
    }

    /// Cohort of the person searched for: what the probe's line says, else what the enrolment's does.
    pub fn cohort(&self, probe: &Entry) -> Option<u32> {
        probe.cohort.or_else(|| self.cohort_of.get(&probe.subject?).copied())
    }

    /// Labels of the cohorts by number.
    pub fn cohort_names(&self) -> &[String] {
        self.cohorts.names()
    }

    /// Names of probes who are not enrolled.
    pub fn not_enrolled(&self) -> Vec<String> {
        self.people.names().iter().skip(self.subjects()).cloned().collect()
    }
}

/// The folder that a list's names are relative to.
fn folder(list: &Path, images: Option<&Path>) -> PathBuf {
    images.map_or_else(|| list.parent().unwrap_or(Path::new("")).to_owned(), Path::to_owned)
}

fn read(csv: &Csv, folder: &Path, numbers: (&mut Numbers, &mut Numbers), named: bool) -> Result<Vec<Entry>, Failure> {
    let (people, cohorts) = numbers;
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut entries = Vec::new();
    for row in csv.rows() {
        let image = csv.needed(row, "image")?;
        let subject = if named { csv.needed(row, "subject")? } else { csv.value(row, "subject") };
        let path = folder.join(image);
        if !path.is_file() {
            let what =
                format!("the picture {} is missing; --images names the folder that holds {image}", path.display());
            return Err(csv.fault(row.line, &what));
        }
        let key = path.to_string_lossy().into_owned();
        if let Some(before) = seen.insert(key.clone(), row.line) {
            return Err(csv.fault(row.line, &format!("{image} is listed in line {before} already")));
        }
        let of = |numbers: &mut Numbers, name: &str| (!name.is_empty()).then(|| numbers.of(name));
        let cohort = of(cohorts, csv.value(row, "cohort"));
        entries.push(Entry { subject: of(people, subject), image: image.to_owned(), key, cohort, line: row.line });
    }
    Ok(entries)
}

/// The cohort of each enrolled person; one person cannot have two.
fn cohorts_of(csv: &Csv, enrolled: &[Entry], people: &Numbers) -> Result<BTreeMap<u32, u32>, Failure> {
    let mut of = BTreeMap::new();
    for entry in enrolled {
        if let (Some(subject), Some(cohort)) = (entry.subject, entry.cohort)
            && of.insert(subject, cohort).is_some_and(|before| before != cohort)
        {
            let name = people.names().get(subject as usize).map_or("", String::as_str);
            return Err(csv.fault(entry.line, &format!("{name} is of another cohort in a line before")));
        }
    }
    Ok(of)
}
