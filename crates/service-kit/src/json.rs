//! JSON bodies: read within limits, checked, and refused with the field and the reason.

use axum::{
    extract::{FromRequest, Request},
    http::{HeaderMap, StatusCode, header},
};
use contracts::Digest;
use serde::de::DeserializeOwned;
use serde_path_to_error::{Path, Segment};
use validator::Validate;

use crate::{Body, Problem, problem::escape};

/// A JSON body that was read and satisfies its rules.
#[derive(Debug, Clone)]
pub struct Json<T> {
    /// What it says.
    pub value: T,
    /// SHA-256 of its bytes as they came, to recognise a repeat.
    pub digest: Digest,
}

impl<T, S> FromRequest<S> for Json<T>
where
    T: DeserializeOwned + Validate,
    S: Sync,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let media_type = require_json(request.headers());
        let body = Body::from_request(request, state).await;
        media_type?;
        let Body(bytes) = body?;
        Ok(Self { value: Self::read(&bytes)?, digest: Digest::of(&bytes) })
    }
}

impl<T: DeserializeOwned + Validate> Json<T> {
    /// What these bytes say, if they are JSON and satisfy its rules.
    pub fn read(bytes: &[u8]) -> Result<T, Problem> {
        let value: T = parse(bytes)?;
        value.validate()?;
        Ok(value)
    }
}

fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = given.map(|text| text.split(';').next().unwrap_or_default().trim());
    match essence {
        Some(essence) if is_json(&essence.to_ascii_lowercase()) => Ok(()),
        _ => Err(unsupported(given)),
    }
}

fn is_json(essence: &str) -> bool {
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

fn unsupported(given: Option<&str>) -> Problem {
    let problem = Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported-media-type",
        "The body must be JSON",
    );
    problem.detail(match given {
        Some(given) => format!("send content-type application/json, not {given:?}"),
        None => "send content-type application/json; there was none".to_owned(),
    })
}

/// Reads JSON; what is wrong is told with a pointer to the field.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // Nearly all is sound; the way to what is not is followed only then, since that costs a third.
    if let Ok(value) = serde_json::from_slice(bytes) {
        return Ok(value);
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| unreadable(error.path(), error.inner()))?;
    json.end().map_err(|error| broken(&error))?;
    Ok(value)
}

fn unreadable(path: &Path, error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
    // The parser counts a number beyond f64 as broken JSON, which it is not.
    if !error.is_data() && message != "number out of range" {
        return broken(error);
    }
    let (pointer, code) = place(&pointer(path), message);
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "The request breaks a rule")
        .detail(format!("{message}, at line {} column {}", error.line(), error.column()))
        .field(pointer, code, message)
}

fn broken(error: &serde_json::Error) -> Problem {
    let detail = error.to_string();
    Problem::new(StatusCode::BAD_REQUEST, "broken-json", "The body is no JSON")
        .field("", "broken-json", detail.clone())
        .detail(detail)
}

/// Serde names an unknown, missing or repeated field in its message only, not in the path.
fn place(pointer: &str, message: &str) -> (String, &'static str) {
    let named = message.split('`').nth(1).unwrap_or_default();
    let field = |code| {
        let step = format!("/{}", escape(named));
        let there = pointer.ends_with(&step);
        (if there { pointer.to_owned() } else { format!("{pointer}{step}") }, code)
    };
    if message.starts_with("unknown field") {
        field("unknown-field")
    } else if message.starts_with("missing field") {
        field("missing-field")
    } else if message.starts_with("duplicate field") {
        field("duplicate-field")
    } else if message.starts_with("invalid type") {
        (pointer.to_owned(), "wrong-type")
    } else {
        (pointer.to_owned(), "invalid-value")
    }
}

fn pointer(path: &Path) -> String {
    path.iter()
        .map(|segment| match segment {
            Segment::Seq { index } => format!("/{index}"),
            Segment::Map { key } => format!("/{}", escape(key)),
            Segment::Enum { variant } => format!("/{}", escape(variant)),
            Segment::Unknown => String::new(),
        })
        .collect()
}

#[cfg(test)]
mod tests;
