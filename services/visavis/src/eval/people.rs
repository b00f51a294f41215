//! Who is in the pictures of a list of pairs: from labels, from the list itself, or from the folders the pictures lie
//! in where these agree with every pair. Intervals then draw people instead of pairs.

use std::path::Path;

use super::pairs::Pair;
use super::pictures::{Labels, Numbers};
use crate::failure::Failure;

/// Numbers of the two subjects of each pair; empty where they are not known.
#[derive(Debug, Default)]
pub struct People {
    /// In the order of the pairs.
    pub numbers: Vec<[u32; 2]>,
    /// Where they come from, in a sentence.
    pub how: &'static str,
}

/// Finds out who is who.
///
/// # Errors
/// [`Failure::Usage`] with the line when labels contradict a pair.
pub fn people(list: &Path, pairs: &[Pair], labels: Option<&Labels>) -> Result<People, Failure> {
    let labelled = |p: &Pair| Some([labels?.subject(&p.left)?.to_owned(), labels?.subject(&p.right)?.to_owned()]);
    if let Some(names) = pairs.iter().map(labelled).collect::<Option<Vec<_>>>() {
        if let Some((p, n)) = pairs.iter().zip(&names).find(|(p, n)| p.same != (n[0] == n[1])) {
            let said = if p.same { "one person" } else { "two persons" };
            let what = format!("the pair is of {said}, and the labels are {} and {}", n[0], n[1]);
            return Err(Failure::Usage(format!("{} line {}: {what}", list.display(), p.line)));
        }
        return Ok(People::of(&names, "Who is in a picture is taken from the labels."));
    }
    if let Some(names) = pairs.iter().map(|p| p.subjects.clone()).collect::<Option<Vec<_>>>() {
        return Ok(People::of(&names, "Who is in a picture is taken from the list of pairs."));
    }
    let folders = |p: &Pair| Some([folder(&p.left)?, folder(&p.right)?]);
    if let Some(names) = pairs.iter().map(folders).collect::<Option<Vec<_>>>()
        && pairs.iter().zip(&names).all(|(p, n)| p.same == (n[0] == n[1]))
    {
        return Ok(People::of(&names, "Who is in a picture is taken from its folder, which agrees with every pair."));
    }
    Ok(People { numbers: Vec::new(), how: "Who is in a picture is not known." })
}

impl People {
    fn of(names: &[[String; 2]], how: &'static str) -> Self {
        let mut numbers = Numbers::default();
        Self { numbers: names.iter().map(|n| [numbers.of(&n[0]), numbers.of(&n[1])]).collect(), how }
    }
}

/// The folder that a picture's name begins with.
fn folder(name: &str) -> Option<String> {
    let folder = Path::new(name).parent()?.to_str()?;
    (!folder.is_empty()).then(|| folder.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(left: &str, right: &str, same: bool) -> Pair {
        let (left, right) = (left.to_owned(), right.to_owned());
        Pair { left, right, same, fold: None, cohort: None, subjects: None, line: 7 }
    }

    #[test]
    fn folders_are_people_only_where_every_pair_agrees() {
        let of = |pairs: &[Pair]| people(Path::new("l"), pairs, None).unwrap().numbers;
        assert_eq!(of(&[pair("a/1", "a/2", true), pair("a/1", "b/1", false)]), [[0, 0], [0, 1]]);
        assert!(of(&[pair("a/1", "a/2", true), pair("a/1", "a/3", false)]).is_empty());
        assert!(of(&[pair("1", "2", true)]).is_empty());
    }

    #[test]
    fn labels_that_contradict_a_pair_are_an_error_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("labels.csv");
        std::fs::write(&file, "image,subject\n1,ada\n2,bo\n").unwrap();
        let labels = Labels::read(&file).unwrap();
        let of = |p: Pair| people(Path::new("pairs.csv"), &[p], Some(&labels));
        assert_eq!(of(pair("1", "2", false)).unwrap().numbers, [[0, 1]]);
        let error = of(pair("1", "2", true)).unwrap_err().to_string();
        assert!(error.contains("pairs.csv line 7") && error.contains("ada and bo"), "{error}");
    }
}
