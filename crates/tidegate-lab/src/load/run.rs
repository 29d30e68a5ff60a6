//! Sends the plan.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Uri;
use tokio::net::lookup_host;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::client::{Answer, Client};
use super::plan::{Arrivals, Due, Plan};
use super::report::{Report, Tally};
use crate::spec::{Leave, Rate};

/// Longest wait for a server's `Retry-After`.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);

/// What to send.
#[derive(Clone, Debug)]
pub struct LoadSettings {
    /// `http://host:port/path`.
    pub target: Uri,
    /// Arrivals per second over time.
    pub rate: Rate,
    /// How arrivals follow each other.
    pub arrivals: Arrivals,
    /// How long arrivals go on.
    pub duration: Duration,
    /// When a client gives an attempt up.
    pub timeout: Duration,
    /// Requests in flight at most; those due beyond count as failed.
    pub connections: usize,
    /// Clients that give up early.
    pub leave: Option<Leave>,
    /// Attempts after the first.
    pub retries: u32,
    /// Come back when the server said, rather than at once.
    pub obey_retry_after: bool,
    /// Seed of the arrivals.
    pub seed: u64,
}

/// A run could not begin.
#[derive(Debug)]
#[non_exhaustive]
pub enum LoadError {
    /// The target is not one that can be sent to.
    Target(String),
    /// Its name cannot be resolved.
    Resolve(io::Error),
    /// No histogram could be made.
    Histogram(hdrhistogram::CreationError),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Target(target) => {
                write!(f, "`{target}` is not a target: write http://HOST:PORT/PATH")
            }
            Self::Resolve(error) => write!(f, "the target's name cannot be resolved: {error}"),
            Self::Histogram(error) => write!(f, "no histogram: {error}"),
        }
    }
}

impl std::error::Error for LoadError {}

/// Sends the load and reports when every request has ended.
///
/// Arrivals never wait for answers. Latency counts from the moment a request was due.
///
/// # Errors
/// If the target cannot be used; what happens to requests is in the report.
pub async fn run(settings: LoadSettings) -> Result<Report, LoadError> {
    let client = Arc::new(client(&settings.target).await?);
    let tally = Arc::new(Mutex::new(Tally::new().map_err(LoadError::Histogram)?));
    let places = Arc::new(Semaphore::new(settings.connections));
    let settle = |tally: &Mutex<Tally>, due: Due, answer, took, attempts| {
        tally.lock().unwrap_or_else(PoisonError::into_inner).settle(due.at, answer, took, attempts);
    };
    let plan =
        Plan::new(settings.rate.clone(), settings.arrivals, settings.leave, settings.duration, settings.seed);
    let settings = Arc::new(settings);
    let start = Instant::now();
    for due in plan {
        sleep_until(start + due.at).await;
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            settle(&tally, due, Answer::Failed, Duration::ZERO, 0);
            continue;
        };
        let (client, tally, settings) = (Arc::clone(&client), Arc::clone(&tally), Arc::clone(&settings));
        tokio::spawn(async move {
            let (answer, attempts) = attempt(&client, &settings, start + due.at, due.leaves).await;
            settle(&tally, due, answer, (start + due.at).elapsed(), attempts);
            drop(place);
        });
    }
    // All places free: every request has ended.
    let all = u32::try_from(settings.connections).unwrap_or(u32::MAX);
    let _all = places.acquire_many(all).await;
    let report = tally.lock().unwrap_or_else(PoisonError::into_inner).report();
    Ok(report)
}

async fn client(target: &Uri) -> Result<Client, LoadError> {
    let wrong = || LoadError::Target(target.to_string());
    if target.scheme_str() != Some("http") {
        return Err(wrong());
    }
    let authority = target.authority().ok_or_else(wrong)?;
    let port = authority.port_u16().unwrap_or(80);
    let mut addresses =
        lookup_host((authority.host().trim_matches(['[', ']']), port)).await.map_err(LoadError::Resolve)?;
    let address = addresses.next().ok_or_else(wrong)?;
    let path = target.path_and_query().map_or("/", |path| path.as_str());
    Ok(Client::new(address, authority.to_string(), path.to_owned()))
}

/// One request with its retries.
async fn attempt(
    client: &Client,
    settings: &LoadSettings,
    due: Instant,
    leaves: Option<Duration>,
) -> (Answer, u64) {
    let mut attempts = 0;
    let mut begin = due;
    loop {
        attempts += 1;
        let (end, at_end) = match leaves {
            Some(after) if after < settings.timeout => (begin + after, Answer::Left),
            _ => (begin + settings.timeout, Answer::TimedOut),
        };
        let answer = timeout_at(end, client.get()).await.unwrap_or(at_end);
        if matches!(answer, Answer::Ok | Answer::Left) || attempts > u64::from(settings.retries) {
            return (answer, attempts);
        }
        if let (Answer::Refused(Some(after)), true) = (answer, settings.obey_retry_after) {
            sleep(after.min(LONGEST_RETRY_AFTER)).await;
        }
        begin = Instant::now();
    }
}
