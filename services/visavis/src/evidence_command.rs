//! `visavis receipts verify` and `visavis audit verify`: what the service signed and chained, checked without it. What is
//! wrong with a document is told in a sentence, and the exit status is 65 (EX_DATAERR).

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use evidence::{ChainHead, Checked, EvidenceError, Expected, Extent, Jwks, RECEIPT, Receipt, SubjectOutcome, Trail};

use crate::cli::{AuditArgs, ReceiptArgs};
use crate::failure::Failure;
use crate::output;

/// More than any receipt or key set has.
const MOST_BYTES: u64 = 256 << 20;

/// Checks a receipt.
///
/// # Errors
/// What is wrong with it, or a file that cannot be read.
pub fn receipt(args: &ReceiptArgs) -> Result<(), Failure> {
    let keys = jwks(&args.jwks)?;
    let text = read(&args.file)?;
    let receipt: Receipt = keys.open(RECEIPT, text.trim()).map_err(|e| refused("the receipt", &e))?;
    let about = match &args.subject {
        Some(subject) => Some(receipt.about(subject).ok_or_else(|| {
            Failure::Refused("the receipt is good, but this subject is not among those it tells of".into())
        })?),
        None => None,
    };
    if args.json {
        let json = serde_json::to_string_pretty(&receipt).map_err(|e| Failure::Other(e.to_string()))?;
        output::text(&json);
        return Ok(());
    }
    let mut text = summary(&receipt);
    if let Some(about) = about {
        let how = match about.outcome {
            SubjectOutcome::Erased => "was enrolled and has been erased",
            SubjectOutcome::AlreadyErased => "had been erased before",
            SubjectOutcome::NotEnrolled => "was not enrolled",
        };
        text.push_str(&format!("subject       it {how}: {} faces, {} consents removed\n", about.faces, about.consents));
    }
    output::text(&text);
    Ok(())
}

fn summary(r: &Receipt) -> String {
    let (extent, gone, seen) = (r.extent, r.removed, r.verification);
    let what = match extent {
        Extent::Subjects => format!("{} subjects named, {} were enrolled", r.subjects.len(), gone.subjects),
        Extent::Collection => format!("the collection with {} subjects", gone.subjects),
    };
    let places: Vec<&str> = r.places.iter().map(|p| p.name.as_str()).collect();
    let models = if r.models_trained.is_empty() { "none".to_owned() } else { r.models_trained.join(", ") };
    let rows = [
        ("receipt", "good: signed by this service and not changed".to_owned()),
        ("erasure", format!("{} of tenant {}, collection {}", r.erasure_id, r.tenant, r.collection_id)),
        ("asked for", r.requested_at.to_string()),
        ("done", r.completed_at.to_string()),
        ("erased", what),
        ("removed", format!("{} faces with templates, {} consents", gone.faces, gone.consents)),
        ("", format!("{} results, {} answers, {} items of jobs", gone.results, gone.answers, gone.items)),
        ("places", places.join(", ")),
        ("looked for", format!("{}: nothing left, {} workers asked", seen.at, seen.workers)),
        ("models", format!("{models} had been trained on it")),
    ];
    rows.iter().map(|(name, value)| format!("{name:13} {value}\n")).collect()
}

/// Checks an export of the audit trail, line by line.
///
/// # Errors
/// The first thing that is wrong with it, or a file that cannot be read.
pub fn audit(args: &AuditArgs) -> Result<(), Failure> {
    let keys = args.jwks.as_deref().map(jwks).transpose()?;
    let head = args.head.as_deref().map(noted).transpose()?;
    let mut trail = Trail::new(Expected { keys: keys.as_ref(), head: head.as_ref() });
    let mut input = BufReader::new(open(&args.file)?);
    let mut line = String::new();
    loop {
        line.clear();
        let read = input.read_line(&mut line).map_err(|e| Failure::io("the export", &args.file, &e))?;
        if read == 0 {
            break;
        }
        trail.line(line.strip_suffix('\n').unwrap_or(&line)).map_err(|e| refused("the trail", &e))?;
    }
    let checked = trail.finish().map_err(|e| refused("the trail", &e))?;
    output::text(&told(&checked));
    Ok(())
}

fn told(c: &Checked) -> String {
    let begin = if c.after == 0 { "from the beginning".to_owned() } else { format!("after event {}", c.after) };
    let mut text = format!(
        "good: {} events {begin}, ends with event {}\nhead {}:{}\n",
        c.events, c.head.seq, c.head.seq, c.head.hash
    );
    if !c.signed && !c.noted {
        text.push_str(
            "note: without --jwks or --head a trail that was made anew as a whole, or cut off, cannot be told from this\n",
        );
    }
    text
}

/// A head as text, or a file that holds one.
fn noted(given: &str) -> Result<ChainHead, Failure> {
    if let Ok(head) = given.parse() {
        return Ok(head);
    }
    #[derive(serde::Deserialize)]
    struct Noted {
        seq: u64,
        hash: String,
    }
    let text = read(Path::new(given))?;
    let parsed = serde_json::from_str::<Noted>(&text).map(|n| ChainHead { seq: n.seq, hash: n.hash }).ok();
    let parsed = parsed.or_else(|| text.parse().ok());
    parsed
        .ok_or_else(|| Failure::Usage(format!("{given} holds no head: neither SEQ:HASH nor the answer of the service")))
}

fn jwks(path: &Path) -> Result<Jwks, Failure> {
    let text = read(path)?;
    serde_json::from_str(&text).map_err(|e| Failure::Usage(format!("{} is no key set: {e}", path.display())))
}

fn read(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = open(path)?.take(MOST_BYTES).read_to_string(&mut text);
    read.map_err(|e| Failure::io("the file", path, &e))?;
    Ok(text)
}

fn open(path: &Path) -> Result<Box<dyn Read>, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(std::io::stdin()));
    }
    let missing = |e: std::io::Error| Failure::Usage(format!("{} cannot be read: {e}", path.display()));
    Ok(Box::new(File::open(path).map_err(missing)?))
}

fn refused(what: &str, error: &EvidenceError) -> Failure {
    Failure::Refused(format!("{what} is not accepted: {error}"))
}
