//! Arguments of the demo and its way through.

use std::path::PathBuf;

use clap::Args;

use super::figures::{Figures, Table};
use super::story::{CROWD, Story, TIMEOUT};
use super::{half, page};
use crate::say::say;

/// What the demo can be told.
#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// Where to write the page with the curves
    #[arg(long, value_name = "FILE", default_value = "tidegate-demo.html")]
    out: PathBuf,
    /// Seconds of each half, without the gate and with it
    #[arg(long, default_value_t = 18, value_parser = clap::value_parser!(u32).range(3..=600))]
    seconds: u32,
    /// Another program in the gate's place, started with the same arguments
    #[arg(long, value_name = "PROGRAM", hide = true)]
    gate: Option<PathBuf>,
}

/// Runs the demo; an error is a sentence for the person at the terminal.
pub(crate) async fn run(arguments: DemoArguments) -> Result<(), String> {
    let DemoArguments { out, seconds, gate } = arguments;
    let program = match gate {
        Some(program) => program,
        None => std::env::current_exe()
            .map_err(|error| format!("the program cannot find itself, to start the gate: {error}"))?,
    };
    let story = Story::new(seconds);
    say(&format!(
        "A service that can carry {:.0} requests a second gets just that for {} s, then {CROWD} times as many.\n\
         Its clients give up after {} s; it works on for those who left.\n\nwithout the gate",
        Story::capacity(),
        story.calm,
        TIMEOUT.as_secs()
    ));
    let without = half::run(story, None, say).await?;
    say("\nwith the gate, which was told nothing about the service");
    let with = half::run(story, Some(&program), say).await?;
    let table = Table { without: Figures::of(&without, story), with: Figures::of(&with, story) };
    say(&format!("\n{table}"));
    std::fs::write(&out, page::page(story, &without, &with)).map_err(|error| {
        format!("cannot write {}: {error}; choose another place with --out", out.display())
    })?;
    say(&format!("the curves are in {}", out.display()));
    Ok(())
}
