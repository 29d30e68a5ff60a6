//! How work ended, read from actix-web's responses and errors.

use actix_web::Error;
use actix_web::dev::ServiceResponse;
use tidegate_control::sample::Outcome;

use crate::http::ByStatus;
use crate::tower::OutcomeOf;

/// An error counts as the response that it becomes.
impl<B> OutcomeOf<ServiceResponse<B>, Error> for ByStatus {
    fn outcome(&self, result: Result<&ServiceResponse<B>, &Error>) -> Outcome {
        let status = match result {
            Ok(response) => response.status(),
            Err(error) => error.as_response_error().status_code(),
        };
        Self::of(status.as_u16())
    }
}
