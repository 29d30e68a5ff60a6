//! The same service twice, and what its caller learns.
//!
//! *Before*, a semaphore sits inside `handle`: the service is protected, but whoever calls it waits without knowing for how
//! long, as a queue that nobody bounds and nobody can see. *After*, the service can be asked first
//! (`is_ready`), waits are bounded, and who will not be served hears so at once, with a moment to come back; until the pace is
//! known, which takes a second here, at the end of its bounded wait.
//! The two services are those of the article "I'm not feeling the async pressure" (2020), there in Python.
//!
//! ```sh
//! cargo run -p example-semaphore-before-and-after
//! ```

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use tidegate::{Limiter, QueueConfig, Readiness, Refused};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// Requests at a time, and what each takes.
const AT_ONCE: usize = 2;
const WORK: Duration = Duration::from_millis(500);
/// Callers that may wait: as many as are served while a caller has patience.
const PLACES: u64 = 6;
/// Callers, one every [`APART`], each of which gives up after [`PATIENCE`].
const CALLERS: usize = 16;
const APART: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(2);

async fn work() {
    sleep(WORK).await;
}

mod before {
    use super::*;

    /// Protected, and silent.
    pub(super) struct RequestHandlerService {
        semaphore: Semaphore,
    }

    impl RequestHandlerService {
        pub(super) fn new() -> Self {
            Self { semaphore: Semaphore::new(AT_ONCE) }
        }

        /// Waits as long as it takes. A semaphore that is never closed always has a permit in the end.
        pub(super) async fn handle(&self) {
            if let Ok(_permit) = self.semaphore.acquire().await {
                work().await;
            }
        }
    }
}

mod after {
    use super::*;

    /// Protected, and can be asked.
    pub(super) struct RequestHandlerService {
        limiter: Limiter,
    }

    impl RequestHandlerService {
        pub(super) fn new() -> Result<Self, tidegate::ConfigError> {
            // Whoever waits longer than this is not served in time for its patience.
            let queue = QueueConfig::bounded(PLACES).max_wait(PATIENCE - WORK);
            let limiter = Limiter::builder().name("requests").limit(AT_ONCE as u64).queue(queue).build()?;
            Ok(Self { limiter })
        }

        /// What a call would meet now. Waits for nothing and reserves nothing.
        pub(super) fn readiness(&self) -> Readiness {
            self.limiter.readiness()
        }

        /// Would a call be served, at once or after a bounded wait?
        pub(super) fn is_ready(&self) -> bool {
            self.readiness().is_accepting()
        }

        /// Serves, after a bounded wait if need be, or says at once when to come back.
        pub(super) async fn handle(&self) -> Result<(), Refused> {
            let permit = self.limiter.acquire(1).await?;
            work().await;
            permit.success();
            Ok(())
        }
    }
}

/// What one caller learned.
#[derive(Clone, Debug)]
struct Learned {
    /// Before it called.
    asked: String,
    /// In the end.
    heard: String,
    /// How long after its call.
    at: Duration,
    served: bool,
}

async fn call_before(service: &before::RequestHandlerService) -> Learned {
    let begun = Instant::now();
    let served = timeout(PATIENCE, service.handle()).await.is_ok();
    let heard = if served { "served" } else { "nothing, and gave up" }.to_owned();
    Learned { asked: "(cannot ask)".to_owned(), heard, at: begun.elapsed(), served }
}

async fn call_after(service: &after::RequestHandlerService) -> Learned {
    let begun = Instant::now();
    let asked = match service.readiness() {
        _ if !service.is_ready() => "full".to_owned(),
        Readiness::Ready { available } => format!("ready, {available} free"),
        Readiness::Busy { ahead, wait } if wait.samples > 0 => {
            format!("busy, {ahead} ahead, {} ms", wait.expected.as_millis())
        }
        Readiness::Busy { ahead, .. } => format!("busy, {ahead} ahead"),
        _ => "full in this moment".to_owned(),
    };
    let (heard, served) = match timeout(PATIENCE, service.handle()).await {
        Ok(Ok(())) => ("served".to_owned(), true),
        Ok(Err(refused)) => match refused.retry_after() {
            Some(after) => (format!("{}: come back in {} ms", refused.reason(), after.as_millis()), false),
            None => (refused.reason().to_string(), false),
        },
        Err(_) => ("nothing, and gave up".to_owned(), false),
    };
    Learned { asked, heard, at: begun.elapsed(), served }
}

async fn all(calls: Vec<JoinHandle<Learned>>) -> Result<Vec<Learned>, tokio::task::JoinError> {
    let mut learned = Vec::new();
    for call in calls {
        learned.push(call.await?);
    }
    Ok(learned)
}

/// Both services meet the same callers, one service after the other.
async fn compare() -> Result<(Vec<Learned>, Vec<Learned>), Box<dyn std::error::Error>> {
    let service = Arc::new(before::RequestHandlerService::new());
    let mut calls = Vec::new();
    for _ in 0..CALLERS {
        let service = Arc::clone(&service);
        calls.push(tokio::spawn(async move { call_before(&service).await }));
        sleep(APART).await;
    }
    let before = all(calls).await?;

    let service = Arc::new(after::RequestHandlerService::new()?);
    let mut calls = Vec::new();
    for _ in 0..CALLERS {
        let service = Arc::clone(&service);
        calls.push(tokio::spawn(async move { call_after(&service).await }));
        sleep(APART).await;
    }
    let after = all(calls).await?;
    Ok((before, after))
}

fn table(before: &[Learned], after: &[Learned]) -> String {
    let mut text = format!(
        "{:>6} | {:<30} | {:<24} | {}\n",
        "caller", "semaphore: hears", "limiter: asks first", "limiter: hears"
    );
    for (caller, (before, after)) in before.iter().zip(after).enumerate() {
        let told = |learned: &Learned| format!("{:>4} ms {}", learned.at.as_millis(), learned.heard);
        // Writing to a String does not fail.
        let _ = writeln!(text, "{caller:>6} | {:<30} | {:<24} | {}", told(before), after.asked, told(after));
    }
    text
}

/// The longest that anybody waited for a no, or for nothing.
fn longest_in_vain(learned: &[Learned]) -> Duration {
    learned.iter().filter(|learned| !learned.served).map(|learned| learned.at).max().unwrap_or_default()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (before, after) = compare().await?;
    print!("{}", table(&before, &after));
    for (name, learned) in [("semaphore", &before), ("limiter", &after)] {
        println!(
            "{name}: {} of {CALLERS} served; the others heard it after at most {} ms",
            learned.iter().filter(|learned| learned.served).count(),
            longest_in_vain(learned).as_millis(),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn behind_the_limiter_nobody_waits_in_vain() {
        let (before, after) = compare().await.unwrap();
        let served = |learned: &[Learned]| learned.iter().filter(|learned| learned.served).count();
        assert!(longest_in_vain(&before) >= PATIENCE, "a timeout is all that one learns");
        // The pace rests on two windows, and the work takes half a second: it is known when the thirteenth comes.
        assert_eq!(longest_in_vain(&after[12..]), Duration::ZERO, "a no comes at once");
        assert!(longest_in_vain(&after) <= PATIENCE - WORK, "or at the end of a bounded wait");
        assert!(served(&before) == 8 && served(&after) >= 8, "and no fewer are served");
        let told =
            |learned: &Learned| ["queue_full", "expired"].iter().any(|no| learned.heard.starts_with(no));
        assert!(after.iter().all(|learned| learned.served || told(learned)), "{}", table(&before, &after));
        assert_eq!(table(&before, &after).lines().count(), CALLERS + 1);
    }
}
