//! [`Metrics`]: what is counted while requests pass.

use std::time::Duration;

use http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tidegate::Reason;

use super::spread::Spread;
use super::striped::Tally;

/// Where a request was when its client left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// Its body was still being read.
    Reading,
    /// In the queue.
    Waiting,
    /// At the origin.
    Origin,
    /// The answer was on its way.
    Answering,
}

impl Stage {
    const ALL: [Self; 4] = [Self::Reading, Self::Waiting, Self::Origin, Self::Answering];

    /// The name in metrics and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reading => "reading",
            Self::Waiting => "waiting",
            Self::Origin => "origin",
            Self::Answering => "answering",
        }
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StatusLabel {
    status: &'static str,
}
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StageLabel {
    stage: &'static str,
}
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct HeardLabel {
    believed: &'static str,
}

/// What is counted while requests pass. Names and meanings are in docs/metrics.md.
#[derive(Debug)]
pub struct Metrics {
    requests: Tally,
    responses: [Tally; 5],
    refused: [Counter; Reason::ALL.len()],
    left: [Counter; 4],
    bypassed: Counter,
    upgrades: Counter,
    waited: Spread,
    origin: Spread,
    lingering: Gauge,
    log_lines_lost: Counter,
    load_reports: [Counter; 2],
}

impl Metrics {
    /// Counters at zero, entered in `registry`.
    #[must_use]
    pub fn new(registry: &mut Registry) -> Self {
        let (requests, bypassed, upgrades) = (Tally::default(), Counter::default(), Counter::default());
        let lost: Counter = Counter::default();
        let lingering: Gauge = Gauge::default();
        let (waited, origin) = (Spread::default(), Spread::default());
        let responses = Family::<StatusLabel, Tally>::default();
        let refused = Family::<ReasonLabel, Counter>::default();
        let left = Family::<StageLabel, Counter>::default();
        registry.register("requests", "Requests whose head was read or refused", requests.clone());
        registry.register("responses", "Answers of the origin that were passed on", responses.clone());
        registry.register("refused", "Requests that got an answer of the gateway's own", refused.clone());
        registry.register("clients_left", "Clients that left before they had their answer", left.clone());
        registry.register("bypassed", "Requests that passed without a permit", bypassed.clone());
        registry.register("upgrades", "Connections that became tunnels", upgrades.clone());
        registry.register("wait_seconds", "Time in the queue of admitted requests", waited.clone());
        registry.register("origin_seconds", "Time from admission to the end of the answer", origin.clone());
        registry.register(
            "lingering",
            "Requests whose client has left and that the origin still works on",
            lingering.clone(),
        );
        registry.register("log_lines_lost", "Access log lines that found the log full", lost.clone());
        let load_reports = Family::<HeardLabel, Counter>::default();
        let name = "load_reports";
        registry.register(
            name,
            "Answers in which the origin told how much it has in flight",
            load_reports.clone(),
        );
        let of_status = |status| responses.get_or_create(&StatusLabel { status }).clone();
        Self {
            requests,
            responses: ["1xx", "2xx", "3xx", "4xx", "5xx"].map(of_status),
            refused: Reason::ALL
                .map(|reason| refused.get_or_create(&ReasonLabel { reason: reason.name() }).clone()),
            left: Stage::ALL.map(|stage| left.get_or_create(&StageLabel { stage: stage.name() }).clone()),
            bypassed,
            upgrades,
            waited,
            origin,
            lingering,
            log_lines_lost: lost,
            load_reports: ["false", "true"]
                .map(|believed| load_reports.get_or_create(&HeardLabel { believed }).clone()),
        }
    }

    pub(crate) fn request(&self) {
        self.requests.inc();
    }

    pub(crate) fn response(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        if let Some(counter) = self.responses.get(class) {
            counter.inc();
        }
    }

    pub(crate) fn refused(&self, reason: Reason) {
        if let Some(counter) = self.refused.get(reason.index()) {
            counter.inc();
        }
    }

    pub(crate) fn left(&self, stage: Stage) {
        if let Some(counter) = self.left.get(stage as usize) {
            counter.inc();
        }
    }

    pub(crate) fn bypassed(&self) {
        self.bypassed.inc();
    }

    pub(crate) fn upgraded(&self) {
        self.upgrades.inc();
    }

    pub(crate) fn waited(&self, time: Duration) {
        self.waited.observe(time);
    }

    pub(crate) fn origin(&self, time: Duration) {
        self.origin.observe(time);
    }

    pub(crate) fn lingering(&self, by: i64) {
        self.lingering.inc_by(by);
    }

    pub(crate) fn load_report(&self, believed: bool) {
        let [bad, good] = &self.load_reports;
        if believed { good } else { bad }.inc();
    }

    pub(crate) fn log_line_lost(&self) {
        self.log_lines_lost.inc();
    }

    /// Requests refused for this reason.
    #[must_use]
    pub fn refused_for(&self, reason: Reason) -> u64 {
        self.refused.get(reason.index()).map_or(0, Counter::get)
    }
}
