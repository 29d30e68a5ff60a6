//! [`Admin`]: the pages.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode, request};
use http_body::{Body, Frame, SizeHint};
use tidegate::Readiness;
use tidegate::http::Problem;

use crate::body::{Ahead, BoxError, ClientBody};
use crate::gateway::Gateway;
use crate::listen::{Caller, Client, Fault, Serve};
use crate::refuse::Audience;

/// Answers operators, and orchestrators.
///
/// `/ready` is 503 while the gateway drains. While it is merely saturated it stays 200: else all replicas would
/// leave the load balancer at the moment they are needed. `/ready?saturated` asks for that nevertheless.
#[derive(Debug)]
pub struct Admin {
    gateway: Arc<Gateway>,
    /// Only `/ready` and `/healthz`: others may reach this listener.
    probe_only: bool,
}

impl Admin {
    /// All pages.
    #[must_use]
    pub fn new(gateway: Arc<Gateway>) -> Self {
        Self { gateway, probe_only: false }
    }

    /// `/ready` and `/healthz` only.
    #[must_use]
    pub fn probe(gateway: Arc<Gateway>) -> Self {
        Self { gateway, probe_only: true }
    }

    fn page(&self, method: &Method, path: &str, query: Option<&str>) -> Response<Page> {
        if *method != Method::GET && *method != Method::HEAD {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "These pages are read with GET.\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match path {
            "/healthz" => text(StatusCode::OK, "ok\n"),
            "/ready" => self.ready(query),
            "/metrics" if !self.probe_only => {
                typed(self.gateway.scrape(), "application/openmetrics-text; version=1.0.0; charset=utf-8")
            }
            "/status" if !self.probe_only => {
                let mut body = serde_json::to_string_pretty(&self.gateway.status()).unwrap_or_default();
                body.push('\n');
                typed(body, "application/json")
            }
            _ if self.probe_only => text(StatusCode::NOT_FOUND, "Here are /ready and /healthz.\n"),
            _ => text(StatusCode::NOT_FOUND, "Here are /metrics, /status, /ready and /healthz.\n"),
        }
    }

    fn ready(&self, query: Option<&str>) -> Response<Page> {
        if self.gateway.draining() {
            return text(StatusCode::SERVICE_UNAVAILABLE, "draining\n");
        }
        if query == Some("saturated") {
            if let Readiness::Saturated { .. } = self.gateway.limiter().readiness() {
                return text(StatusCode::SERVICE_UNAVAILABLE, "saturated\n");
            }
        }
        text(StatusCode::OK, "ready\n")
    }
}

impl Serve for Admin {
    type Body = Page;

    fn serve(
        caller: Arc<Caller<Self>>,
        request: Request<ClientBody>,
    ) -> impl Future<Output = Response<Page>> + Send + Unpin + 'static {
        let page = caller.service.page(request.method(), request.uri().path(), request.uri().query());
        std::future::ready(page)
    }

    fn refuse(&self, fault: Fault, _: &Client, _: Option<&request::Parts>) -> Response<Page> {
        Audience::Program.answer(&Problem::from(fault)).map(Page::new)
    }
}

/// A whole body.
#[derive(Debug)]
pub struct Page(Option<Bytes>);

impl Page {
    fn new(body: Bytes) -> Self {
        Self(Some(body).filter(|body| !body.is_empty()))
    }
}

impl Ahead for Page {}

impl Body for Page {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(self.0.take().map(|body| Ok(Frame::data(body))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |body| body.len() as u64))
    }
}

fn text(status: StatusCode, body: &'static str) -> Response<Page> {
    let mut response = typed(body.to_owned(), "text/plain; charset=utf-8");
    *response.status_mut() = status;
    response
}

fn typed(body: String, kind: &'static str) -> Response<Page> {
    let mut response = Response::new(Page::new(Bytes::from(body)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
