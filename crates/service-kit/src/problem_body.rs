//! A refusal as OpenAPI documents describe it.

use utoipa::ToSchema;

/// A refusal, RFC 9457
#[derive(Debug, ToSchema)]
#[schema(as = Problem)]
#[expect(dead_code, reason = "describes the answer in documents only")]
pub struct ProblemBody {
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
#[derive(Debug, ToSchema)]
#[schema(as = FieldProblem)]
#[expect(dead_code, reason = "describes the answer in documents only")]
pub struct FieldBody {
    /// JSON Pointer to the field
    pointer: String,
    /// The rule that it breaks, as one stable word
    code: String,
    /// The rule in words
    message: String,
}
