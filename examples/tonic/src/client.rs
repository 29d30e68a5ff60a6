//! A client that hears when to come back, and does.

use std::time::Duration;

use http::uri::PathAndQuery;
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};

use crate::search::{FIND, WATCH};
use crate::text::Text;

async fn ready(channel: &Channel) -> Result<Grpc<Channel>, Status> {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    Ok(grpc)
}

/// One call.
///
/// # Errors
/// What the server answers.
pub(crate) async fn find(channel: &Channel, request: Request<String>) -> Result<String, Status> {
    let path = PathAndQuery::from_static(FIND);
    Ok(ready(channel).await?.unary(request, path, Text).await?.into_inner())
}

/// A call that is answered with a stream.
///
/// # Errors
/// What the server answers.
pub(crate) async fn watch(channel: &Channel, what: &str) -> Result<Streaming<String>, Status> {
    let (path, request) = (PathAndQuery::from_static(WATCH), Request::new(what.to_owned()));
    Ok(ready(channel).await?.server_streaming(request, path, Text).await?.into_inner())
}

/// Longest pause: by then somebody waits no more.
const LONGEST: Duration = Duration::from_secs(30);

/// When the server asks a refused client to come back (gRFC A6); `None` if it does not, or asks it to stay away.
#[must_use]
pub(crate) fn pushback(status: &Status) -> Option<Duration> {
    let refused = matches!(status.code(), Code::Unavailable | Code::ResourceExhausted);
    let said = status.metadata().get("grpc-retry-pushback-ms").filter(|_| refused)?;
    // A negative number says: do not retry. It has 32 bits, and a server's word is no reason to sleep for weeks.
    let milliseconds: i32 = said.to_str().ok()?.parse().ok()?;
    Some(Duration::from_millis(milliseconds.try_into().ok()?).min(LONGEST))
}

/// Calls until it is served, `tries` times at most, and comes back when it was told to. Tells how often it was
/// refused.
///
/// # Errors
/// The last refusal, or whatever else the server answers.
pub(crate) async fn find_patiently(
    channel: &Channel,
    what: &str,
    tries: u32,
) -> Result<(String, u32), Status> {
    let mut refused = 0;
    loop {
        match find(channel, Request::new(what.to_owned())).await {
            Ok(found) => return Ok((found, refused)),
            Err(status) => match pushback(&status) {
                Some(wait) if refused + 1 < tries => tokio::time::sleep(wait).await,
                _ => return Err(status),
            },
        }
        refused += 1;
    }
}
