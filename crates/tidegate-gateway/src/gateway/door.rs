//! The door, for those who cannot go through it at once: the begin of a body is read first, or they wait.

use std::sync::Arc;

use http::{StatusCode, request};
use tidegate::http::Problem;
use tidegate::{Admission, Demand, Permit, Readiness, Reason, Ticket};

use crate::body::ClientBody;
use crate::observe::Stage;
use crate::origin::RequestBody;
use crate::refuse::problem_of;

use super::Gateway;
use super::ahead;
use super::record::Record;
use super::stop::Stop;

/// A request that was let in.
pub(super) struct Entered {
    pub(super) head: request::Parts,
    pub(super) body: RequestBody,
    pub(super) permit: Permit,
}

/// Through the door: the begin of a body of `length` bytes, then a permit.
pub(super) async fn after_body(
    gateway: &Arc<Gateway>,
    head: request::Parts,
    body: ClientBody,
    length: u64,
    demand: Demand,
    record: &mut Record,
) -> Result<Entered, Stop> {
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
    let (body, waiting_bytes) = ahead::read(gateway, body, length).await?;
    record.enters(Stage::Waiting);
    let permit = match gateway.limiter.enqueue(demand).map_err(|refused| problem_of(&refused))? {
        Admission::Admitted(permit) => permit,
        Admission::Waiting(ticket) => wait(gateway, ticket).await?,
    };
    drop(waiting_bytes);
    Ok(Entered { head, body, permit })
}

/// Waits in the queue.
pub(super) async fn wait(gateway: &Gateway, ticket: Ticket) -> Result<Permit, Stop> {
    // The gateway's tick, every 10 ms, sees whose time is over.
    let mut ticket = ticket.without_alarm();
    tokio::select! {
        biased;
        admitted = &mut ticket => admitted.map_err(|refused| problem_of(&refused).into()),
        () = gateway.shutdown.on_refuse_waiting() => {
            ticket.decline();
            let detail = "The gateway is shutting down.";
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, Reason::Draining, detail).into())
        }
    }
}
