//! The body of every refusal over HTTP: RFC 9457 problem details.

use serde::{Deserialize, Serialize};

/// What went wrong, for a program (`code`) and for a person (`title`, `detail`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// A URI reference that names the kind of problem, for example `/problems/diverged`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind of problem in a few words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// This occurrence, in a sentence that says what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The kind of problem as one stable word, for example `diverged`.
    pub code: String,
    /// The trace in which it happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The fields at fault, where the body was refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldProblem>,
}

impl Problem {
    /// The media type of a problem.
    pub const MEDIA_TYPE: &'static str = "application/problem+json";

    /// A problem of this kind; `code` is one stable word or a few joined by `-`.
    pub fn new(status: u16, code: &str, title: &str) -> Self {
        Self {
            kind: format!("/problems/{code}"),
            title: title.to_owned(),
            status,
            detail: None,
            code: code.to_owned(),
            trace_id: None,
            errors: Vec::new(),
        }
    }

    /// The same problem with a sentence on this occurrence.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
}

/// One field at fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldProblem {
    /// JSON Pointer to the field, empty for the whole body.
    pub pointer: String,
    /// The rule that it breaks, as one stable word.
    pub code: String,
    /// The rule in words.
    pub message: String,
}
