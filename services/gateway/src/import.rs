//! Imports: streamed to their owner by plain HTTP, of any length, at the pace at which it takes
//! them.
//!
//! Nothing is gathered here: a piece is read from the caller when the owner has taken the one
//! before. Time is limited in silence only, on both sides.

use std::io;
use std::pin::pin;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, Uri};
use service_kit::{BodyStream, Problem};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::hop::{self, Failure};
use crate::owners::Owner;

/// An owner may be silent for so long while it stores what it has.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// A request has a time limit; this one is never reached.
const NEVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// What is read of a refusal that may not be the owner's own.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;

type Piece = Result<Bytes, io::Error>;

/// Passes an import on, and its answer back.
pub(crate) async fn pass(
    owner: &Owner,
    (uri, headers): (&Uri, &HeaderMap),
    mut body: BodyStream,
) -> Result<Response, Problem> {
    let headers = hop::passed_on(uri, headers)?;
    let (feed, pieces) = mpsc::channel::<Piece>(1);
    let pieces = stream::unfold(pieces, async |mut pieces| {
        let piece = pieces.recv().await?;
        Some((piece, pieces))
    });
    let request = owner.direct.request(http::Method::POST, hop::path(uri)).timeout(NEVER);
    let request = request.body(reqwest::Body::wrap_stream(pieces));
    let mut sending = pin!(hop::execute(request, &headers));
    let mut broken = None;
    let early = tokio::select! {
        answer = &mut sending => Some(answer),
        fed = feed_all(&mut body, feed, &mut broken) => {
            fed.map_err(|failure| failure.problem(&owner.within(SILENCE_MAX)))?;
            None
        }
    };
    if let Some(problem) = broken {
        return Err(problem);
    }
    let answer = match early {
        Some(answer) => {
            // Refused before its end: the caller, who may still be sending, has to see it.
            body.discard().await;
            answer
        }
        None => timeout(SILENCE_MAX, sending).await.map_err(|_| silent(owner))?,
    };
    let answer = answer.map_err(|error| hop::failed(owner, &error).problem(owner))?;
    back(owner, answer).await
}

/// Hands the body over piece by piece. A body that broke off is broken off for the owner too, since
/// an orderly end would make a whole import of its first part.
async fn feed_all(
    body: &mut BodyStream,
    feed: mpsc::Sender<Piece>,
    broken: &mut Option<Problem>,
) -> Result<(), Failure> {
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|problem| {
            *broken = Some(problem);
            io::Error::other("the body broke off")
        });
        match timeout(SILENCE_MAX, feed.send(piece)).await {
            Err(_) => return Err(Failure::Late),
            // The answer says why nobody takes more.
            Ok(Err(_)) => std::future::pending().await,
            Ok(Ok(())) => {}
        }
        if broken.is_some() {
            // Dropped before the road has taken the fault, it were an end.
            let _ = timeout(SILENCE_MAX, feed.closed()).await;
            return Ok(());
        }
    }
    Ok(())
}

async fn back(owner: &Owner, answer: reqwest::Response) -> Result<Response, Problem> {
    let (status, headers) = (answer.status(), answer.headers().clone());
    if status.is_client_error() || status.is_server_error() {
        let body = axum::body::to_bytes(Body::from_stream(heard(answer)), REFUSAL_BYTES_MAX).await;
        let body = body.map_err(|_| Failure::Unusable("broke off").problem(owner))?;
        hop::check(owner, status, &headers, &body).map_err(|failure| failure.problem(owner))?;
        return Ok((status, hop::without_hop_by_hop(&headers), body).into_response());
    }
    let body = Body::from_stream(heard(answer));
    Ok((status, hop::without_hop_by_hop(&headers), body).into_response())
}

/// The answer piece by piece; it breaks off where the owner is silent for too long.
fn heard(answer: reqwest::Response) -> impl futures::Stream<Item = Piece> {
    stream::unfold(answer, async |mut answer| {
        let piece = match timeout(SILENCE_MAX, answer.chunk()).await {
            Ok(Ok(piece)) => Ok(piece?),
            Ok(Err(error)) => Err(io::Error::other(error)),
            Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut)),
        };
        Some((piece, answer))
    })
}

fn silent(owner: &Owner) -> Problem {
    Failure::Late.problem(&owner.within(SILENCE_MAX))
}
