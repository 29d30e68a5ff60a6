//! What may be sent twice.

use http::{Method, Request};

use super::RequestBody;

/// May a request with this method be repeated although its first sending may have had an effect (RFC 9110 §9.2.2)?
pub(super) fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    )
}

/// The same request once more, if its whole body is here.
pub(super) fn copy(request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
    let mut copy = Request::new(request.body().copy()?);
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    copy.headers_mut().clone_from(request.headers());
    Some(copy)
}
