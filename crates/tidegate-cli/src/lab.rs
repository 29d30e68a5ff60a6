//! `tidegate lab`: the fragile origin and the load generator.

use std::net::SocketAddr;
use std::time::Duration;

use crate::attack::{AttackArguments, attack};
use crate::say::say;
use clap::{Args, Subcommand, ValueEnum};
use tidegate_lab::load::{self, Arrivals, Crowd, LoadSettings, Retry};
use tidegate_lab::origin::{Origin, OriginSettings};
use tidegate_lab::spec::{Distribution, Leave, Rate, duration};

/// What the lab can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Lab {
    /// Start a service with a few workers that keeps working for clients that left
    Origin(OriginArguments),
    /// Send requests that do not wait for answers, the same for the same seed
    Load(LoadArguments),
    /// Be many peers that take more than they give, to see what a server on this machine holds for them
    Attack(AttackArguments),
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
    /// Say in every answer how many requests are inside (X-Inflight)
    #[arg(long)]
    report: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LoadArguments {
    /// Where to send: http://HOST:PORT/PATH
    target: http::Uri,
    /// Arrivals per second, also in steps: 250,5s:2500,10s:0,12s:400
    #[arg(long, default_value = "100")]
    rate: Rate,
    /// How arrivals follow each other
    #[arg(long, value_enum, default_value = "poisson")]
    arrivals: ArrivalsArgument,
    /// A closed loop instead: so many clients, each sending when it has its answer. With twice as many as the
    /// service has workers it measures what the service can carry
    #[arg(long, value_name = "CLIENTS", conflicts_with_all = ["rate", "arrivals"],
          value_parser = clap::value_parser!(u32).range(1..=60_000))]
    closed: Option<u32>,
    /// How long requests are sent
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
    /// When to retry: after 100 ms, or when the server said
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

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RetryArgument {
    Naive,
    RetryAfter,
}

impl From<ArrivalsArgument> for Arrivals {
    fn from(argument: ArrivalsArgument) -> Self {
        match argument {
            ArrivalsArgument::Poisson => Self::Poisson,
            ArrivalsArgument::Constant => Self::Constant,
        }
    }
}

impl From<RetryArgument> for Retry {
    fn from(argument: RetryArgument) -> Self {
        match argument {
            RetryArgument::Naive => Self::Naive,
            RetryArgument::RetryAfter => Self::RetryAfter,
        }
    }
}

/// Runs one of the lab's commands; an error is a sentence for the person at the terminal.
pub(crate) async fn run(lab: Lab) -> Result<(), String> {
    match lab {
        Lab::Origin(arguments) => origin(arguments).await,
        Lab::Load(arguments) => send(arguments).await,
        Lab::Attack(arguments) => attack(arguments).await,
    }
}

async fn origin(arguments: OriginArguments) -> Result<(), String> {
    let mut settings = OriginSettings::default();
    settings.workers = arguments.workers as usize;
    (settings.mean, settings.distribution) = (arguments.mean, arguments.dist);
    settings.delay = arguments.delay;
    settings.seed = arguments.seed;
    settings.report = arguments.report;
    let listen = arguments.listen;
    let origin = Origin::bind(listen, settings).await.map_err(|error| {
        format!("cannot listen on {listen}: {error}; choose another address with --listen")
    })?;
    let address = origin.local_addr().map_err(|error| error.to_string())?;
    say(&format!("listening on http://{address}/ (figures at /.lab/stats); Ctrl-C ends it"));
    tokio::select! {
        ended = origin.serve() => ended.map_err(|error| error.to_string()),
        ended = tokio::signal::ctrl_c() => ended.map_err(|error| error.to_string()),
    }
}

async fn send(arguments: LoadArguments) -> Result<(), String> {
    let crowd = match arguments.closed {
        Some(clients) => Crowd::Closed { clients: clients as usize },
        None => Crowd::Open { rate: arguments.rate, arrivals: arguments.arrivals.into() },
    };
    let mut settings = LoadSettings::new(arguments.target, crowd);
    (settings.duration, settings.timeout) = (arguments.duration, arguments.timeout);
    settings.connections = arguments.connections as usize;
    settings.leave = arguments.leave;
    (settings.retries, settings.retry) = (arguments.retries, arguments.retry.into());
    settings.seed = arguments.seed;
    let report = load::run(settings).await.map_err(|error| error.to_string())?;
    if arguments.json {
        say(&serde_json::to_string(&report).map_err(|error| error.to_string())?);
    } else {
        say(&report.to_string());
    }
    Ok(())
}
