//! How requests are refused, as the document describes it.

use utoipa::{IntoResponses, ToSchema};

/// A refusal, RFC 9457
#[derive(ToSchema)]
#[schema(as = Problem)]
#[expect(dead_code, reason = "describes the answer in the document only")]
pub(super) struct ProblemBody {
    /// Kind of problem, as a reference
    r#type: String,
    /// Kind of problem in a few words
    title: String,
    /// HTTP status
    status: u16,
    /// This occurrence
    detail: Option<String>,
    /// Kind of problem as one stable word
    code: String,
    /// The trace in which it happened
    trace_id: Option<String>,
    /// Fields at fault, where the request breaks a rule
    #[schema(required = false)]
    errors: Vec<FieldBody>,
}

/// One field at fault
#[derive(ToSchema)]
#[schema(as = FieldProblem)]
#[expect(dead_code, reason = "describes the answer in the document only")]
pub(super) struct FieldBody {
    /// JSON Pointer to the field
    pointer: String,
    /// The rule that it breaks, as one stable word
    code: String,
    /// The rule in words
    message: String,
}

/// Why a record is not read.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes the answers in the document only")]
pub(super) enum NotRead {
    /// The condition is malformed
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(ProblemBody),
    /// There is no such record
    #[response(status = 404, content_type = "application/problem+json")]
    Unknown(ProblemBody),
    /// The record is not in the state that the condition names
    #[response(status = 412, content_type = "application/problem+json")]
    Condition(ProblemBody),
    /// The name in the path breaks a rule
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(ProblemBody),
    /// Our fault; the log names the cause
    #[response(status = 500, content_type = "application/problem+json")]
    Internal(ProblemBody),
    /// Not now; come again in a moment
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(ProblemBody),
}

/// Why a record is not stored.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes the answers in the document only")]
pub(super) enum NotPut {
    /// The body is no JSON, or the condition or the key is malformed
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(ProblemBody),
    /// The body came too slowly
    #[response(status = 408, content_type = "application/problem+json")]
    TooSlow(ProblemBody),
    /// A request with the same key is still running
    #[response(status = 409, content_type = "application/problem+json")]
    StillRunning(ProblemBody),
    /// The record is not in the state that the condition names; nothing was stored
    #[response(status = 412, content_type = "application/problem+json")]
    Condition(ProblemBody),
    /// The body is larger than 1 MiB
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(ProblemBody),
    /// The body is not sent as JSON
    #[response(status = 415, content_type = "application/problem+json")]
    OtherType(ProblemBody),
    /// A rule is broken, and errors names each; or the key was used for another request
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(ProblemBody),
    /// Our fault; the log names the cause
    #[response(status = 500, content_type = "application/problem+json")]
    Internal(ProblemBody),
    /// Not now; come again in a moment, with the same key or condition
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(ProblemBody),
}

/// Why a record is not deleted.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes the answers in the document only")]
pub(super) enum NotDeleted {
    /// The condition or the key is malformed
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(ProblemBody),
    /// There is no such record
    #[response(status = 404, content_type = "application/problem+json")]
    Unknown(ProblemBody),
    /// A request with the same key is still running
    #[response(status = 409, content_type = "application/problem+json")]
    StillRunning(ProblemBody),
    /// The record is not in the state that the condition names; nothing was deleted
    #[response(status = 412, content_type = "application/problem+json")]
    Condition(ProblemBody),
    /// The name in the path breaks a rule, or the key was used for another request
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(ProblemBody),
    /// Our fault; the log names the cause
    #[response(status = 500, content_type = "application/problem+json")]
    Internal(ProblemBody),
    /// Not now; come again in a moment, with the same key or condition
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(ProblemBody),
}
