//! `loadtest`: sends requests at a rate whatever the service does, measures each from the moment it was due, and ends
//! with 0 where the objectives hold, with 1 where they do not, with 2 where nothing could be measured. Starts a local
//! cluster of its own unless it is told of a service. How to read what it writes: ../README.md.

mod agree;
mod answers;
mod capacity;
mod chaos;
mod cli;
mod compare;
mod document;
mod failure;
mod figures;
mod k6;
mod load;
mod output;
mod page;
mod pictures;
mod plan;
mod promotion;
mod residents;
mod run;
mod scenario;
mod search;
mod slo;
mod stand;
mod sweep;
mod watch;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};
use failure::Failure;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return output::failed(&Failure::Other(format!("the threads cannot be started: {e}"))),
    };
    match runtime.block_on(carry_out(cli.command)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(failure) => output::failed(&failure),
    }
}

/// Whether what was asked for holds.
async fn carry_out(command: Command) -> Result<bool, Failure> {
    match command {
        Command::Run(args) => run::run_all(&args).await,
        Command::Cluster(args) => stand::hold(&args).await,
        Command::Sweep(args) => sweep::run(&args).await,
        Command::Capacity(args) => capacity::run(&args).await,
        Command::Agree(args) => agree::run(&args).await,
        Command::Compare(args) => compare::run(&args),
        Command::Judge(args) => slo::judge(&args),
        Command::Page(args) => page::run(&args),
        Command::K6Plan => k6::print(),
    }
}
