//! The one program, `tidegate`: arguments, wiring, exit codes.

mod lab;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Overload protection for HTTP services.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// A fragile service and a load generator, to see what overload does
    #[command(subcommand)]
    Lab(lab::Lab),
}

fn main() -> ExitCode {
    // clap answers wrong arguments itself, with exit code 2.
    let Command::Lab(lab) = Arguments::parse().command;
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("tidegate: the runtime cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(lab::run(lab)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tidegate: {error}");
            ExitCode::FAILURE
        }
    }
}
