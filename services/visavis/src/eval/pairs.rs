//! Lists of pairs: CSV with the columns `left,right,same` and perhaps `fold` and `cohort`, or the text form of Labeled
//! Faces in the Wild (`pairs.txt`, whose first line gives the number of folds and of pairs of each kind in a fold).

use std::path::Path;

use super::csv::{Columns, Csv, read_bytes};
use crate::failure::Failure;

const COLUMNS: Columns = Columns { required: &["left", "right", "same"], optional: &["fold", "cohort"] };

/// Two pictures and whether they show one person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Name of a picture.
    pub left: String,
    /// Name of the other.
    pub right: String,
    /// One person.
    pub same: bool,
    /// The fold it belongs to.
    pub fold: Option<String>,
    /// The cohort that both belong to.
    pub cohort: Option<String>,
    /// Who they are, where the list says so.
    pub subjects: Option<[String; 2]>,
    /// Its line in the list.
    pub line: usize,
}

/// A list of pairs.
#[derive(Debug)]
pub struct Pairs {
    /// In the list's order.
    pub pairs: Vec<Pair>,
    /// The file as it is, for its checksum.
    pub bytes: Vec<u8>,
}

impl Pairs {
    /// Names of the folds, one for each pair, if the list has folds.
    pub fn folds(&self) -> Option<Vec<String>> {
        self.pairs.iter().map(|p| p.fold.clone()).collect()
    }
}

/// Reads a list of pairs, whichever its form.
///
/// # Errors
/// [`Failure::Usage`] with the line.
pub fn read(path: &Path) -> Result<Pairs, Failure> {
    parse(path, read_bytes("list of pairs", path)?)
}

fn parse(path: &Path, bytes: Vec<u8>) -> Result<Pairs, Failure> {
    let text = String::from_utf8_lossy(&bytes);
    let first: Option<Vec<usize>> =
        text.lines().next().map(|l| l.split_whitespace().map(str::parse).collect::<Result<_, _>>().unwrap_or_default());
    match first.as_deref() {
        Some(&[each]) => lfw(path, &text, 1, each).map(|pairs| Pairs { pairs, bytes }),
        Some(&[folds, each]) => lfw(path, &text, folds, each).map(|pairs| Pairs { pairs, bytes }),
        _ => csv(path, bytes),
    }
}

fn csv(path: &Path, bytes: Vec<u8>) -> Result<Pairs, Failure> {
    let csv = Csv::parse(path, bytes, COLUMNS)?;
    let mut pairs = Vec::new();
    for row in csv.rows() {
        let same = match csv.value(row, "same") {
            "1" | "true" => true,
            "0" | "false" => false,
            other => return Err(csv.fault(row.line, &format!("same is `{other}`, and must be 0 or 1"))),
        };
        let given = |column: &str| Some(csv.value(row, column)).filter(|v| !v.is_empty()).map(str::to_owned);
        let fold = given("fold");
        if csv.has("fold") && fold.is_none() {
            return Err(csv.fault(row.line, "the fold is empty, and other pairs have one"));
        }
        pairs.push(Pair {
            left: csv.needed(row, "left")?.to_owned(),
            right: csv.needed(row, "right")?.to_owned(),
            same,
            fold,
            cohort: given("cohort"),
            subjects: None,
            line: row.line,
        });
    }
    check_folds(path, &pairs)?;
    Ok(Pairs { pairs, bytes: csv.bytes })
}

/// A fold is decided at the threshold of the others, so there must be others.
fn check_folds(path: &Path, pairs: &[Pair]) -> Result<(), Failure> {
    let Some(first) = pairs.first().filter(|p| p.fold.is_some()) else { return Ok(()) };
    if pairs.iter().all(|p| p.fold == first.fold) {
        let (fold, line) = (first.fold.as_deref().unwrap_or_default(), first.line);
        let what = format!("every pair is of the fold `{fold}`, and there must be two folds at least");
        return Err(Failure::Usage(format!("{} line {line}: {what}", path.display())));
    }
    Ok(())
}

/// `folds` times: `each` lines `name number number`, then `each` lines `name number name number`.
fn lfw(path: &Path, text: &str, folds: usize, each: usize) -> Result<Vec<Pair>, Failure> {
    let fault = |line: usize, what: &str| Failure::Usage(format!("{} line {line}: {what}", path.display()));
    if folds == 0 || each == 0 {
        return Err(fault(1, "there are no pairs"));
    }
    let lines: Vec<(usize, &str)> =
        text.lines().enumerate().skip(1).map(|(i, l)| (i + 1, l)).filter(|(_, l)| !l.trim().is_empty()).collect();
    let wanted = folds.checked_mul(2 * each).ok_or_else(|| fault(1, "that many pairs cannot be"))?;
    if lines.len() != wanted {
        let last = lines.last().map_or(1, |(line, _)| *line);
        let said =
            format!("{folds} folds of {each} pairs of each kind are {wanted} lines, and there are {}", lines.len());
        return Err(fault(last, &said));
    }
    let pair = |(place, (line, text)): (usize, &(usize, &str))| {
        let (fold, mated) = (place / (2 * each), place % (2 * each) < each);
        let cells: Vec<&str> = text.split_whitespace().collect();
        let (a, i, b, j) = match (cells.as_slice(), mated) {
            (&[a, i, j], true) => (a, i, a, j),
            (&[a, i, b, j], false) if a != b => (a, i, b, j),
            (_, true) => return Err(fault(*line, "a pair of one person is `NAME NUMBER NUMBER`")),
            (_, false) => return Err(fault(*line, "a pair of two persons is `NAME NUMBER OTHER_NAME NUMBER`")),
        };
        let picture = |name: &str, number: &str| {
            let number: u32 =
                number.parse().map_err(|_| fault(*line, &format!("`{number}` is no number of a picture")))?;
            Ok::<_, Failure>(format!("{name}/{name}_{number:04}.jpg"))
        };
        Ok(Pair {
            left: picture(a, i)?,
            right: picture(b, j)?,
            same: mated,
            fold: (folds > 1).then(|| (fold + 1).to_string()),
            cohort: None,
            subjects: Some([a.to_owned(), b.to_owned()]),
            line: *line,
        })
    };
    lines.iter().enumerate().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Pairs, String> {
        super::parse(Path::new("pairs"), text.as_bytes().to_vec()).map_err(|e| e.to_string())
    }

    #[test]
    fn pairs_are_read_and_a_bad_line_is_named() {
        let pairs = parse("left,right,same\r\na/1.jpg, a/2.jpg,1\n\na/1.jpg,b/1.jpg,false\n").unwrap().pairs;
        assert_eq!(pairs.len(), 2);
        assert!(pairs[0].same && pairs[0].right == "a/2.jpg" && !pairs[1].same && pairs[1].line == 4);
        assert!(parse("a,b,1").unwrap_err().contains("left,right,same"));
        assert!(parse("left,right,same\na,b,1\na,b,2").unwrap_err().contains("line 3: same is `2`"));
        assert!(parse("left,right,same\na,b,1,x").unwrap_err().contains("line 2"));
        assert!(parse("left,right,same\na,,1").unwrap_err().contains("line 2: the right is empty"));
        assert!(parse("left,right,same\n").unwrap_err().contains("nothing below"));
    }

    #[test]
    fn folds_and_cohorts_are_columns() {
        let pairs = parse("left,right,same,fold,cohort\na,b,1,x,young\nc,d,0,y,\n").unwrap();
        assert_eq!(pairs.folds(), Some(vec!["x".to_owned(), "y".to_owned()]));
        assert_eq!((pairs.pairs[0].cohort.as_deref(), pairs.pairs[1].cohort.as_deref()), (Some("young"), None));
        assert!(parse("left,right,same,fold\na,b,1,x\nc,d,0,\n").unwrap_err().contains("line 3: the fold is empty"));
        assert!(parse("left,right,same,fold\na,b,1,x\nc,d,0,x\n").unwrap_err().contains("two folds at least"));
        assert_eq!(parse("left,right,same\na,b,1\n").unwrap().folds(), None);
    }

    #[test]
    fn the_form_of_lfw_with_and_without_folds() {
        let text = "2\t1\nAda_Low\t1\t2\nAda_Low\t3\tBo\t1\nBo\t2\t10\nBo\t3\tCy\t4\n";
        let pairs = parse(text).unwrap();
        assert_eq!(pairs.folds(), Some(["1", "1", "2", "2"].map(str::to_owned).to_vec()));
        let third = &pairs.pairs[2];
        assert_eq!((third.right.as_str(), third.same, third.line), ("Bo/Bo_0010.jpg", true, 4));
        assert_eq!(pairs.pairs[3].subjects, Some(["Bo".to_owned(), "Cy".to_owned()]));
        let single = parse("1\nAda\t1\t2\nAda\t1\tBo\t2\n").unwrap();
        assert_eq!((single.pairs.len(), single.folds()), (2, None));
        assert!(parse("2 1\nA 1 2\nA 1 B 2\nA 1 2\n").unwrap_err().contains("are 4 lines, and there are 3"));
        assert!(parse("1\nA 1 2\nA 1 2\n").unwrap_err().contains("line 3: a pair of two persons"));
        assert!(parse("1\nA 1 x\nA 1 B 2\n").unwrap_err().contains("line 2: `x` is no number"));
        assert!(parse("0 300\n").unwrap_err().contains("no pairs"));
    }
}
