//! [`Waiting`]: streams of one HTTP/2 connection for which there is no memory yet.

use std::collections::VecDeque;
use std::task::Context;
use std::time::Duration;

use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use tokio::time::Instant;

use crate::body::Received;
use crate::memory::{Charge, HEAD, HEADS, Tier, head_cost};

use super::credit::{Credit, Place};
use super::room::Chunk;

/// How often it is looked whether there is memory for who waits. What comes back on the same connection is seen at once.
pub(super) const LOOK: Duration = Duration::from_millis(25);

/// Streams that wait, first come, first served. Their heads are charged.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    line: VecDeque<One>,
    /// What those heads take that have no charge of their own.
    heads: u64,
}

/// One that waits.
#[derive(Debug)]
pub(super) struct One {
    pub(super) request: Request<Received>,
    pub(super) respond: SendResponse<Chunk>,
    since: Instant,
    head: u64,
    charge: Option<Charge>,
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.line.len()
    }

    /// The same stream with its place, or none if it has to wait: then it stands in the line. Gives it back if its head has
    /// no place even there.
    pub(super) fn enter(
        &mut self,
        request: Request<RecvStream>,
        respond: SendResponse<Chunk>,
        credit: &mut Credit,
    ) -> Result<Option<(One, Place)>, Box<One>> {
        let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
        let head = head_cost(target, request.headers());
        let request = request.map(|body| credit.body(body));
        let mut one = One { request, respond, since: Instant::now(), head, charge: None };
        if self.line.is_empty() {
            if let Some(place) = one.place(credit) {
                return Ok(Some((one, place)));
            }
        }
        if self.heads + head > HEADS {
            one.charge = credit.account().charge(head, Tier::More);
            if one.charge.is_none() {
                return Err(Box::new(one));
            }
        } else {
            self.heads += head;
        }
        detach(&mut one.request);
        self.line.push_back(one);
        Ok(None)
    }

    /// The next that has its place now.
    pub(super) fn next(&mut self, credit: &mut Credit) -> Option<(One, Place)> {
        let place = self.line.front()?.place(credit)?;
        Some((self.pop()?, place))
    }

    /// The next that has waited for `longest`.
    pub(super) fn overdue(&mut self, longest: Duration) -> Option<One> {
        if self.line.front()?.since.elapsed() < longest { None } else { self.pop() }
    }

    /// Forgets those whose clients have reset them.
    pub(super) fn forget_gone(&mut self, cx: &mut Context<'_>) {
        let heads = &mut self.heads;
        self.line.retain_mut(|one| {
            let gone = one.respond.poll_reset(cx).is_ready();
            if gone && one.charge.is_none() {
                *heads -= one.head;
            }
            !gone
        });
    }

    fn pop(&mut self) -> Option<One> {
        let mut one = self.line.pop_front()?;
        if one.charge.take().is_none() {
            self.heads -= one.head;
        }
        Some(one)
    }
}

/// Copies a head out of the buffers that it was read into: each field keeps all of one alive, however short it is.
fn detach(request: &mut Request<Received>) {
    let copied = request.headers().iter().filter_map(|(name, value)| {
        let name = HeaderName::from_bytes(name.as_str().as_bytes()).ok()?;
        let mut copy = HeaderValue::from_bytes(value.as_bytes()).ok()?;
        copy.set_sensitive(value.is_sensitive());
        Some((name, copy))
    });
    let mut headers = HeaderMap::with_capacity(request.headers().len());
    copied.for_each(|(name, value)| {
        headers.append(name, value);
    });
    *request.headers_mut() = headers;
    if let Ok(target) = request.uri().to_string().parse() {
        *request.uri_mut() = target;
    }
}

impl One {
    fn place(&self, credit: &mut Credit) -> Option<Place> {
        credit.place(self.head.saturating_sub(HEAD), self.request.body().is_counted())
    }
}
