//! `visavis convert compreface`: bodies of bulk enrolment jobs out of rows of subjects and pictures. Pictures, because
//! embeddings of other models cannot be compared with ours; see the decision record on exports.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use domain::{CollectionId, ConsentDraft, ConsentPolicy, Purpose, SubjectId, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{cli::CompreFaceArgs, failure::Failure, output};

/// Most bytes of a row: a picture of some megabytes in base64.
const LONGEST_ROW: u64 = 32 << 20;
/// Items of one job, as the service takes them by default.
const ITEMS: usize = 1_000;
/// Longest external id.
const LONGEST_NAME: usize = 200;

/// A picture of somebody.
#[derive(Deserialize)]
struct Row {
    subject: String,
    image: String,
}

/// Writes the bodies.
///
/// # Errors
/// Rows that are not sorted or not rows, a consent that says too little, files that cannot be read or written.
pub fn compreface(args: &CompreFaceArgs) -> Result<(), Failure> {
    let mut bodies = Bodies::new(args)?;
    let mut rows: Box<dyn BufRead> = if args.rows == Path::new("-") {
        Box::new(BufReader::new(io::stdin()))
    } else {
        let file = File::open(&args.rows).map_err(|e| Failure::io("the file of rows", &args.rows, &e))?;
        Box::new(BufReader::new(file))
    };
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let read = rows.by_ref().take(LONGEST_ROW).read_until(b'\n', &mut line);
        if read.map_err(|e| Failure::io("the file of rows", &args.rows, &e))? == 0 {
            break;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let wrong = |what: &str| Failure::Usage(format!("line {number}: {what}"));
        let row: Row = serde_json::from_slice(&line)
            .map_err(|_| wrong("not a row such as {\"subject\": \"Ada\", \"image\": \"<base64>\"}"))?;
        bodies.add(row).map_err(|what| wrong(&what))??;
    }
    bodies.finish()
}

/// The bodies so far.
struct Bodies<'a> {
    args: &'a CompreFaceArgs,
    collection: CollectionId,
    consent: Value,
    /// Names that are done.
    done: HashSet<String>,
    /// The person whose pictures are coming.
    open: Option<Person>,
    items: Vec<Value>,
    bytes: usize,
    files: usize,
    images: usize,
    left_out: usize,
}

/// Somebody with pictures.
struct Person {
    name: String,
    images: Vec<String>,
    bytes: usize,
}

impl<'a> Bodies<'a> {
    fn new(args: &'a CompreFaceArgs) -> Result<Self, Failure> {
        let usage = |what: &str, e: &dyn std::fmt::Display| Failure::Usage(format!("{what}: {e}"));
        let collection = CollectionId::new(&args.collection).map_err(|e| usage("--collection", &e))?;
        let purposes = args.purposes.iter().map(|p| p.parse::<Purpose>()).collect::<Result<Vec<_>, _>>();
        let purposes = purposes.map_err(|e| usage("--purposes", &e))?;
        let consent = json!({"purposes": purposes, "method": args.method});
        let draft: ConsentDraft = serde_json::from_value(consent.clone()).map_err(|e| usage("the consent", &e))?;
        draft.check("consent", &ConsentPolicy::default(), Timestamp::now()).map_err(|e| Failure::Usage(e.detail))?;
        fs::create_dir_all(&args.out).map_err(|e| Failure::io("the folder", &args.out, &e))?;
        Ok(Self {
            args,
            collection,
            consent,
            done: HashSet::new(),
            open: None,
            items: Vec::new(),
            bytes: 0,
            files: 0,
            images: 0,
            left_out: 0,
        })
    }

    /// Takes a row. The outer error is about the row, the inner one about a file.
    fn add(&mut self, row: Row) -> Result<Result<(), Failure>, String> {
        let Row { subject: name, image } = row;
        if name.is_empty() || name.len() > LONGEST_NAME {
            return Err(format!("a subject's name has 1 to {LONGEST_NAME} bytes"));
        }
        // PostgreSQL breaks base64 into lines.
        let image: String = image.split_ascii_whitespace().collect();
        if image.is_empty() {
            return Err("the picture is empty".into());
        }
        let mut written = Ok(());
        if self.open.as_ref().is_none_or(|p| p.name != name) {
            if !self.done.insert(name.clone()) {
                return Err("this subject came before already; sort the rows by subject".into());
            }
            written = self.close();
            self.open = Some(Person { name, images: Vec::new(), bytes: 0 });
        }
        if let Some(person) = &mut self.open {
            if person.images.len() < self.args.max_images && person.bytes + image.len() <= self.args.max_bytes {
                person.bytes += image.len();
                person.images.push(image);
            } else {
                self.left_out += 1;
            }
        }
        Ok(written)
    }

    /// Makes an item of the person whose pictures have come.
    fn close(&mut self) -> Result<(), Failure> {
        let Some(Person { name, images, bytes }) = self.open.take() else { return Ok(()) };
        if images.is_empty() {
            return Ok(());
        }
        if self.items.len() >= ITEMS || (!self.items.is_empty() && self.bytes + bytes > self.args.max_bytes) {
            self.write()?;
        }
        self.bytes += bytes;
        self.images += images.len();
        let images: Vec<Value> = images.into_iter().map(|b64| json!({"b64": b64})).collect();
        let id = subject_id(&name);
        self.items.push(json!({"id": id, "external_id": name, "consent": self.consent, "images": images}));
        Ok(())
    }

    fn write(&mut self) -> Result<(), Failure> {
        let items = std::mem::take(&mut self.items);
        (self.files, self.bytes) = (self.files + 1, 0);
        let path: PathBuf = self.args.out.join(format!("job-{:04}.json", self.files));
        let body = json!({"kind": "bulk_enrol", "collection_id": self.collection, "items": items});
        let failed = |e: &io::Error| Failure::io("the file", &path, e);
        // Pictures of people: for the owner's eyes alone.
        let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&path);
        let mut file = BufWriter::new(file.map_err(|e| failed(&e))?);
        serde_json::to_writer(&mut file, &body).map_err(|e| failed(&e.into()))?;
        file.flush().map_err(|e| failed(&e))
    }

    fn finish(mut self) -> Result<(), Failure> {
        self.close()?;
        if !self.items.is_empty() {
            self.write()?;
        }
        let Self { done, files, images, left_out, args, .. } = self;
        let out = args.out.display();
        output::text(&format!("{} people with {images} pictures in {files} bodies under {out}", done.len()));
        if left_out > 0 {
            let (most, bytes) = (args.max_images, args.max_bytes);
            output::text(&format!("{left_out} pictures left out: beyond {most} of a person, or {bytes} bytes"));
        }
        Ok(())
    }
}

/// The name if it can be an id, else one derived from it: the same on every run, so that a repetition is noticed.
fn subject_id(name: &str) -> String {
    match SubjectId::new(name) {
        Ok(id) => id.to_string(),
        Err(_) => format!("cf-{}", &hex::encode(Sha256::digest(name))[..32]),
    }
}
