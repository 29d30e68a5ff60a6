//! `tidegate lab`: the fragile origin and the load generator.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use tidegate_lab::load::{self, Arrivals, LoadSettings};
use tidegate_lab::origin::{Origin, OriginSettings};
use tidegate_lab::spec::{Distribution, Leave, Rate, duration};

/// What the lab can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Lab {
    /// Start a service with a few workers that keeps working for clients that left
    Origin(OriginArguments),
    /// Send requests that do not wait for answers, the same for the same seed
    Load(LoadArguments),
}

#[derive(Debug, Args)]
pub(crate) struct OriginArguments {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:8000")]
    listen: SocketAddr,
    /// Requests worked on at once
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    workers: u32,
    /// Mean time that one takes
    #[arg(long, default_value = "20ms", value_parser = duration)]
    mean: Duration,
    /// How these times scatter: exp, fixed, lognormal:CV or bimodal:P,FAST,SLOW
    #[arg(long, default_value = "exp")]
    dist: Distribution,
    /// Time added to each request without taking a worker
    #[arg(long, default_value = "0", value_parser = duration)]
    delay: Duration,
    /// Seed of the service times
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Debug, Args)]
pub(crate) struct LoadArguments {
    /// Where to send: http://HOST:PORT/PATH
    target: http::Uri,
    /// Arrivals per second, also in steps: 250,5s:2500,10s:400
    #[arg(long, default_value = "100")]
    rate: Rate,
    /// How arrivals follow each other
    #[arg(long, value_enum, default_value = "poisson")]
    arrivals: ArrivalsArgument,
    /// How long arrivals go on
    #[arg(long, default_value = "10s", value_parser = duration)]
    duration: Duration,
    /// When a client gives up an attempt
    #[arg(long, default_value = "1s", value_parser = duration)]
    timeout: Duration,
    /// Requests in flight at most; those due beyond count as failed
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    connections: u32,
    /// Clients that give up early: 30%@60ms
    #[arg(long)]
    leave: Option<Leave>,
    /// Attempts after the first
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100))]
    retries: u32,
    /// When to retry: at once, or when the server said
    #[arg(long, value_enum, default_value = "naive")]
    retry: RetryArgument,
    /// Seed of the arrivals
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print the report as JSON, with a second-by-second series
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ArrivalsArgument {
    Poisson,
    Constant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RetryArgument {
    Naive,
    RetryAfter,
}

/// Runs one of the lab's commands; an error is a sentence for the person at the terminal.
pub(crate) async fn run(lab: Lab) -> Result<(), String> {
    match lab {
        Lab::Origin(arguments) => origin(arguments).await,
        Lab::Load(arguments) => send(arguments).await,
    }
}

async fn origin(arguments: OriginArguments) -> Result<(), String> {
    let settings = OriginSettings {
        workers: arguments.workers as usize,
        mean: arguments.mean,
        distribution: arguments.dist,
        delay: arguments.delay,
        seed: arguments.seed,
    };
    let listen = arguments.listen;
    let origin = Origin::bind(listen, settings).await.map_err(|error| {
        format!("cannot listen on {listen}: {error}; choose another address with --listen")
    })?;
    let address = origin.local_addr().map_err(|error| error.to_string())?;
    println!("listening on http://{address}/ (figures at /.lab/stats); Ctrl-C ends it");
    tokio::select! {
        () = origin.serve() => Ok(()),
        ended = tokio::signal::ctrl_c() => ended.map_err(|error| error.to_string()),
    }
}

async fn send(arguments: LoadArguments) -> Result<(), String> {
    let settings = LoadSettings {
        target: arguments.target,
        rate: arguments.rate,
        arrivals: match arguments.arrivals {
            ArrivalsArgument::Poisson => Arrivals::Poisson,
            ArrivalsArgument::Constant => Arrivals::Constant,
        },
        duration: arguments.duration,
        timeout: arguments.timeout,
        connections: arguments.connections as usize,
        leave: arguments.leave,
        retries: arguments.retries,
        obey_retry_after: arguments.retry == RetryArgument::RetryAfter,
        seed: arguments.seed,
    };
    let report = load::run(settings).await.map_err(|error| error.to_string())?;
    if arguments.json {
        println!("{}", serde_json::to_string(&report).map_err(|error| error.to_string())?);
    } else {
        println!("{report}");
    }
    Ok(())
}
