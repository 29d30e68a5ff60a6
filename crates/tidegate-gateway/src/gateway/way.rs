//! One request from its head to its answer.
//!
//! The future is dropped when the client goes; what must then be done is in the `Drop` of what it holds: the ticket
//! leaves the queue, the exchange tells the origin, the record counts.

use std::sync::Arc;

use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, request, response};
use http_body::Body;
use hyper::upgrade::OnUpgrade;
use tidegate::http::Problem;
use tidegate::{Admission, Criticality, Demand, Permit, Readiness, Reason};
use tidegate_control::sample::Outcome;
use tokio::time::Instant;

use crate::body::{BoxError, ClientBody};
use crate::classify::{criticality_of, kind_of, time_left};
use crate::listen::{Client, Protocol};
use crate::memory::{TUNNEL, Tier};
use crate::observe::Stage;
use crate::origin::{OriginErrorKind, ReplyBody, RequestBody};
use crate::refuse::{Audience, is_grpc, no_memory, no_place_for_a_stream, problem_of};
use crate::relay::fields::Fields;
use crate::relay::load::take_report;
use crate::relay::{headers, tunnel};

use super::Gateway;
use super::ahead;
use super::answer::{Answer, Relay, stream_watch};
use super::in_flight::{InFlight, of_status};
use super::record::Record;
use super::stop::Stop;

/// A request as it came.
struct Heard {
    head: request::Parts,
    fields: Fields,
    body: ClientBody,
}

/// What a request became at the origin.
struct Passed {
    head: response::Parts,
    body: ReplyBody,
    permit: Option<Permit>,
    stream: Option<Permit>,
    outcome: Outcome,
    may_stream: bool,
}

/// Answers a request.
pub(super) async fn go(
    gateway: Arc<Gateway>,
    request: Request<ClientBody>,
    client: Arc<Client>,
) -> Response<Answer> {
    let (head, body) = request.into_parts();
    let fields = Fields::of(&head.headers);
    let told = fields.has(Fields::AUDIENCE | Fields::CONTENT_TYPE);
    let audience = if told { Audience::of(&head.method, &head.headers) } else { Audience::Program };
    let class = if fields.has(Fields::CLASS) { criticality_of(&head.headers) } else { Criticality::Critical };
    let left = if fields.has(Fields::TIME) { time_left(&head.headers) } else { None };
    let patience = left.unwrap_or(gateway.settings.client_timeout);
    let mut record = Record::begin(&gateway, &head, &client, class, patience);
    let kind = kind_of(&head.method, head.uri.path());
    let mut demand = Demand::ONE.class(class).kind(kind).patience(patience);
    if let Some(deadline) = left.and_then(|left| Instant::now().checked_add(left)) {
        demand = demand.deadline(deadline);
    }
    let heard = Heard { head, fields, body };
    match pass(&gateway, heard, &client, demand, kind, &mut record).await {
        Ok(Passed { head, body, permit, stream, outcome, may_stream }) => {
            let status = head.status;
            gateway.metrics.response(status);
            record.enters(Stage::Answering);
            let becomes_stream = may_stream.then(|| stream_watch(&gateway.streams));
            let body = Some(body);
            let (unread, watched) = (Arc::clone(&gateway.unread), None);
            let relay =
                Relay { body, permit, watched, unread, outcome, stream, becomes_stream, record, status };
            // HTTP/1 asks for the first bytes at once; HTTP/2 only if the client gives credit.
            Response::from_parts(head, Answer::relay(relay, client.protocol == Protocol::Http2))
        }
        Err(Stop::Refused(problem)) => {
            record.finish(problem.status, Some(problem.reason));
            gateway.say(&problem, audience)
        }
        // The record counts it as it is dropped.
        Err(Stop::Left(problem)) => audience.answer(&problem).map(Answer::whole),
    }
}

async fn pass(
    gateway: &Arc<Gateway>,
    Heard { mut head, fields, mut body }: Heard,
    client: &Arc<Client>,
    demand: Demand,
    kind: u8,
    record: &mut Record,
) -> Result<Passed, Stop> {
    if head.method == Method::CONNECT {
        let detail = "CONNECT is for forward proxies; this is a gateway before one service.";
        return Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, Reason::Malformed, detail).into());
    }
    let grpc = fields.has(Fields::CONTENT_TYPE) && is_grpc(&head.headers);
    if grpc {
        body.without_pace();
    }
    // HTTP/2 has no such upgrade, so an origin that is spoken to in it is not asked.
    let may_upgrade = !gateway.origin.speaks_http2() && fields.has(Fields::UPGRADE) && wants_upgrade(&head);
    let client_upgrade = head.extensions.remove::<OnUpgrade>().filter(|_| may_upgrade);
    let sized = fields.has(Fields::CONTENT_LENGTH);
    let declared =
        if sized && !grpc && !fields.has(Fields::EXPECT) { declared_length(&head.headers) } else { None };
    let bypasses = gateway.settings.bypass.iter().any(|path| path == head.uri.path());
    let trusted = gateway.settings.trusted_proxies.contains(client.peer.ip());
    gateway
        .to_origin
        .rewrite(&mut head, client, fields, trusted, client_upgrade.is_some())
        .map_err(|unfit| Problem::new(StatusCode::BAD_REQUEST, Reason::Malformed, unfit.0))?;

    if !gateway.origin.speaks_http2() && !body.is_end_stream() && !sized {
        // Said here, or hyper would send a GET without its body.
        head.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }

    let (body, permit) = if bypasses {
        gateway.metrics.bypassed();
        let body = RequestBody::new(Default::default(), body);
        (body, gateway.bypass.try_acquire(demand).map_err(|refused| problem_of(&refused))?)
    } else {
        enter(gateway, body, declared, demand, record).await?
    };
    record.admitted(&permit);
    let exchange = gateway.origin.send(Request::from_parts(head, body));
    let in_flight = InFlight::new(gateway, exchange, permit, kind);
    let (mut reply, mut permit) = in_flight.answered().await.map_err(|error| {
        tracing::debug!(%error, "no answer of the origin");
        match error.kind() {
            OriginErrorKind::ClientBody => Stop::of_body(&BoxError::from(error)),
            _ => Problem::from(&error).into(),
        }
    })?;

    let upgraded = reply.head.status == StatusCode::SWITCHING_PROTOCOLS;
    let mut stream = None;
    let fields = Fields::of(&reply.head.headers);
    if fields.has(Fields::LOAD) {
        gateway.hear(take_report(&mut reply.head.headers), permit.as_mut());
    }
    let typed = fields.has(Fields::CONTENT_TYPE);
    let endless = (typed && is_endless(&reply.head.headers)) || (grpc && reply.body.still_sending());
    if upgraded || endless {
        let place = gateway.streams.try_acquire(1);
        stream = Some(place.map_err(|refused| no_place_for_a_stream(&refused, grpc))?);
        if let Some(permit) = permit.take() {
            permit.ignore();
        }
        reply.body.without_pace();
    } else if grpc {
        reply.body.without_pace();
    }
    if upgraded {
        let origin_upgrade = reply.head.extensions.remove::<OnUpgrade>();
        let (Some(ours), Some(theirs)) = (client_upgrade, origin_upgrade) else {
            let detail = "The service changed the protocol without being asked.";
            return Err(Problem::new(StatusCode::BAD_GATEWAY, Reason::OriginDown, detail).into());
        };
        let held = match &client.account {
            None => None,
            Some(account) => match account.charge(TUNNEL, Tier::First) {
                None => {
                    account.memory().refused();
                    return Err(no_memory().into());
                }
                held => held,
            },
        };
        gateway.metrics.upgraded();
        let (gateway, client, stream) = (Arc::clone(gateway), Arc::clone(client), stream.take());
        // One task for each stream permit; the client's connection permit stays out with it.
        tokio::spawn(async move {
            tunnel::run(ours, theirs, &gateway.shutdown).await;
            drop((held, client, stream));
        });
    }
    if client.protocol == Protocol::Http2 {
        reply.body.in_small_reads();
    }
    headers::to_client(&mut reply.head, fields, client.protocol, upgraded);
    let outcome = of_status(reply.head.status);
    let may_stream = grpc && permit.is_some();
    Ok(Passed { head: reply.head, body: reply.body, permit, stream, outcome, may_stream })
}

/// Through the door: the begin of the body, then a permit.
async fn enter(
    gateway: &Arc<Gateway>,
    body: ClientBody,
    declared: Option<u64>,
    demand: Demand,
    record: &mut Record,
) -> Result<(RequestBody, Permit), Stop> {
    let mut waiting_bytes = None;
    let body = match declared.filter(|length| *length > 0 && !body.is_end_stream()) {
        None => RequestBody::new(Default::default(), body),
        Some(length) => {
            // Who would be refused anyway need not send its body first. (A dry run refuses nobody, and counts once.)
            if let (false, Readiness::Saturated { .. }) =
                (gateway.settings.dry_run, gateway.limiter.readiness_for(&demand))
            {
                match gateway.limiter.enqueue(demand.clone()) {
                    Err(refused) => return Err(problem_of(&refused).into()),
                    Ok(Admission::Admitted(permit)) => permit.ignore(),
                    Ok(Admission::Waiting(ticket)) => ticket.decline(),
                }
            }
            let (body, charge) = ahead::read(gateway, body, length).await?;
            waiting_bytes = Some(charge);
            body
        }
    };
    record.enters(Stage::Waiting);
    let admission = gateway.limiter.enqueue(demand).map_err(|refused| problem_of(&refused))?;
    let permit = match admission {
        Admission::Admitted(permit) => permit,
        Admission::Waiting(ticket) => {
            // The gateway's tick, every 10 ms, sees whose time is over.
            let mut ticket = ticket.without_alarm();
            tokio::select! {
                biased;
                admitted = &mut ticket => admitted.map_err(|refused| problem_of(&refused))?,
                () = gateway.shutdown.on_refuse_waiting() => {
                    ticket.decline();
                    let detail = "The gateway is shutting down.";
                    return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, Reason::Draining, detail).into());
                }
            }
        }
    };
    drop(waiting_bytes);
    Ok((body, permit))
}

fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Does an HTTP/1.1 request ask for another protocol (RFC 9110 §7.8)? HTTP/2 in clear is not passed on, not even
/// as one of several: requests inside it would not come through the door.
fn wants_upgrade(head: &request::Parts) -> bool {
    let lists = |field, wanted: &str| {
        head.headers.get_all(field).iter().any(|value| {
            value
                .to_str()
                .is_ok_and(|list| list.split(',').any(|name| name.trim().eq_ignore_ascii_case(wanted)))
        })
    };
    head.version == http::Version::HTTP_11 && !lists(UPGRADE, "h2c") && lists(CONNECTION, "upgrade")
}

/// Server-sent events end when their client leaves, not when the work is done.
fn is_endless(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}
