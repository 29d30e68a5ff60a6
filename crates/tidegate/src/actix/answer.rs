//! A refusal as actix-web's response. What it says is decided in one place, [`RespondWith`]; here its types change:
//! actix-web 4 speaks http 0.2.

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{Error, HttpResponse};
use bytes::Bytes;
use http::Response;

use crate::http::RespondWith;
use crate::refused::Refused;
use crate::tower::OnRefusal;

impl<K> OnRefusal<HttpResponse, Error> for RespondWith<K>
where
    Self: OnRefusal<Response<Bytes>, Error, Error = Error>,
{
    type Error = Error;

    fn refuse(&self, refused: Refused) -> Result<HttpResponse, Error> {
        OnRefusal::<Response<Bytes>, Error>::refuse(self, refused).map(convert)
    }

    fn pass_on(error: Error) -> Error {
        error
    }
}

/// The status, the fields and the body as they are. Both crates allow the same in them, so nothing gets lost.
fn convert(response: Response<Bytes>) -> HttpResponse {
    let (head, body) = response.into_parts();
    let status = StatusCode::from_u16(head.status.as_u16()).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let mut answer = HttpResponse::build(status);
    for (name, value) in &head.headers {
        let name = HeaderName::from_bytes(name.as_str().as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value.as_bytes())) {
            answer.append_header((name, value));
        }
    }
    if body.is_empty() { answer.finish() } else { answer.body(body) }
}
