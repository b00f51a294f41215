//! The `visavis` binary: parses the command line, loads the configuration and hands over to a command. Roles are
//! library crates; nothing here knows HTTP or tensors.

mod artefacts;
mod banner;
mod bench;
mod cli;
mod config_command;
mod convert;
mod data_dir;
mod descriptors;
mod engines;
mod eval;
mod evidence_command;
mod failure;
mod healthcheck;
mod maintenance;
mod models_command;
mod objects_place;
mod output;
mod person_folders;
mod progress;
mod queue_command;
mod records;
mod roles;
mod sample;
mod sealing;
mod sealing_command;
mod settings;
mod system;
mod traces;
mod train;
mod trainer_role;
mod up;
mod wiring;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use cli::{AuditCommand, Cli, Command, ConfigCommand, ConvertCommand, ModelsCommand, ReceiptsCommand};
use failure::Failure;
use roles::Roles;

/// Every request takes and gives back megabytes of tensors. The system's allocator returns them to the kernel each
/// time, which then has to clear the pages anew.
#[cfg(not(feature = "system-allocator"))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What may still run on a blocking thread when the process ends is not waited for longer than this.
const LEFTOVERS: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(answer) => return output::clap_answer(&answer),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return output::failed(&Failure::Other(format!("the threads cannot be started: {e}"))),
    };
    let outcome = runtime.block_on(run(cli));
    runtime.shutdown_timeout(LEFTOVERS);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => output::failed(&failure),
    }
}

async fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command.unwrap_or(Command::Up(cli.up)) {
        Command::Up(args) => up::run(settings::load(&args.settings())?, Roles::Up).await,
        Command::Gateway(args) => up::run(settings::load(&args.settings())?, Roles::Gateway).await,
        Command::Worker(args) => up::run(settings::load(&args.settings())?, Roles::Worker).await,
        Command::Healthcheck(args) => healthcheck::run(&settings::load(&args.settings())?.config, args.live).await,
        Command::Trainer(args) => up::run(settings::load(&args.settings())?, Roles::Trainer).await,
        Command::Queue { command } => queue_command::run(&settings::load(&command.settings())?.config, &command).await,
        Command::Convert { command: ConvertCommand::Compreface(args) } => convert::compreface(&args),
        Command::Sealing { command } => {
            sealing_command::run(&settings::load(&command.settings())?.config, &command).await
        }
        Command::Receipts { command: ReceiptsCommand::Verify(args) } => evidence_command::receipt(&args),
        Command::Audit { command: AuditCommand::Verify(args) } => evidence_command::audit(&args),
        Command::Models { command } => match command {
            ModelsCommand::List(args) => models_command::list(&settings::load(&args.settings())?.config),
            ModelsCommand::Fetch { names, models } => {
                models_command::fetch(settings::load(&models.settings())?.config, names).await
            }
            ModelsCommand::Import { file, models } => {
                models_command::import(&settings::load(&models.settings())?.config, &file)
            }
            ModelsCommand::New(args) => models_command::new(&args),
            ModelsCommand::Quantize(args) => {
                models_command::quantize(settings::load(&args.models.settings())?.config, args).await
            }
        },
        Command::Train(args) => train::run(settings::load(&args.settings())?.config, *args).await,
        Command::Eval { command } => eval::run(settings::load(&command.settings())?.config, command).await,
        Command::Bench { command } => bench::run(settings::load(&command.settings())?.config, command).await,
        Command::Openapi => {
            output::text(&gateway::openapi_json());
            Ok(())
        }
        Command::Config { command: ConfigCommand::Print(args) } => {
            config_command::print(&settings::load(&args.settings())?)
        }
    }
}
