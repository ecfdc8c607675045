//! Importing many records: read line by line in constant memory, stored batch by batch, refused
//! line by line, and resumable.
//!
//! A batch moves the upload's progress in the transaction that stores its records, so that whatever
//! ends an upload, its next try under the same `Idempotency-Key` goes on after the last line that
//! is done, and counts nothing twice.

use axum::{
    extract::{FromRequest, Request},
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use deadpool_postgres::Pool;
use service_kit::{BodyStream, Problem, streamed};
use utoipa_axum::router::OpenApiRouter;

use crate::{Error, request::idempotency_key};

mod answer;
mod batch;
mod collection;
mod columns;
mod csv;
mod lines;
mod ndjson;
mod progress;
mod reader;
mod run;
mod source;
pub(crate) mod store;

pub use self::{
    answer::{ImportBody, NotImported},
    collection::{Cell, Collection, Column, Outcome, Reference},
};
use self::{
    lines::Format,
    progress::Totals,
    run::{Run, Session},
    source::{Source, foreign},
};

/// A file with records, as it is sent.
#[derive(Debug)]
pub struct Upload {
    format: Format,
    key: Option<String>,
    body: BodyStream,
}

impl<S: Sync> FromRequest<S> for Upload {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let format = format(request.headers());
        let key = idempotency_key(request.headers());
        let body = BodyStream::from_request(request, state).await?;
        match (format, key) {
            (Ok(format), Ok(key)) => Ok(Self { format, key, body }),
            (Err(problem), _) | (_, Err(problem)) => {
                body.discard().await;
                Err(problem)
            }
        }
    }
}

/// Routes that take an [`Upload`], as they must be served: without limits of size and time.
pub fn uploads<S: Clone + Send + Sync + 'static>(routes: OpenApiRouter<S>) -> OpenApiRouter<S> {
    let (routes, document) = routes.split_for_parts();
    OpenApiRouter::with_openapi(document).merge(OpenApiRouter::from(streamed(routes)))
}

/// Stores the records of a file, and answers what became of its lines. Of two lines with the same
/// key the later one holds in the end.
pub async fn import<C: Collection>(
    pool: &Pool,
    collection: &C,
    upload: Upload,
) -> Result<Response, Problem> {
    let Upload { format, key, body } = upload;
    let mut source = Source::new(body);
    match carry_out(pool, collection, &mut source, (format, key.as_deref())).await {
        Ok((id, totals)) => Ok(answer::answer(pool.clone(), id, &totals)),
        Err(problem) => {
            source.discard().await;
            Err(problem)
        }
    }
}

async fn carry_out<C: Collection>(
    pool: &Pool,
    collection: &C,
    source: &mut Source,
    (format, key): (Format, Option<&str>),
) -> Result<(i64, Totals), Problem> {
    let session = Session::open(pool, key).await?;
    let begun = store::begin_import(&session, key, C::TOPIC, format).await?;
    if begun.topic != C::TOPIC || begun.format != format.as_str() {
        return Err(Error::KeyReused.into());
    }
    let id = begun.id;
    let (mut run, mut reader) = Run::new(collection, &session, begun, format);
    let outcome = run.read(&mut reader, source).await;
    let (line, totals) = (run.progress.line, run.progress.totals);
    drop(run);
    outcome.map_err(|problem| interrupted(problem, line, key))?;
    session.answered();
    tracing::info!(
        topic = C::TOPIC,
        lines = totals.lines(),
        refused = totals.refused,
        "imported {} lines into {}",
        totals.lines(),
        C::TOPIC
    );
    Ok((id, totals))
}

/// Says of a failure of the upload or of ours how to go on; a file that is refused says it itself.
fn interrupted(problem: Problem, line: i64, key: Option<&str>) -> Problem {
    let status = problem.status();
    let is_break = [StatusCode::BAD_REQUEST, StatusCode::REQUEST_TIMEOUT].contains(&status);
    if !is_break && !status.is_server_error() {
        return problem;
    }
    let how = match key {
        Some(_) => "send the whole file again with the same Idempotency-Key to go on there",
        None => "send the whole file again: what is stored already stays as it is",
    };
    let said = problem.body().detail.clone().unwrap_or_default();
    // Of what failed at our end nobody knows whether it was done.
    let done = match is_break {
        true => format!("all lines up to line {line} are done, none after it"),
        false => format!("at least all lines up to line {line} are done"),
    };
    problem.detail(format!("{said}; {done}: {how}"))
}

fn format(headers: &HeaderMap) -> Result<Format, Problem> {
    let encoding = headers.get(header::CONTENT_ENCODING).map_or(&b"identity"[..], |v| v.as_bytes());
    if !encoding.eq_ignore_ascii_case(b"identity") {
        return Err(foreign());
    }
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let mut parts =
        given.unwrap_or_default().split(';').map(|part| part.trim().to_ascii_lowercase());
    let format = match parts.next().as_deref() {
        Some("application/x-ndjson") => Format::Ndjson,
        Some("text/csv") => Format::Csv,
        _ => {
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            let title = "The file must be NDJSON or CSV";
            return Err(Problem::new(status, "unsupported-media-type", title)
                .detail("send content-type application/x-ndjson or text/csv"));
        }
    };
    let charset =
        parts.find_map(|part| Some(part.strip_prefix("charset=")?.trim_matches('"').to_owned()));
    match charset.as_deref() {
        None | Some("utf-8" | "utf8" | "us-ascii") => Ok(format),
        Some(_) => Err(foreign()),
    }
}
