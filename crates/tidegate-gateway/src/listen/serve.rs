//! What a listener asks of a service.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, request};

use crate::body::{Ahead, BoxError, ClientBody};
use crate::memory::Account;

use super::Fault;

/// The protocol a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// HTTP/1.0 or 1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// The other end of a connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Client {
    /// Its address.
    pub peer: SocketAddr,
    /// Ours.
    pub local: SocketAddr,
    /// Does it speak TLS?
    pub tls: bool,
    /// What it speaks.
    pub protocol: Protocol,
    /// Its address as `X-Forwarded-For` has it, once for all requests of the connection.
    pub(crate) forwarded_for: HeaderValue,
    /// What is charged to it.
    pub(crate) account: Option<Arc<Account>>,
    /// Whoever keeps the client keeps its place among the connections.
    pub(super) _connection: Arc<tidegate::Permit>,
}

/// A client at a service. One count of references stands for both, and it is the connection's own: the service's would be
/// written by every thread for every request.
#[derive(Debug)]
#[non_exhaustive]
pub struct Caller<S> {
    /// Who answers.
    pub service: Arc<S>,
    /// Who asks.
    pub client: Client,
}

/// Answers requests.
pub trait Serve: Send + Sync + Sized + 'static {
    /// The body of its answers.
    type Body: Ahead<Data = Bytes, Error = BoxError> + Send + Unpin + 'static;

    /// Answers a request. The future, and later the answer's body, is dropped the moment the client goes.
    fn serve(
        caller: Arc<Caller<Self>>,
        request: Request<ClientBody>,
    ) -> impl Future<Output = Response<Self::Body>> + Send + Unpin + 'static;

    /// The answer to what is not a request, or to what there is no memory for; with its head, if that could be read. A
    /// connection that is not let in gets as much of the body as is ready in one piece. An HTTP/1 connection closes after it.
    fn refuse(&self, fault: Fault, client: &Client, head: Option<&request::Parts>) -> Response<Self::Body>;
}
