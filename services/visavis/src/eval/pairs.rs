//! Reads a list of pairs: CSV with the header `left,right,same`; names are relative to the folder of pictures.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

const HEADER: &str = "left,right,same";

/// Two pictures and whether they show one person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Name of a picture.
    pub left: String,
    /// Name of the other.
    pub right: String,
    /// One person.
    pub same: bool,
}

/// Reads a file of pairs.
///
/// # Errors
/// [`Failure::Usage`] with the line.
pub fn read(path: &Path) -> Result<Vec<Pair>, Failure> {
    let text = fs::read_to_string(path)
        .map_err(|e| Failure::Usage(format!("the pairs {} cannot be read: {e}", path.display())))?;
    parse(&text).map_err(|e| Failure::Usage(format!("{}: {e}", path.display())))
}

fn parse(text: &str) -> Result<Vec<Pair>, String> {
    let mut lines = text.trim_start_matches('\u{feff}').lines().enumerate();
    if lines.next().map(|(_, first)| first.trim()) != Some(HEADER) {
        return Err(format!("line 1 must be `{HEADER}`"));
    }
    let pairs: Vec<Pair> = lines
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(i, line)| pair(line).ok_or_else(|| format!("line {} is not `NAME,NAME,0 or 1`", i + 1)))
        .collect::<Result<_, _>>()?;
    if pairs.is_empty() { Err("there are no pairs".to_owned()) } else { Ok(pairs) }
}

fn pair(line: &str) -> Option<Pair> {
    let mut cells = line.split(',').map(str::trim);
    let (left, right, same) = (cells.next()?, cells.next()?, cells.next()?);
    let same = match same {
        "1" | "true" => true,
        "0" | "false" => false,
        _ => return None,
    };
    let fine = cells.next().is_none() && !left.is_empty() && !right.is_empty();
    fine.then(|| Pair { left: left.to_owned(), right: right.to_owned(), same })
}

/// Finds the pictures. A picture that is not there is a mistake in the command, not a failure to enrol.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read_and_a_bad_line_is_named() {
        let pairs = parse("left,right,same\r\na/1.jpg, a/2.jpg,1\n\na/1.jpg,b/1.jpg,false\n").unwrap();
        assert_eq!(pairs.len(), 2);
        assert!(pairs[0].same && pairs[0].right == "a/2.jpg" && !pairs[1].same);
        assert!(parse("a,b,1").unwrap_err().contains("left,right,same"));
        assert!(parse("left,right,same\na,b,1\na,b,2").unwrap_err().contains("line 3"));
        assert!(parse("left,right,same\na,b,1,x").unwrap_err().contains("line 2"));
        assert!(parse("left,right,same\n").unwrap_err().contains("no pairs"));
    }
}
