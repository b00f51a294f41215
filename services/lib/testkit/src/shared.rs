//! The evaluation data and reference figures, which lie beside the repository on some machines and on others not.

use std::{
    collections::HashMap,
    env, fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

/// `below` in the shared folder, if it is there: `VISAVIS_SHARED`, else `../shared` beside the repository.
#[must_use]
pub fn shared(below: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(4).map(|p| p.join("shared"));
    let root = env::var_os("VISAVIS_SHARED").map(PathBuf::from).or_else(beside)?;
    Some(root.join(below)).filter(|p| p.exists())
}

/// The same, and a line that says what was left out.
#[must_use]
pub fn shared_or_skip(below: &str) -> Option<PathBuf> {
    let found = shared(below);
    if found.is_none() {
        // Past the test harness, which would hide it as the output of a test that passed.
        drop(writeln!(io::stderr(), "SKIPPED: no {below} in VISAVIS_SHARED or ../shared"));
    }
    found
}

/// A row of a table, by column name.
pub type Row = HashMap<String, String>;

/// Reads a table of comma-separated values with a header, quotes and doubled quotes (RFC 4180), one record a line.
#[must_use]
pub fn read_csv(path: &Path) -> Vec<Row> {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut lines = text.lines().map(fields);
    let header = lines.next().unwrap_or_default();
    lines.map(|values| header.iter().cloned().zip(values).collect()).collect()
}

fn fields(line: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut quoted = false;
    let mut characters = line.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                all.last_mut().expect("one field at least").push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => all.push(String::new()),
            c => all.last_mut().expect("one field at least").push(c),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::fields;

    #[test]
    fn quoted_commas_and_quotes_stay_in_their_field() {
        assert_eq!(fields(r#"a,"b,c","say ""hi""",,"#), ["a", "b,c", r#"say "hi""#, "", ""]);
    }
}
