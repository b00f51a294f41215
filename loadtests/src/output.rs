//! What a person reads while load runs: lines on standard output. Nobody who reads them no more is an error.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use crate::failure::Failure;

/// A line.
pub fn line(text: &str) {
    drop(writeln!(io::stdout(), "{text}"));
}

/// Why nothing could be measured.
pub fn failed(failure: &Failure) -> ExitCode {
    drop(writeln!(io::stderr(), "loadtest: {failure}"));
    ExitCode::from(2)
}
