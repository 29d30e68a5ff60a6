//! One cell: calls of which most are dropped somewhere on their way, beside handles that were asked and then lie
//! idle. Afterwards nothing is held, nobody waits, and a burst of exactly the limit is admitted whole.

use std::fmt::Debug;
use std::future::{Future, poll_fn};
use std::task::Poll;
use std::time::Duration;

use tidegate::tower::BoxError;
use tidegate::{Limiter, QueueConfig};
use tokio::sync::watch;
use tower::{Service, ServiceExt};

const UNITS: u64 = 3;
pub(super) const TASKS: u32 = 6;
/// Far beyond what a busy machine needs: passed only by what hangs.
pub(super) const HANGS: Duration = Duration::from_secs(60);
/// The request that stays inside until the gate opens.
const STAY: u32 = u32::MAX;

/// What the calls of a cell come to in the end.
#[derive(Clone, Debug)]
pub(super) struct Gate(watch::Sender<bool>);

impl Gate {
    /// Takes none, one or two turns of the runtime for its answer; or until the gate opens.
    pub(super) async fn work(self, n: u32) -> Result<u32, BoxError> {
        if n == STAY {
            self.0.subscribe().wait_for(|open| *open).await?;
        } else {
            for _ in 0..n % 3 {
                tokio::task::yield_now().await;
            }
        }
        Ok(n)
    }
}

#[derive(Debug)]
pub(super) struct Cell {
    limiter: Limiter,
    gate: Gate,
    /// Turns after which a call may be dropped, at most.
    turns: u64,
}

impl Cell {
    pub(super) fn new() -> Self {
        let limiter = Limiter::builder().limit(UNITS).queue(QueueConfig::bounded(64)).build().unwrap();
        Self { limiter, gate: Gate(watch::Sender::new(false)), turns: 4 }
    }

    /// Calls take so many turns of the runtime.
    pub(super) fn turns(self, turns: u64) -> Self {
        Self { turns, ..self }
    }

    pub(super) fn limiter(&self) -> Limiter {
        self.limiter.clone()
    }

    pub(super) fn gate(&self) -> Gate {
        self.gate.clone()
    }

    pub(super) fn worker(
        &self,
    ) -> impl Service<u32, Response = u32, Error = BoxError, Future: Send> + Clone + Send + Sync + 'static + use<>
    {
        let gate = self.gate();
        tower::service_fn(move |n| gate.clone().work(n))
    }

    /// Calls `service` until each of the tasks has dropped `cancels` calls, then looks.
    pub(super) async fn holds<S>(&self, service: S, cancels: u32)
    where
        S: Service<u32, Response = u32, Error: Debug + Send, Future: Send> + Clone + Send + 'static,
    {
        let churn = |task| churn(service.clone(), task, cancels, self.turns);
        let tasks: Vec<_> = (0..TASKS).map(|task| tokio::spawn(churn(task))).collect();
        let mut answered = 0;
        let ended = async {
            for task in tasks {
                answered += task.await.unwrap();
            }
        };
        // Where permits get lost each call waits as long as the queue lets it, and is then refused.
        let ended = tokio::time::timeout(2 * HANGS, ended).await;
        assert!(ended.is_ok(), "hardly any call is answered: {:?}", self.limiter.stats());
        assert!(answered > TASKS * cancels / 16, "{answered} answered");
        self.is_empty().await;
        // A call that was reset on its way may still begin, and end when its server hears of it.
        self.reaches("all units are free", |_, _| self.limiter.stats().available == UNITS).await;

        let burst: Vec<_> = (0..UNITS).map(|_| tokio::spawn(service.clone().oneshot(STAY))).collect();
        drop(service);
        self.reaches("a burst of the limit", |held, _| held == UNITS).await;
        assert_eq!(self.limiter.stats().available, 0, "and of no more");
        self.gate.0.send_replace(true);
        for call in burst {
            let answer = tokio::time::timeout(HANGS, call).await.expect("nothing hangs");
            assert_eq!(answer.unwrap().unwrap(), STAY);
        }
        self.is_empty().await;
    }

    /// A Buffer's task still drops what was cancelled in it, a hold may have to lapse, a server has to hear.
    async fn is_empty(&self) {
        self.reaches("nothing held, nobody waiting", |held, waiting| held + waiting == 0).await;
    }

    async fn reaches(&self, what: &str, holds: impl Fn(u64, u64) -> bool) {
        let stats = || self.limiter.stats();
        let reached = async {
            while !holds(stats().in_flight, stats().waiting) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let reached = tokio::time::timeout(HANGS, reached).await;
        reached.unwrap_or_else(|_| panic!("{what}: {:?}", stats()));
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// One call in eight is waited for; the others are dropped if they have not ended after some turns. Only those
/// count that had begun to wait.
async fn churn<S>(service: S, seed: u32, cancels: u32, turns: u64) -> u32
where
    S: Service<u32, Response = u32, Future: Send> + Clone + Send,
{
    let mut random = Random(0x5eed_5eed + u64::from(seed));
    let mut idle = None;
    let (mut answered, mut canceled, mut n) = (0, 0, 0);
    while canceled < cancels {
        n += 1;
        // Calls that end at once, such as those that are shed, must not keep the others from ending.
        tokio::task::yield_now().await;
        if random.below(16) == 0 {
            let mut handle = service.clone();
            let _ = poll_fn(|cx| Poll::Ready(handle.poll_ready(cx).is_ready())).await;
            idle = Some(handle);
        } else if random.below(4) == 0 {
            // Before its hold lapses, or who is shed meanwhile makes most of the calls.
            idle = None;
        }
        let mut call = Box::pin(service.clone().oneshot(n));
        if random.below(8) == 0 {
            if let Ok(answer) = tokio::time::timeout(HANGS, call).await.expect("nothing hangs") {
                assert_eq!(answer, n);
                answered += 1;
            }
            continue;
        }
        let mut ended = false;
        for _ in 0..=random.below(turns) {
            ended = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx).is_ready())).await;
            if ended {
                break;
            }
            tokio::task::yield_now().await;
        }
        if ended {
            answered += 1;
        } else {
            canceled += 1;
        }
    }
    drop(idle);
    answered
}
