//! Lists of labelled pictures: comma-separated values with a header (RFC 4180, one record a line). Columns come in any
//! order; an unknown one is an error, since a misspelt optional column would otherwise be ignored. Every fault names
//! its file and line.

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// A list that was read.
#[derive(Debug)]
pub struct Csv {
    path: PathBuf,
    columns: Vec<String>,
    rows: Vec<Row>,
    /// The file as it is, for its checksum.
    pub bytes: Vec<u8>,
}

/// One record.
#[derive(Debug)]
pub struct Row {
    /// Its line in the file, from 1.
    pub line: usize,
    cells: Vec<String>,
}

/// Columns a list may have.
#[derive(Clone, Copy, Debug)]
pub struct Columns {
    /// Must be there.
    pub required: &'static [&'static str],
    /// May be there.
    pub optional: &'static [&'static str],
}

impl Csv {
    /// Reads a list; `what` is what a person would call it.
    ///
    /// # Errors
    /// [`Failure::Usage`] with the line.
    pub fn read(what: &str, path: &Path, columns: Columns) -> Result<Self, Failure> {
        Self::parse(path, read_bytes(what, path)?, columns)
    }

    /// Takes the bytes of a list that is at `path`.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn parse(path: &Path, bytes: Vec<u8>, allowed: Columns) -> Result<Self, Failure> {
        let fault = |line: usize, what: &str| Failure::Usage(format!("{} line {line}: {what}", path.display()));
        let text = std::str::from_utf8(&bytes).map_err(|_| fault(1, "the file is not UTF-8 text"))?;
        let mut lines = text.trim_start_matches('\u{feff}').lines().enumerate();
        let columns = lines.next().map_or_else(|| Ok(Vec::new()), |(_, l)| fields(l));
        let columns = columns.map_err(|e| fault(1, &e))?;
        if let Some(missing) = allowed.required.iter().find(|c| !columns.iter().any(|have| have == *c)) {
            return Err(fault(
                1,
                &format!("the column `{missing}` is missing; the header must be {}", allowed.header()),
            ));
        }
        let known = |c: &String| allowed.required.iter().chain(allowed.optional).any(|k| k == c);
        if let Some(unknown) = columns.iter().find(|c| !known(c)) {
            return Err(fault(1, &format!("there is no column `{unknown}`; the header must be {}", allowed.header())));
        }
        if let Some((i, twice)) = columns.iter().enumerate().find(|(i, c)| columns[..*i].contains(c)) {
            return Err(fault(1, &format!("the column `{twice}` is there twice, as number {}", i + 1)));
        }
        let mut rows = Vec::new();
        for (i, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
            let cells = fields(line).map_err(|e| fault(i + 1, &e))?;
            if cells.len() != columns.len() {
                let wrong = format!("{} values for the {} columns {}", cells.len(), columns.len(), columns.join(","));
                return Err(fault(i + 1, &wrong));
            }
            rows.push(Row { line: i + 1, cells });
        }
        if rows.is_empty() {
            return Err(fault(2, "there is nothing below the header"));
        }
        Ok(Self { path: path.to_owned(), columns, rows, bytes })
    }

    /// The records.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Whether the list has an optional column.
    pub fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|c| c == column)
    }

    /// A value; empty where there is no such column.
    pub fn value<'a>(&self, row: &'a Row, column: &str) -> &'a str {
        let place = self.columns.iter().position(|c| c == column);
        place.and_then(|i| row.cells.get(i)).map_or("", String::as_str)
    }

    /// A value that must not be empty.
    ///
    /// # Errors
    /// [`Failure::Usage`] with the line.
    pub fn needed<'a>(&self, row: &'a Row, column: &str) -> Result<&'a str, Failure> {
        match self.value(row, column) {
            "" => Err(self.fault(row.line, &format!("the {column} is empty"))),
            value => Ok(value),
        }
    }

    /// What is wrong, and where.
    pub fn fault(&self, line: usize, what: &str) -> Failure {
        Failure::Usage(format!("{} line {line}: {what}", self.path.display()))
    }
}

impl Columns {
    fn header(self) -> String {
        let optional: String = self.optional.iter().map(|c| format!("[,{c}]")).collect();
        format!("`{}{optional}`", self.required.join(","))
    }
}

/// A file that the command line names.
///
/// # Errors
/// [`Failure::Usage`].
pub fn read_bytes(what: &str, path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|e| Failure::Usage(format!("the {what} {} cannot be read: {e}", path.display())))
}

/// The values of a line, without the spaces around them; quotes guard commas, and doubled quotes are one.
fn fields(line: &str) -> Result<Vec<String>, String> {
    let (mut all, mut cell, mut quoted) = (Vec::new(), String::new(), false);
    let mut was_quoted = false;
    let mut characters = line.trim_end_matches('\r').chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                cell.push('"');
            }
            '"' if quoted => quoted = false,
            '"' if cell.trim().is_empty() && !was_quoted => (quoted, was_quoted, cell) = (true, true, String::new()),
            ',' if !quoted => {
                all.push(finish(&mut cell, &mut was_quoted));
            }
            c => cell.push(c),
        }
    }
    if quoted {
        return Err("a quote is not closed".to_owned());
    }
    all.push(finish(&mut cell, &mut was_quoted));
    Ok(all)
}

fn finish(cell: &mut String, quoted: &mut bool) -> String {
    let cell = std::mem::take(cell);
    if std::mem::take(quoted) { cell } else { cell.trim().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: Columns = Columns { required: &["subject", "image"], optional: &["cohort"] };

    fn parse(text: &str) -> Result<Csv, String> {
        Csv::parse(Path::new("list.csv"), text.as_bytes().to_vec(), COLUMNS).map_err(|e| e.to_string())
    }

    #[test]
    fn columns_in_any_order_quotes_and_empty_lines() {
        let csv =
            parse("\u{feff}image, cohort,subject\r\n\"a, b.jpg\",x,\"say \"\"hi\"\"\"\r\n\r\nc.jpg,,p\n").unwrap();
        let [first, second] = csv.rows() else { panic!("{csv:?}") };
        assert_eq!((csv.value(first, "image"), csv.value(first, "subject")), ("a, b.jpg", "say \"hi\""));
        assert_eq!((csv.value(second, "cohort"), second.line), ("", 4));
        assert!(csv.needed(second, "cohort").unwrap_err().to_string().contains("list.csv line 4: the cohort is empty"));
    }

    #[test]
    fn every_fault_names_its_line() {
        for (text, said) in [
            ("subject,picture\na,b\n", "line 1: the column `image` is missing"),
            ("subject,image,cohrt\na,b,c\n", "line 1: there is no column `cohrt`"),
            ("subject,image,image\na,b,c\n", "line 1: the column `image` is there twice"),
            ("subject,image\na,b\nc\n", "line 3: 1 values for the 2 columns subject,image"),
            ("subject,image\na,\"b\n", "line 2: a quote is not closed"),
            ("subject,image\n\n", "nothing below the header"),
            ("", "line 1: the column `subject` is missing"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(said) && error.contains("list.csv"), "{text:?}: {error}");
        }
        let error = Csv::parse(Path::new("l"), vec![0xff, 0xfe], COLUMNS).unwrap_err();
        assert!(error.to_string().contains("UTF-8"), "{error}");
    }
}
