//! The one program, `tidegate`: arguments, wiring, exit codes.

mod allocator;
mod attack;
mod demo;
mod descriptors;
mod gateway;
mod lab;
mod say;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

/// Keeps an HTTP service serving under overload: finds how much it can carry, lets that much in, and tells everybody
/// else when to come back.
#[derive(Debug, Parser)]
#[command(
    name = "tidegate",
    version,
    arg_required_else_help = true,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: gateway::Flags,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Protect a service (`tidegate <ORIGIN>` does the same)
    Run(Box<gateway::Flags>),
    /// Check a configuration file and print what holds, every default included
    Check(gateway::Check),
    /// See a crowd before a fragile service, without the gate and with it, in about 40 seconds
    Demo(demo::DemoArguments),
    /// A fragile service and a load generator, to see what overload does
    #[command(subcommand)]
    Lab(lab::Lab),
}

/// What a command ends with if it does not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What was said cannot be used: exit code 2, as for wrong arguments.
    Configuration(String),
    /// It could not be done: exit code 1.
    Runtime(String),
}

fn main() -> ExitCode {
    // clap answers wrong arguments itself, with exit code 2.
    let arguments = Arguments::parse();
    let open_files = descriptors::raise_limit();
    let done = match arguments.command {
        None => gateway::run(arguments.run, open_files),
        Some(Command::Run(flags)) => gateway::run(*flags, open_files),
        Some(Command::Check(check)) => gateway::check(&check, open_files),
        Some(Command::Demo(arguments)) => aside(demo::run(arguments)),
        Some(Command::Lab(lab)) => aside(lab::run(lab)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Configuration(message)) => {
            last_words(message);
            ExitCode::from(2)
        }
        Err(Failure::Runtime(message)) => {
            last_words(message);
            ExitCode::FAILURE
        }
    }
}

/// Says why it ends; not for longer than a second, where nobody reads it.
fn last_words(message: String) {
    let (said, hear) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        eprintln!("tidegate: {message}");
        let _ = said.send(());
    });
    let _ = hear.recv_timeout(Duration::from_secs(1));
}

/// Runs what is not the gateway: whatever it fails of is said and ends with exit code 1.
fn aside<E: std::fmt::Display>(work: impl Future<Output = Result<(), E>>) -> Result<(), Failure> {
    on_runtime(work)?.map_err(|error| Failure::Runtime(error.to_string()))
}

/// Runs to the end on the one runtime of the process.
fn on_runtime<F: Future>(work: F) -> Result<F::Output, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Runtime(format!("the runtime cannot start: {error}")))?;
    let output = runtime.block_on(work);
    // What still runs was cut off already; its threads are not waited for.
    runtime.shutdown_background();
    Ok(output)
}
