//! A run: what is sent, and what every request does.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use http::Uri;
use tokio::net::lookup_host;
use tokio::time::{Instant, sleep, timeout_at};

use super::client::{Answer, Client, Return};
use super::pace;
use super::plan::{Arrivals, Due};
use super::report::{Report, Second, Tally};
use crate::clock::Clock;
use crate::spec::{Leave, Rate};

/// Longest wait for a server's `Retry-After`.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Pause before a retry when the server said nothing, or is not listened to: what a program with a fixed pause
/// in its retry loop does.
pub const NAIVE_PAUSE: Duration = Duration::from_millis(100);

/// What to send.
///
/// ```
/// use std::time::Duration;
/// use tidegate_lab::load::{Crowd, LoadSettings};
///
/// let mut settings = LoadSettings::new("http://127.0.0.1:8000/".parse()?, Crowd::Closed { clients: 20 });
/// settings.duration = Duration::from_secs(3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LoadSettings {
    /// `http://host:port/path`.
    pub target: Uri,
    /// Who sends.
    pub crowd: Crowd,
    /// How long new requests are sent; 10 s.
    pub duration: Duration,
    /// When a client gives an attempt up; 1 s.
    pub timeout: Duration,
    /// Requests in flight at most; those due beyond count as failed. 10,000.
    pub connections: usize,
    /// Clients that give up early; none.
    pub leave: Option<Leave>,
    /// Attempts after the first; none.
    pub retries: u32,
    /// When the next attempt comes; [`Retry::Naive`].
    pub retry: Retry,
    /// Seed of the arrivals; 1.
    pub seed: u64,
}

impl LoadSettings {
    /// The usual for the rest, as `tidegate lab load` has it.
    #[must_use]
    pub fn new(target: Uri, crowd: Crowd) -> Self {
        Self {
            target,
            crowd,
            duration: Duration::from_secs(10),
            timeout: Duration::from_secs(1),
            connections: 10_000,
            leave: None,
            retries: 0,
            retry: Retry::Naive,
            seed: 1,
        }
    }
}

/// Who sends, and when.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Crowd {
    /// An open loop: arrivals that do not wait for answers.
    Open {
        /// Arrivals per second over time.
        rate: Rate,
        /// How they follow each other.
        arrivals: Arrivals,
    },
    /// A closed loop: so many clients, each sending its next request when the last is answered. With a few
    /// more than the service works on at once, it measures what the service can carry.
    Closed {
        /// How many.
        clients: usize,
    },
}

/// When the next attempt comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Retry {
    /// After [`NAIVE_PAUSE`], whatever the server said.
    Naive,
    /// When the server said (a minute at most); not at all where it said that this would not help; after
    /// [`NAIVE_PAUSE`] where it said nothing.
    RetryAfter,
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
/// # Errors
/// If the target cannot be used; what happens to requests is in the report.
pub async fn run(settings: LoadSettings) -> Result<Report, LoadError> {
    Ok(Run::prepare(settings).await?.send().await)
}

/// A run that can be watched while it goes on.
#[derive(Debug)]
pub struct Run(Arc<Shared>);

/// What the requests of a run have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: LoadSettings,
    pub(super) clock: OnceLock<Clock>,
    client: Client,
    tally: Mutex<Tally>,
}

/// Reads a run's figures while it goes on.
#[derive(Clone, Debug)]
pub struct Live(Arc<Shared>);

impl Live {
    /// Second by second, what has ended so far.
    #[must_use]
    pub fn seconds(&self) -> Vec<Second> {
        self.0.tally().seconds()
    }
}

impl Run {
    /// Finds the target; sends nothing yet.
    ///
    /// # Errors
    /// If the target cannot be used.
    pub async fn prepare(settings: LoadSettings) -> Result<Self, LoadError> {
        let client = client(&settings.target).await?;
        let tally = Mutex::new(Tally::new().map_err(LoadError::Histogram)?);
        Ok(Self(Arc::new(Shared { settings, clock: OnceLock::new(), client, tally })))
    }

    /// A window onto the run.
    #[must_use]
    pub fn live(&self) -> Live {
        Live(Arc::clone(&self.0))
    }

    /// Sends the load and reports when every request has ended. Arrivals of an open loop never wait for
    /// answers; latency counts from the moment a request was due. **Cancel safety:** dropped, it sends no
    /// more; requests in flight end on their own.
    pub async fn send(self) -> Report {
        let Self(shared) = self;
        match shared.settings.crowd {
            Crowd::Open { .. } => pace::open(&shared).await,
            Crowd::Closed { clients } => pace::closed(&shared, clients).await,
        }
        shared.tally().report()
    }
}

impl Shared {
    pub(super) fn clock(&self) -> Clock {
        *self.clock.get_or_init(Clock::start)
    }

    /// One request of a client, with its retries.
    pub(super) async fn request(&self, due: Due) {
        let clock = self.clock();
        let (answer, attempts) =
            attempt(&self.client, &self.settings, clock.instant(due.at), due.leaves).await;
        let took = Duration::from_nanos(clock.now()).saturating_sub(due.at);
        self.tally().settle(due.at, answer, took, attempts);
    }

    /// One that could not be sent for want of a connection.
    pub(super) fn unsent(&self, due: Due) {
        self.tally().settle(due.at, Answer::Failed, Duration::ZERO, 0);
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
        let answer = timeout_at(end, client.get(end.saturating_duration_since(Instant::now())))
            .await
            .unwrap_or(at_end);
        if matches!(answer, Answer::Ok | Answer::Left) || attempts > u64::from(settings.retries) {
            return (answer, attempts);
        }
        sleep(match (answer, settings.retry) {
            (Answer::Refused(Return::Never), Retry::RetryAfter) => return (answer, attempts),
            (Answer::Refused(Return::After(after)), Retry::RetryAfter) => after.min(LONGEST_RETRY_AFTER),
            _ => NAIVE_PAUSE,
        })
        .await;
        begin = Instant::now();
    }
}
