//! How requests are refused, as OpenAPI documents describe it.

use service_kit::ProblemBody;
use utoipa::IntoResponses;

/// Why a record is not read.
#[derive(Debug, IntoResponses)]
pub enum NotRead {
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

/// Why what takes no condition is not read.
#[derive(Debug, IntoResponses)]
pub enum NotFound {
    /// There is nothing of this name
    #[response(status = 404, content_type = "application/problem+json")]
    Unknown(ProblemBody),
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
#[derive(Debug, IntoResponses)]
pub enum NotPut {
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
#[derive(Debug, IntoResponses)]
pub enum NotDeleted {
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
