//! [`Record`]: what is known of a request, for metrics and the log.

use std::sync::Arc;
use std::time::Duration;

use http::{StatusCode, request};
use tidegate::http::Problem;
use tidegate::{Criticality, Permit, Reason};
use tokio::time::Instant;

use crate::classify::criticality_of;
use crate::listen::{Caller, Client};
use crate::observe::{Line, Stage};

use super::Gateway;

/// A request from its head to its end. Dropped before [`finish`](Self::finish), it counts as left by its client.
#[derive(Debug)]
pub(super) struct Record {
    caller: Arc<Caller<Gateway>>,
    started: Instant,
    /// When it went to the origin. A permit's own time is not measured where a fixed limit has room.
    sent: Option<Instant>,
    patience: Duration,
    stage: Stage,
    over: bool,
    /// Only if there is a log.
    line: Option<Box<Line>>,
}

/// The status of a request whose client left, as nginx has it.
const LEFT: u16 = 499;

impl Record {
    pub(super) fn begin(
        caller: &Arc<Caller<Gateway>>,
        head: &request::Parts,
        class: Criticality,
        patience: Duration,
    ) -> Self {
        let Caller { service: gateway, client } = &**caller;
        gateway.metrics.request();
        let line = gateway.log.as_ref().map(|_| {
            let (method, path) = (head.method.to_string(), head.uri.path().to_owned());
            Box::new(Line::new(client.peer, method, path, class.name()))
        });
        let started = Instant::now();
        Self {
            caller: Arc::clone(caller),
            started,
            sent: None,
            patience,
            stage: Stage::Reading,
            over: false,
            line,
        }
    }

    /// Where it is answered.
    pub(super) fn gateway(&self) -> &Arc<Gateway> {
        &self.caller.service
    }

    /// The request is in this stage now.
    pub(super) fn enters(&mut self, stage: Stage) {
        self.stage = stage;
    }

    /// The request was admitted; `at_once` spares another look at the clock.
    pub(super) fn admitted(&mut self, permit: &Permit, at_once: bool) {
        self.stage = Stage::Origin;
        self.sent = Some(if at_once { self.started } else { Instant::now() });
        let waited = permit.waited();
        self.gateway().metrics.waited(waited);
        if let Some(line) = &mut self.line {
            line.waited_ms = Line::millis(waited);
        }
    }

    /// The origin is done with it. False if its client has given up by now.
    pub(super) fn served(&mut self) -> bool {
        let now = Instant::now();
        let held = self.sent.map_or(Duration::ZERO, |sent| now.saturating_duration_since(sent));
        self.gateway().metrics.origin(held);
        if let Some(line) = &mut self.line {
            line.origin_ms = Line::millis(held);
        }
        now.saturating_duration_since(self.started) <= self.patience
    }

    /// The request has its answer.
    pub(super) fn finish(&mut self, status: StatusCode, reason: Option<Reason>) {
        self.end(status.as_u16(), reason.map(Reason::name));
    }

    fn end(&mut self, status: u16, reason: Option<&'static str>) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        if let Some(mut line) = self.line.take() {
            line.total_ms = Line::millis(self.started.elapsed());
            write(self.gateway(), &mut line, status, reason);
        }
    }
}

/// Counts what the listener refuses before it is a request, and gives it its line. What is not known of it is `-` there.
pub(super) fn refused(gateway: &Gateway, client: &Client, head: Option<&request::Parts>, problem: &Problem) {
    gateway.metrics.request();
    if gateway.log.is_some() {
        let unknown = || "-".to_owned();
        let method = head.map_or_else(unknown, |head| head.method.to_string());
        let path = head.map_or_else(unknown, |head| head.uri.path().to_owned());
        let class = head.map_or("-", |head| criticality_of(&head.headers).name());
        let mut line = Line::new(client.peer, method, path, class);
        write(gateway, &mut line, problem.status.as_u16(), Some(problem.reason.name()));
    }
}

fn write(gateway: &Gateway, line: &mut Line, status: u16, reason: Option<&'static str>) {
    (line.status, line.reason) = (status, reason);
    if gateway.log.as_ref().is_some_and(|log| !log.write(line)) {
        gateway.metrics.log_line_lost();
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.over {
            self.gateway().metrics.left(self.stage);
            self.end(LEFT, Some(self.stage.name()));
        }
    }
}
