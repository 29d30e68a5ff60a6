//! A pool of 50 connections to a real PostgreSQL server, and 10,000 clients arriving: nobody waits for more than the pool
//! can serve in time, everybody else is told at once. PostgreSQL must be installed (Debian: `apt-get install postgresql`);
//! the server used is a private one in a temporary directory.
//!
//! ```sh
//! cargo run --release -p postgres-pool -- compare   # under load, beside the pool without a gate
//! cargo run -p postgres-pool                        # then: curl localhost:3000 ; curl localhost:3000/pool
//! ```
//!
//! Clients, service and database share the machine: what else runs on it shows in the figures, first in those of refusals.

mod account;
mod cluster;
mod compare;
mod crowd;
mod listen;
mod service;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit, setrlimit};

use cluster::Cluster;
use service::SETTINGS;

const USAGE: &str = "postgres-pool [serve [gate|pool|care [ADDRESS [SOCKET-DIRECTORY]]] | compare]";

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    // A connection takes a file, and the usual limit of 1024 is fewer than come.
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    setrlimit(Resource::Nofile, files)?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // Whatever ends first: then the server and its directory go too.
    tokio::select! {
        ended = run(&arguments) => ended,
        interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
    }
}

async fn run(arguments: &[&str]) -> Result<(), Failure> {
    match *arguments {
        ["compare"] => compare::compare().await,
        [] | ["serve"] => serve("gate", "127.0.0.1:3000", None).await,
        ["serve", which] => serve(which, "127.0.0.1:3000", None).await,
        ["serve", which, address] => serve(which, address, None).await,
        ["serve", which, address, directory] => serve(which, address, Some(directory.into())).await,
        _ => Err(USAGE.into()),
    }
}

async fn serve(which: &str, address: &str, directory: Option<PathBuf>) -> Result<(), Failure> {
    let cluster = match directory {
        Some(_) => None,
        None => Some(Cluster::start(SETTINGS.pool).await?),
    };
    let own = cluster.as_ref().map(|cluster| cluster.directory().to_owned());
    let directory = directory.or(own).ok_or(USAGE)?;
    let app = app(which, &directory).await?;
    let listener = listen::bind(address.parse::<SocketAddr>()?)?;
    println!("listening on {}", listener.local_addr()?);
    Ok(listen::serve(listener, listen::CONNECTIONS, app).await?)
}

async fn app(which: &str, directory: &Path) -> Result<axum::Router, Failure> {
    let pool = service::open(directory, SETTINGS).await?;
    match which {
        "gate" => Ok(service::behind_gate(&service::gate(pool, SETTINGS)?, SETTINGS, directory)),
        "pool" => Ok(service::pool_alone(pool, SETTINGS)),
        "care" => Ok(service::pool_with_care(pool, SETTINGS)),
        _ => Err(USAGE.into()),
    }
}
