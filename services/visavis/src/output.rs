//! Everything the commands say to a person: results on standard output, failures on standard error. Logs go through
//! `tracing` instead.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::failure::Failure;

/// Prints a text, ended by one newline. A reader that has gone away (`| head`) is no error.
pub fn text(text: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{}", text.trim_end_matches('\n')).and_then(|()| out.flush());
}

/// Prints why the command failed; gives the exit status.
pub fn failed(failure: &Failure) -> ExitCode {
    let _ = writeln!(io::stderr().lock(), "visavis: {failure}");
    ExitCode::from(failure.status())
}

/// Prints help, version or what is wrong with the command line.
pub fn clap_answer(answer: &clap::Error) -> ExitCode {
    let _ = answer.print();
    if answer.use_stderr() { ExitCode::from(runtime::config::EXIT_USAGE) } else { ExitCode::SUCCESS }
}
