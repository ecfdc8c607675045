//! Refusals over HTTP: RFC 9457 problems with a stable code and the fields at fault.

use std::borrow::Cow;

use axum::{
    body::{Body, HttpBody as _, to_bytes},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use contracts::{FieldProblem, Invalid};
use opentelemetry::trace::TraceContextExt as _;
use serde_json::{Map, Value, map::Entry};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use validator::{ValidationError, ValidationErrors, ValidationErrorsKind};

/// A refusal that can be returned from a handler.
///
/// A 503 asks the caller to come again in a second; every problem names the trace it happened in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem(Box<contracts::Problem>);

impl Problem {
    /// A problem of this kind; `code` is one stable word, or a few joined by `-`.
    pub fn new(status: StatusCode, code: &str, title: &str) -> Self {
        Self(Box::new(contracts::Problem::new(status.as_u16(), code, title)))
    }

    /// 404: there is no such thing.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found").detail(detail)
    }

    /// 412: the record is not in the state that the caller's condition names.
    pub fn precondition_failed(detail: impl Into<String>) -> Self {
        let title = "The record has changed";
        Self::new(StatusCode::PRECONDITION_FAILED, "precondition-failed", title).detail(detail)
    }

    /// 422: the request can be read but breaks a rule.
    pub fn invalid(detail: impl Into<String>) -> Self {
        let title = "The request breaks a rule";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", title).detail(detail)
    }

    /// 422: this field breaks a rule; `pointer` is a JSON Pointer into the body.
    pub fn refused(pointer: &str, invalid: Invalid) -> Self {
        let what = if pointer.is_empty() { "the whole" } else { pointer };
        Self::invalid(format!("{what} {invalid}")).field(pointer, invalid.code, invalid.reason)
    }

    /// 503: not now; the same request may work in a moment.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        let title = "Not available at the moment";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", title).detail(detail)
    }

    /// 500: our fault. The cause belongs into the log, never into the answer.
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error")
            .detail("the request could not be carried out; the log names the cause")
    }

    /// The same problem with a sentence on this occurrence.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// The same problem with one more field at fault; `pointer` is a JSON Pointer into the body.
    #[must_use]
    pub fn field(
        mut self,
        pointer: impl Into<String>,
        code: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        let (pointer, code, message) = (pointer.into(), code.into(), message.into());
        self.0.errors.push(FieldProblem { pointer, code, message });
        self
    }

    /// The problem as it is written.
    pub fn body(&self) -> &contracts::Problem {
        &self.0
    }

    /// The status it is answered with.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl IntoResponse for Problem {
    fn into_response(mut self) -> Response {
        let status = self.status();
        self.0.trace_id = trace_id(&Span::current());
        let body = serde_json::to_vec(&self.0).expect("a problem has string keys only");
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        let media_type = HeaderValue::from_static(contracts::Problem::MEDIA_TYPE);
        headers.insert(header::CONTENT_TYPE, media_type);
        ask_to_come_again(status, headers);
        response
    }
}

/// So much a problem may hold to be completed; one that holds more was not made here.
const PROBLEM_BYTES_MAX: usize = 1 << 20;

/// Gives a problem that was made without [`Problem`] the same trace and the same headers.
pub(crate) async fn complete(mut response: Response) -> Response {
    let status = response.status();
    let headers = response.headers_mut();
    let media = headers.get(header::CONTENT_TYPE).map_or(&[][..], |value| value.as_bytes());
    if !media.starts_with(contracts::Problem::MEDIA_TYPE.as_bytes()) {
        return response;
    }
    ask_to_come_again(status, headers);
    let bytes = response.body().size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok());
    if bytes.is_none_or(|bytes| bytes > PROBLEM_BYTES_MAX) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // What lies in memory as a whole can be read.
    let body = to_bytes(body, PROBLEM_BYTES_MAX).await.unwrap_or_default();
    let Some(traced) = with_trace(&body) else {
        return Response::from_parts(parts, Body::from(body));
    };
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(traced))
}

/// The same problem with the current trace, where it names none.
fn with_trace(problem: &[u8]) -> Option<Vec<u8>> {
    let trace = trace_id(&Span::current())?;
    let mut problem: Map<String, Value> = serde_json::from_slice(problem).ok()?;
    match problem.entry("trace_id") {
        Entry::Vacant(place) => place.insert(Value::String(trace)),
        Entry::Occupied(_) => return None,
    };
    serde_json::to_vec(&problem).ok()
}

fn ask_to_come_again(status: StatusCode, headers: &mut HeaderMap) {
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.entry(header::RETRY_AFTER).or_insert(HeaderValue::from_static("1"));
    }
}

impl From<ValidationErrors> for Problem {
    fn from(errors: ValidationErrors) -> Self {
        let mut found = Vec::new();
        collect("", &errors, &mut found);
        found.sort_by(|a, b| (&a.pointer, &a.code).cmp(&(&b.pointer, &b.code)));
        let mut problem = Self::invalid("see errors for each field and the rule it breaks");
        problem.0.errors = found;
        problem
    }
}

/// A broken rule of a domain as the validator of bodies tells it.
pub fn broken(invalid: Invalid) -> ValidationError {
    ValidationError::new(invalid.code).with_message(Cow::Owned(invalid.reason))
}

fn collect(at: &str, errors: &ValidationErrors, found: &mut Vec<FieldProblem>) {
    for (name, kind) in errors.errors() {
        // A rule over a whole structure is reported under one of these names.
        let pointer = if name == "__all__" || name.is_empty() {
            at.to_owned()
        } else {
            format!("{at}/{}", escape(name))
        };
        match kind {
            ValidationErrorsKind::Struct(inner) => collect(&pointer, inner, found),
            ValidationErrorsKind::List(items) => {
                for (index, inner) in items {
                    collect(&format!("{pointer}/{index}"), inner, found);
                }
            }
            ValidationErrorsKind::Field(broken) => {
                found.extend(broken.iter().map(|error| field_problem(&pointer, error)));
            }
        }
    }
}

fn field_problem(pointer: &str, error: &ValidationError) -> FieldProblem {
    let message = error
        .message
        .as_ref()
        .map_or_else(|| format!("must satisfy rule {}", error.code), ToString::to_string);
    FieldProblem { pointer: pointer.to_owned(), code: error.code.to_string(), message }
}

/// The trace that a span belongs to, where traces are on.
pub(crate) fn trace_id(span: &Span) -> Option<String> {
    let context = span.context();
    let span = context.span();
    let span = span.span_context();
    span.is_valid().then(|| span.trace_id().to_string())
}

/// One step of a JSON Pointer.
pub(crate) fn escape(step: &str) -> String {
    step.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use validator::Validate as _;

    use super::*;

    #[derive(validator::Validate)]
    struct Shelf {
        #[validate(length(min = 1, message = "must not be empty"))]
        label: String,
        #[validate(nested)]
        boxes: Vec<Carton>,
    }

    #[derive(validator::Validate)]
    struct Carton {
        #[validate(range(min = 1))]
        litres: u32,
    }

    #[test]
    fn every_broken_rule_has_a_pointer() {
        let shelf =
            Shelf { label: String::new(), boxes: vec![Carton { litres: 2 }, Carton { litres: 0 }] };
        let problem = Problem::from(shelf.validate().unwrap_err());
        let found: Vec<_> =
            problem.body().errors.iter().map(|e| (e.pointer.as_str(), e.code.as_str())).collect();
        assert_eq!(found, [("/boxes/1/litres", "range"), ("/label", "length")]);
        assert_eq!(problem.body().errors[1].message, "must not be empty");
    }

    #[test]
    fn a_503_asks_to_come_again() {
        let response = Problem::unavailable("the database is away").into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    }

    #[test]
    fn steps_of_a_pointer_are_escaped() {
        assert_eq!(escape("a/b~c"), "a~1b~0c");
    }
}
