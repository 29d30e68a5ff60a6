//! [`Gateway`]: the limiter, the origin, and what is seen of them.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, request};
use prometheus_client::registry::Registry;
use tidegate::http::Problem;
use tidegate::limit::Knee;
use tidegate::{ConfigError, Limiter, LimiterStats, Permit, QueueConfig, Reason};
use tokio::time::{MissedTickBehavior, interval};

use crate::body::ClientBody;
use crate::listen::{Caller, Client, Fault, Serve, Shutdown};
use crate::memory::{Memory, MemoryFacts};
use crate::observe::{AccessLog, MemoryStatus, Metrics, Snapshot, Status, Why};
use crate::origin::{Origin, OriginFacts};
use crate::refuse::Audience;
use crate::relay::headers::ToOrigin;
use crate::relay::load::Report;

use super::answer::Answer;
use super::settings::{GatewaySettings, LimitChoice};
use super::unread::Unread;
use super::{record, way};

/// How often the limiter hears that time goes by; its algorithms expect 10 ms or so.
const TICK: Duration = Duration::from_millis(10);
/// Idle connections to the origin are looked over once in so many ticks: every second.
const SWEEP: u64 = 100;
/// … and the answers that may lie unread every 250 ms.
const LOOK: u64 = 25;

/// The connections, and the addresses, that hold most bytes, of which the status tells so many.
const HOLDERS: usize = 10;

/// Stands before one origin.
#[derive(Debug)]
pub struct Gateway {
    pub(super) limiter: Limiter,
    pub(super) bypass: Limiter,
    pub(super) streams: Limiter,
    pub(super) unread: Arc<Unread>,
    pub(super) origin: Arc<Origin>,
    pub(super) to_origin: ToOrigin,
    pub(super) settings: GatewaySettings,
    pub(super) metrics: Metrics,
    pub(super) log: Option<AccessLog>,
    pub(super) shutdown: Shutdown,
    pub(super) queue_bytes: AtomicU64,
    /// Requests of a dry run whose bodies would not have found room.
    pub(super) would_refuse: AtomicU64,
    registry: Registry,
    connections: OnceLock<Limiter>,
}

impl Gateway {
    /// A gateway before `origin`. Must be made inside a tokio runtime, in which its clock ticks until it is dropped.
    ///
    /// # Errors
    /// If a limit (of requests, streams or those that bypass) is 0 or too large.
    pub fn new(
        settings: GatewaySettings,
        origin: Arc<Origin>,
        log: Option<AccessLog>,
        shutdown: Shutdown,
    ) -> Result<Arc<Self>, ConfigError> {
        let queue = QueueConfig::bounded(settings.max_queue)
            .max_wait(settings.max_wait)
            .patience(settings.client_timeout);
        let builder = Limiter::builder().name("origin").queue(queue).dry_run(settings.dry_run);
        let most = settings.ceiling.unwrap_or(u64::MAX);
        let passive = |knee: Knee| if settings.dry_run { knee.dry_run() } else { knee };
        let limiter = match settings.limit {
            LimitChoice::Adaptive => builder.algorithm(passive(Knee::new().ceiling(most))),
            LimitChoice::Shared => builder.algorithm(passive(Knee::shared().ceiling(most))),
            // Holders are tracked so that service times are learned: predictions and the end of a gone client's work
            // need them. An adaptive limit measures them anyway.
            LimitChoice::Fixed(limit) => builder.limit(limit.min(most)).track_occupants(true),
        }
        .build()?;
        Self::around(limiter, settings, origin, log, shutdown)
    }

    /// The same around a `limiter` that is there already.
    pub(super) fn around(
        limiter: Limiter,
        settings: GatewaySettings,
        origin: Arc<Origin>,
        log: Option<AccessLog>,
        shutdown: Shutdown,
    ) -> Result<Arc<Self>, ConfigError> {
        let bounded = |name: &'static str, limit: u64| {
            let builder = Limiter::builder().name(name).limit(limit).dry_run(settings.dry_run);
            builder.queue(QueueConfig::none()).build()
        };
        let bypass = bounded("bypass", settings.max_bypass)?;
        let streams = bounded("streams", settings.max_streams)?;
        let to_origin = ToOrigin {
            http2: origin.speaks_http2(),
            scheme: origin.address().scheme(),
            authority: origin.address().authority(),
        };
        let gateway = Arc::new_cyclic(|this: &Weak<Self>| {
            let mut registry = Registry::with_prefix("tidegate");
            let metrics = Metrics::new(&mut registry);
            registry.register_collector(Box::new(Snapshot(Weak::clone(this))));
            Self {
                limiter,
                bypass,
                streams,
                unread: Arc::default(),
                origin,
                to_origin,
                settings,
                metrics,
                log,
                shutdown,
                queue_bytes: AtomicU64::new(0),
                would_refuse: AtomicU64::new(0),
                registry,
                connections: OnceLock::new(),
            }
        });
        tokio::spawn(tick(Arc::downgrade(&gateway)));
        Ok(gateway)
    }

    /// Lets status and metrics show these connections, the listener's own.
    pub fn show_connections(&self, connections: Limiter) {
        let _ = self.connections.set(connections); // the first listener's are shown
    }

    /// The limiter before the origin.
    #[must_use]
    pub fn limiter(&self) -> &Limiter {
        &self.limiter
    }

    /// What is counted.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Every metric in the text format of OpenMetrics.
    #[must_use]
    pub fn scrape(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }

    /// Is it shutting down?
    #[must_use]
    pub fn draining(&self) -> bool {
        self.shutdown.draining()
    }

    /// Answers those that still wait: there is no time left for their work.
    pub fn refuse_waiting(&self) {
        self.shutdown.refuse_waiting();
        self.limiter.refuse_waiting();
    }

    /// Figures of the bytes held for peers.
    #[must_use]
    pub fn memory_facts(&self) -> MemoryFacts {
        self.settings.memory.as_ref().map(Memory::facts).unwrap_or_default()
    }

    /// Figures of the connections to the origin.
    #[must_use]
    pub fn origin_facts(&self) -> OriginFacts {
        self.origin.facts()
    }

    /// The gateway at this moment.
    #[must_use]
    pub fn status(&self) -> Status {
        let stats = self.limiter.stats();
        let why = self.limiter.explain();
        let wait = self.limiter.predicted_wait();
        let coverage = self.limiter.coverage();
        let connections = self.connections.get().map(Limiter::stats).unwrap_or_default();
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        let bound = self.settings.ceiling.is_some_and(|most| match self.settings.limit {
            LimitChoice::Fixed(limit) => limit > most,
            LimitChoice::Adaptive | LimitChoice::Shared => why.at_ceiling,
        });
        let refused: BTreeMap<_, _> = Reason::ALL
            .into_iter()
            .map(|reason| (reason.name(), self.metrics.refused_for(reason)))
            .filter(|(_, count)| *count > 0)
            .collect();
        Status {
            origin: self.origin.address().to_string(),
            state: if self.draining() { "draining" } else { "running" },
            dry_run: self.settings.dry_run,
            limit: stats.limit,
            why: Why {
                algorithm: why.algorithm,
                phase: why.phase,
                estimate: why.estimate,
                elasticity: why.elasticity,
                throughput: why.throughput,
                service_ms: why.service.map(|nanos| nanos as f64 / 1e6),
                passive: why.passive,
                bound_by: bound.then_some("open files"),
            },
            in_flight: stats.in_flight,
            peak_in_flight: stats.peak_in_flight,
            waiting: stats.waiting,
            queue_capacity: stats.queue_capacity,
            queue_bytes: self.queue_bytes.load(Relaxed),
            predicted_wait_p50_ms: millis(wait.expected),
            predicted_wait_p90_ms: millis(wait.upper),
            drain_rate: self.limiter.drain_rate(),
            coverage: coverage.share,
            coverage_of: coverage.predicted,
            admitted: stats.admitted,
            expired: stats.expired,
            canceled: stats.canceled,
            would_refuse: self.would_refuse(&stats),
            refused,
            connections: connections.in_flight,
            connections_limit: connections.limit,
            streams: self.streams.stats().in_flight,
            memory: self.settings.memory.as_ref().map(|memory| MemoryStatus {
                facts: memory.facts(),
                top: memory.holders(HOLDERS),
                addresses: memory.parties(HOLDERS),
            }),
        }
    }

    /// What a dry run let pass at each of its doors. Only an endless answer can meet two that are full.
    fn would_refuse(&self, origin: &LimiterStats) -> u64 {
        let doors = [&self.bypass, &self.streams].map(|door| door.stats().would_refuse);
        origin.would_refuse + doors.iter().sum::<u64>() + self.would_refuse.load(Relaxed)
    }

    /// What the origin said of its load goes with the permit to the limiter.
    pub(super) fn hear(&self, report: Report, permit: Option<&mut Permit>) {
        match report {
            Report::None => {}
            Report::InFlight(units) => {
                self.metrics.load_report(true);
                if let Some(permit) = permit {
                    permit.report_in_flight(units);
                }
            }
            Report::Bad => self.metrics.load_report(false),
        }
    }

    /// The answer that says a refusal; counts it.
    pub(super) fn say(&self, problem: &Problem, audience: Audience) -> Response<Answer> {
        self.metrics.refused(problem.reason);
        audience.answer(problem).map(|body: Bytes| Answer::whole(body))
    }
}

impl Serve for Gateway {
    type Body = Answer;

    fn serve(
        caller: Arc<Caller<Self>>,
        request: Request<ClientBody>,
    ) -> impl Future<Output = Response<Answer>> + Send + Unpin + 'static {
        way::go(caller, request)
    }

    fn refuse(&self, fault: Fault, client: &Client, head: Option<&request::Parts>) -> Response<Answer> {
        let problem = Problem::from(fault);
        tracing::debug!(peer = %client.peer, detail = problem.detail, "a head was refused");
        record::refused(self, client, head, &problem);
        let audience = head.map_or(Audience::Program, |head| Audience::of(&head.method, &head.headers));
        self.say(&problem, audience)
    }
}

async fn tick(gateway: Weak<Gateway>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut count: u64 = 0;
    let mut warned = false;
    loop {
        ticks.tick().await;
        let Some(gateway) = gateway.upgrade() else { return };
        gateway.limiter.tick();
        if gateway.shutdown.refuses_waiting() {
            // Also those that have come since.
            gateway.limiter.refuse_waiting();
        }
        count += 1;
        if count % LOOK == 0 {
            gateway.unread.look(&gateway.streams);
        }
        if count % SWEEP == 0 {
            gateway.origin.sweep();
            // Once: whether it still is so, the status tells.
            if !warned && gateway.limiter.explain().phase == "alone" {
                warned = true;
                tracing::warn!(
                    "other gates before this origin do not keep time with this one: do their clocks agree?"
                );
            }
        }
    }
}
