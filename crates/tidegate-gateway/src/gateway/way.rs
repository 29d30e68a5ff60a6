//! One request from its head to its answer.
//!
//! The future is dropped when the client goes; what must then be done is in the `Drop` of what it holds: the ticket
//! leaves the queue, the exchange tells the origin, the record counts. It is written by hand, because what most requests
//! carry would be moved a dozen times by nested `async` functions.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, request};
use http_body::Body;
use hyper::upgrade::OnUpgrade;
use tidegate::http::Problem;
use tidegate::{Admission, Criticality, Demand, Permit, Reason, Ticket};
use tokio::time::Instant;

use crate::body::{BoxError, ClientBody};
use crate::classify::{criticality_of, kind_of, time_left};
use crate::listen::early::Early;
use crate::listen::{Caller, Protocol};
use crate::memory::Tier;
use crate::observe::Stage;
use crate::origin::interim::Interim;
use crate::origin::{OriginError, OriginErrorKind, Reply, RequestBody};
use crate::refuse::{Audience, is_grpc, no_memory, no_place_for_a_stream, problem_of};
use crate::relay::fields::Fields;
use crate::relay::headers::Unfit;
use crate::relay::load::take_report;
use crate::relay::{forwards, headers, tunnel};

use super::Gateway;
use super::answer::{Answer, Relay};
use super::becomes_stream::BecomesStream;
use super::door::{self, Asks, Reading};
use super::in_flight::{InFlight, of_status};
use super::record::Record;
use super::stop::Stop;

/// One request on its way. Nothing happens before it is polled.
pub(super) struct Way {
    caller: Arc<Caller<Gateway>>,
    at: Place,
    /// After the place, so that what is to be counted of one that leaves is counted when it has left.
    known: Option<Known>,
}

/// Where it is.
enum Place {
    Heard(Request<ClientBody>),
    /// The begin of its body is read.
    Reading(Pin<Box<dyn Reading>>),
    Queue(Ticket, Box<Asks>),
    Origin(InFlight),
    Over,
}

/// What is known of a request when its head is on its way.
struct Known {
    record: Record,
    audience: Audience,
    kind: u8,
    grpc: bool,
    /// Its client may pause in its body.
    open: bool,
    upgrade: Option<OnUpgrade>,
}

/// Answers a request.
pub(super) fn go(caller: Arc<Caller<Gateway>>, request: Request<ClientBody>) -> Way {
    Way { caller, at: Place::Heard(request), known: None }
}

impl Future for Way {
    type Output = Response<Answer>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response<Answer>> {
        let this = self.get_mut();
        loop {
            let done = match &mut this.at {
                Place::Heard(_) => match std::mem::replace(&mut this.at, Place::Over) {
                    Place::Heard(request) => this.begin(request),
                    _ => return Poll::Pending,
                },
                Place::Reading(reading) => match ready!(reading.as_mut().poll(cx)) {
                    Ok((asks, demand)) => this.ask(asks, demand),
                    Err(stop) => Some(this.stop(stop)),
                },
                Place::Queue(ticket, _) => {
                    let admitted = ready!(Pin::new(ticket).poll(cx));
                    match (std::mem::replace(&mut this.at, Place::Over), admitted) {
                        (Place::Queue(_, asks), Ok(permit)) => this.send(*asks, permit, false),
                        (_, Err(refused)) => Some(this.stop(door::stop_of(&refused))),
                        _ => return Poll::Pending,
                    }
                }
                Place::Origin(in_flight) => {
                    let answered = ready!(in_flight.poll_answered(cx));
                    let permit = in_flight.ends(answered.as_ref().err());
                    let stream = in_flight.take_stream();
                    this.at = Place::Over;
                    Some(match (answered, this.known.take()) {
                        (Ok(reply), Some(known)) => this.relay(reply, permit, stream, known),
                        (Err(error), known) => {
                            this.known = known;
                            this.stop(no_answer(error))
                        }
                        _ => return Poll::Pending,
                    })
                }
                Place::Over => return Poll::Pending,
            };
            if let Some(response) = done {
                return Poll::Ready(response);
            }
        }
    }
}

impl Way {
    /// Reads the head, and goes on to the door; or the answer, if there is one already.
    fn begin(&mut self, request: Request<ClientBody>) -> Option<Response<Answer>> {
        let gateway = &self.caller.service;
        let (mut head, mut body) = request.into_parts();
        let fields = Fields::of(&head.headers);
        let told = fields.has(Fields::AUDIENCE | Fields::CONTENT_TYPE);
        let audience = if told { Audience::of(&head.method, &head.headers) } else { Audience::Program };
        let class =
            if fields.has(Fields::CLASS) { criticality_of(&head.headers) } else { Criticality::Critical };
        let left = if fields.has(Fields::TIME) { time_left(&head.headers) } else { None };
        let patience = left.unwrap_or(gateway.settings.client_timeout);
        let record = Record::begin(&self.caller, &head, class, patience);
        let kind = kind_of(&head.method, head.uri.path());
        let grpc = fields.has(Fields::CONTENT_TYPE) && is_grpc(&head.headers);
        let open = grpc && self.carries_calls();
        self.known = Some(Known { record, audience, kind, grpc, open, upgrade: None });
        let mut demand = Demand::ONE.class(class).kind(kind).patience(patience);
        if let Some(deadline) = left.and_then(|left| Instant::now().checked_add(left)) {
            demand = demand.deadline(deadline);
        }
        let bypasses = gateway.settings.bypass.iter().any(|path| path == head.uri.path());
        let early = fields.has(Fields::CONTENT_LENGTH) && !open && !fields.has(Fields::EXPECT) && !bypasses;
        let declared = if early { declared_length(&head.headers) } else { None };
        if let Err(stop) = self.rewrite(&mut head, &mut body, fields, open) {
            return Some(self.stop(stop));
        }
        if let Some(length) = declared.filter(|length| *length > 0 && !body.is_end_stream()) {
            let reading = door::read_ahead(Arc::clone(&self.caller.service), head, body, length, demand);
            self.at = Place::Reading(Box::pin(reading));
            return None;
        }
        let asks = Asks { head, body: RequestBody::new(Default::default(), body), waiting_bytes: None };
        if !bypasses {
            return self.ask(asks, demand);
        }
        match self.caller.service.bypass.try_acquire(demand) {
            Ok(permit) => {
                self.caller.service.metrics.bypassed();
                self.send(asks, permit, true)
            }
            Err(refused) => Some(self.stop(problem_of(&refused).into())),
        }
    }

    /// Turns the head into the one that the origin gets.
    fn rewrite(
        &mut self,
        head: &mut request::Parts,
        body: &mut ClientBody,
        fields: Fields,
        open: bool,
    ) -> Result<(), Stop> {
        if head.method == Method::CONNECT {
            let detail = "CONNECT is for forward proxies; this is a gateway before one service.";
            return Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, Reason::Malformed, detail).into());
        }
        if fields.has(Fields::MAX_FORWARDS) {
            if let Some(last) = forwards::step(&head.method, &mut head.headers).map_err(malformed)? {
                return Err(Stop::Here(Box::new(last)));
            }
        }
        if open {
            body.without_pace();
        }
        let Caller { service: gateway, client } = &*self.caller;
        let http2 = gateway.origin.speaks_http2();
        // HTTP/2 has no such upgrade, so an origin that is spoken to in it is not asked.
        let may_upgrade = !http2 && fields.has(Fields::UPGRADE) && headers::wants_upgrade(head);
        let upgrade = head.extensions.remove::<OnUpgrade>().filter(|_| may_upgrade);
        let trusted = gateway.settings.trusted_proxies.contains(client.peer.ip());
        gateway.to_origin.rewrite(head, client, fields, trusted, upgrade.is_some()).map_err(malformed)?;
        if !http2 && !body.is_end_stream() && !fields.has(Fields::CONTENT_LENGTH) {
            // Said here, or hyper would send a GET without its body.
            head.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        if let (Some(_), Some(known)) = (&upgrade, &mut self.known) {
            known.upgrade = upgrade;
        }
        Ok(())
    }

    /// Can a gRPC call go its way here, so that its client may pause? What else calls itself so is a body like others.
    fn carries_calls(&self) -> bool {
        let Caller { service, client } = &*self.caller;
        client.protocol == Protocol::Http2 && service.origin.speaks_http2()
    }

    /// Asks at the door.
    fn ask(&mut self, asks: Asks, demand: Demand) -> Option<Response<Answer>> {
        if let Some(known) = &mut self.known {
            known.record.enters(Stage::Waiting);
        }
        match self.caller.service.limiter.enqueue(demand) {
            Ok(Admission::Admitted(permit)) => {
                let at_once = asks.waiting_bytes.is_none();
                self.send(asks, permit, at_once)
            }
            Ok(Admission::Waiting(ticket)) => {
                // The gateway's tick, every 10 ms, sees whose time is over.
                self.at = Place::Queue(ticket.without_alarm(), Box::new(asks));
                None
            }
            Err(refused) => Some(self.stop(problem_of(&refused).into())),
        }
    }

    /// From the door to the origin.
    fn send(&mut self, asks: Asks, permit: Permit, at_once: bool) -> Option<Response<Answer>> {
        let Asks { mut head, body, waiting_bytes } = asks;
        drop(waiting_bytes);
        let (mut kind, mut open) = (0, false);
        if let Some(known) = &mut self.known {
            known.record.admitted(&permit, at_once);
            (kind, open) = (known.kind, known.open);
        }
        if let Some(early) = head.extensions.remove::<Early>() {
            head.extensions.insert(Interim::new(move |mut interim| {
                let fields = Fields::of(&interim.headers);
                headers::to_client(&mut interim, fields, Protocol::Http2, false);
                early.tell(interim);
            }));
        }
        let exchange = self.caller.service.origin.send(Request::from_parts(head, body));
        let mut in_flight = InFlight::new(&self.caller, exchange, permit, kind);
        if open {
            in_flight.is_open();
        }
        self.at = Place::Origin(in_flight);
        None
    }

    /// What the client gets of the origin's answer.
    fn relay(
        &mut self,
        mut reply: Reply,
        mut permit: Option<Permit>,
        mut stream: Option<Permit>,
        mut known: Known,
    ) -> Response<Answer> {
        let (status, fields) = (reply.head.status, Fields::of(&reply.head.headers));
        if fields.has(Fields::LOAD) {
            self.caller.service.hear(take_report(&mut reply.head.headers), permit.as_mut());
        }
        let grpc = known.grpc;
        let upgraded = status == StatusCode::SWITCHING_PROTOCOLS;
        let endless = (fields.has(Fields::CONTENT_TYPE) && is_endless(&reply.head.headers))
            || (grpc && reply.body.still_sending());
        if (upgraded || endless) && stream.is_none() {
            match self.leave_the_limiter(&mut reply, &mut permit, &mut known, upgraded) {
                Ok(place) => stream = place,
                Err(stop) => {
                    self.known = Some(known);
                    return self.stop(stop);
                }
            }
        }
        if upgraded || endless || grpc {
            reply.body.without_pace();
        }
        let (gateway, protocol) = (&self.caller.service, self.caller.client.protocol);
        if protocol == Protocol::Http2 {
            reply.body.in_small_reads();
        }
        headers::to_client(&mut reply.head, fields, protocol, upgraded);
        gateway.metrics.response(status);
        known.record.enters(Stage::Answering);
        let relay = Relay {
            outcome: of_status(status),
            becomes_stream: match (grpc, &permit) {
                (true, Some(_)) => BecomesStream::new(&gateway.streams),
                _ => BecomesStream::default(),
            },
            body: Some(reply.body),
            permit,
            watched: None,
            stream,
            record: known.record,
            status,
        };
        // HTTP/1 asks for the first bytes at once; HTTP/2 only if the client gives credit.
        Response::from_parts(reply.head, Answer::relay(relay, protocol == Protocol::Http2))
    }

    /// A tunnel, or an answer without end, goes into the count of streams. The place there, unless a tunnel has it.
    fn leave_the_limiter(
        &mut self,
        reply: &mut Reply,
        permit: &mut Option<Permit>,
        known: &mut Known,
        upgraded: bool,
    ) -> Result<Option<Permit>, Stop> {
        let Caller { service: gateway, client } = &*self.caller;
        let place = gateway.streams.try_acquire(1);
        let stream = place.map_err(|refused| no_place_for_a_stream(&refused, known.grpc))?;
        if let Some(permit) = permit.take() {
            permit.ignore();
        }
        if !upgraded {
            return Ok(Some(stream));
        }
        let (Some(ours), Some(theirs)) = (known.upgrade.take(), reply.head.extensions.remove::<OnUpgrade>())
        else {
            let detail = "The service changed the protocol without being asked.";
            return Err(Problem::new(StatusCode::BAD_GATEWAY, Reason::OriginDown, detail).into());
        };
        let held = match &client.account {
            None => None,
            Some(account) => match account.charge(account.memory().plan().tunnel(), Tier::First) {
                None => {
                    account.memory().refused();
                    return Err(no_memory().into());
                }
                held => held,
            },
        };
        if let Some(account) = &client.account {
            account.keeps_no_request();
        }
        gateway.metrics.upgraded();
        let caller = Arc::clone(&self.caller);
        // One task for each stream permit; the client's connection permit stays out with it.
        tokio::spawn(async move {
            tunnel::run(ours, theirs, &caller.service.shutdown).await;
            drop((held, caller, stream));
        });
        Ok(None)
    }

    /// The answer to what gets none of the origin.
    fn stop(&mut self, stop: Stop) -> Response<Answer> {
        self.at = Place::Over;
        let mut known = self.known.take();
        let audience = known.as_ref().map_or(Audience::Program, |known| known.audience);
        match stop {
            Stop::Refused(problem) => {
                if let Some(known) = &mut known {
                    known.record.finish(problem.status, Some(problem.reason));
                }
                self.caller.service.say(&problem, audience)
            }
            // The record counts it as it is dropped.
            Stop::Left(problem) => audience.answer(&problem).map(Answer::whole),
            Stop::Here(answer) => {
                if let Some(known) = &mut known {
                    known.record.finish(answer.status(), None);
                }
                (*answer).map(Answer::whole)
            }
        }
    }
}

/// Why there is no answer of the origin.
fn no_answer(error: OriginError) -> Stop {
    tracing::debug!(%error, "no answer of the origin");
    match error.kind() {
        OriginErrorKind::ClientBody => Stop::of_body(&BoxError::from(error)),
        _ => Problem::from(&error).into(),
    }
}

fn malformed(unfit: Unfit) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, Reason::Malformed, unfit.0)
}

fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Server-sent events end when their client leaves, not when the work is done.
fn is_endless(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}
