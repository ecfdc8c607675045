//! The answer to an upload: totals, and every refusal, read page by page while it is sent.

use std::fmt::Write as _;

use axum::{
    body::{Body, Bytes},
    http::header,
    response::{IntoResponse as _, Response},
};
use deadpool_postgres::Pool;
use futures::stream;
use serde::Serialize;
use service_kit::{ProblemBody, chain};
use utoipa::{IntoResponses, ToSchema};

use super::{
    progress::{Refusal, Totals},
    store,
};
use crate::Error;

/// What became of an upload
#[derive(Debug, ToSchema)]
#[schema(as = Import)]
#[expect(dead_code, reason = "describes the answer in documents only")]
pub struct ImportBody {
    /// Lines with a record, each of which is stored, unchanged or refused
    lines: i64,
    /// Records that were created or replaced
    stored: i64,
    /// Records that were equal already
    unchanged: i64,
    /// Lines that were refused
    refused: i64,
    /// Stored or unchanged records that wait for what they speak of
    waiting: i64,
    /// Why lines were refused, in their order; a line may break several rules
    refusals: Vec<RefusalBody>,
}

/// One reason why a line was refused
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Refusal)]
pub(super) struct RefusalBody {
    /// The line, counted from 1 as in the file
    line: i64,
    /// JSON Pointer to the field, empty for the whole line
    field: String,
    /// The rule that it breaks, as one stable word
    code: String,
    /// The rule in words
    reason: String,
}

/// Why an upload is not carried out to its end.
#[derive(Debug, IntoResponses)]
pub enum NotImported {
    /// The upload broke off, or the key is malformed; detail says how to go on
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(ProblemBody),
    /// The file came too slowly; detail says how to go on
    #[response(status = 408, content_type = "application/problem+json")]
    TooSlow(ProblemBody),
    /// An upload with the same key is still running
    #[response(status = 409, content_type = "application/problem+json")]
    StillRunning(ProblemBody),
    /// Neither NDJSON nor CSV, or not in UTF-8; nothing was stored
    #[response(status = 415, content_type = "application/problem+json")]
    OtherType(ProblemBody),
    /// A column is missing or unknown, and nothing was stored; or the key was used for another file
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(ProblemBody),
    /// Our fault; the log names the cause
    #[response(status = 500, content_type = "application/problem+json")]
    Internal(ProblemBody),
    /// Not now; send the file again in a moment, with the same key
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(ProblemBody),
}

/// Where the answer has got to.
struct Sending {
    pool: Pool,
    import: i64,
    after: (i64, i32),
    separator: &'static str,
}

/// 200 with the totals and all refusals of this upload.
pub(super) fn answer(pool: Pool, import: i64, totals: &Totals) -> Response {
    let Totals { stored, unchanged, refused, waiting } = totals;
    let head = format!(
        "{{\"lines\":{},\"stored\":{stored},\"unchanged\":{unchanged},\"refused\":{refused},\
         \"waiting\":{waiting},\"refusals\":[",
        totals.lines()
    );
    let sending = Sending { pool, import, after: (0, 0), separator: "" };
    let pages = stream::try_unfold(Some(sending), async |sending| match sending {
        Some(sending) => page(sending).await.inspect_err(|error| {
            // The answer breaks off, so that nobody takes it for whole.
            tracing::error!(error = chain(error), "could not read the refusals of an import");
        }),
        None => Ok(None),
    });
    let head = stream::once(async { Ok(Bytes::from(head)) });
    let body = Body::from_stream(futures::StreamExt::chain(head, pages));
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

async fn page(mut sending: Sending) -> Result<Option<(Bytes, Option<Sending>)>, Error> {
    let client = sending.pool.get().await?;
    let refusals = store::read_refusals(&client, sending.import, sending.after).await?;
    drop(client);
    let Some(last) = refusals.last() else { return Ok(Some((Bytes::from("]}"), None))) };
    sending.after = (last.line, last.number);
    let mut text = String::new();
    for Refusal { line, field, code, reason, .. } in refusals {
        let body = RefusalBody { line, field, code, reason };
        let body = serde_json::to_string(&body).expect("a refusal has string keys only");
        let separator = std::mem::replace(&mut sending.separator, ",");
        write!(text, "{separator}{body}").expect("text can be written to a string");
    }
    Ok(Some((Bytes::from(text), Some(sending))))
}
