//! The one program, `tidegate`: arguments, wiring, exit codes.

mod demo;
mod descriptors;
mod lab;
mod say;

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
    /// See a crowd before a fragile service, without the gate and with it, in about 40 seconds
    Demo(demo::DemoArguments),
    /// A fragile service and a load generator, to see what overload does
    #[command(subcommand)]
    Lab(lab::Lab),
}

fn main() -> ExitCode {
    // clap answers wrong arguments itself, with exit code 2.
    let command = Arguments::parse().command;
    descriptors::raise_limit();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("tidegate: the runtime cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(async {
        match command {
            Command::Demo(arguments) => demo::run(arguments).await,
            Command::Lab(lab) => lab::run(lab).await,
        }
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tidegate: {error}");
            ExitCode::FAILURE
        }
    }
}
