//! Responses to refused requests: a status and a JSON object with the reason and, where one line of
//! the body is at fault, its number.

use crate::serve::predictor::PredictError;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sluicebox_stream::ingest::Refusal;

/// Maximum length of a reason, in characters.
const LONGEST_REASON: usize = 2000;

/// Reason why a request is refused. Nothing of it was taken.
#[derive(Debug)]
pub struct Refused {
    status: StatusCode,
    error: String,
    line: Option<usize>,
}

impl Refused {
    /// Creates a refusal with a reason.
    pub fn new(status: StatusCode, error: impl Into<String>) -> Self {
        let mut error = error.into();
        if let Some((end, _)) = error.char_indices().nth(LONGEST_REASON) {
            error.truncate(end); // it may quote what the client sent
            error.push('…');
        }
        Self { status, error, line: None }
    }

    /// Creates a refusal with status 400.
    pub fn bad(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    /// Returns whether the client took too long.
    pub fn is_timeout(&self) -> bool {
        self.status == StatusCode::REQUEST_TIMEOUT
    }

    /// Adds the line of the body that is at fault, from 1.
    pub fn at_line(self, line: usize) -> Self {
        Self { line: Some(line), ..self }
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal {
            Refusal::Bad(_) | Refusal::UnknownClass(_) => StatusCode::BAD_REQUEST,
            Refusal::IdReused(_) => StatusCode::CONFLICT,
            Refusal::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::Full | Refusal::Disk(_) => StatusCode::TOO_MANY_REQUESTS,
            Refusal::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, refusal.to_string())
    }
}

impl From<PredictError> for Refused {
    fn from(unanswered: PredictError) -> Self {
        let status = match unanswered {
            PredictError::NoTeacher | PredictError::Busy => StatusCode::SERVICE_UNAVAILABLE,
            PredictError::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, unanswered.to_string())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        tracing::debug!("refused with {}: {}", self.status.as_u16(), self.error);
        let mut body = serde_json::json!({ "error": self.error });
        if let Some(line) = self.line {
            body["line"] = line.into();
        }
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        match self.status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ => {}
        }
        response
    }
}
