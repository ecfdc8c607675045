//! Bodies: read whole within limits of size and silence, or piece by piece within that of silence.

use std::time::{Duration, Instant};

use axum::{
    body::{BodyDataStream, Bytes},
    extract::{FromRequest, Request},
    http::StatusCode,
};
use futures::StreamExt as _;

use crate::Problem;

/// A body as it came, whatever it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body(pub Bytes);

/// A body that is read piece by piece: of any size, but never silent for long, and no trickle.
#[derive(Debug)]
pub struct BodyStream {
    frames: Option<BodyDataStream>,
    limits: BodyLimits,
    /// What came in the current span, and how long it was waited for.
    bytes: usize,
    waited: Duration,
}

/// Limits on reading a body; a request extension that the service sets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimits {
    pub(crate) bytes_max: usize,
    pub(crate) pause_max: Duration,
    /// In so much waiting as much must come as `SPAN_BYTES_MIN`, unless the body ends before.
    pub(crate) span: Duration,
}

/// The least that a body must bring in each span: who sends less would hold a stream for ever.
const SPAN_BYTES_MIN: usize = 64 << 10;

impl Default for BodyLimits {
    fn default() -> Self {
        Self {
            bytes_max: 1 << 20,
            pause_max: Duration::from_secs(5),
            span: Duration::from_secs(30),
        }
    }
}

/// So much of a refused body is read and thrown away, so that the caller, who may still be
/// sending, sees the refusal and not a broken connection.
const DISCARD_BYTES_MAX: usize = 4 << 20;

impl<S: Sync> FromRequest<S> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let limits = request.extensions().get::<BodyLimits>().copied().unwrap_or_default();
        read(BodyStream::from_request(request, state).await?, limits.bytes_max).await.map(Self)
    }
}

impl<S: Sync> FromRequest<S> for BodyStream {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        let limits = request.extensions().get::<BodyLimits>().copied().unwrap_or_default();
        let frames = request.into_body().into_data_stream();
        Ok(Self { frames: Some(frames), limits, bytes: 0, waited: Duration::ZERO })
    }
}

impl BodyStream {
    /// The next piece; none at the end. Nothing follows a failure.
    pub async fn next(&mut self) -> Option<Result<Bytes, Problem>> {
        let (pause_max, asked) = (self.limits.pause_max, Instant::now());
        let failure = match tokio::time::timeout(pause_max, self.frames.as_mut()?.next()).await {
            Ok(Some(Ok(frame))) if self.is_quick(asked.elapsed(), frame.len()) => {
                return Some(Ok(frame));
            }
            Ok(Some(Ok(_))) => Some(Err(trickling(self.limits.span))),
            Ok(Some(Err(_))) => Some(Err(broken_off())),
            Ok(None) => None,
            Err(_) => Some(Err(too_slow(pause_max))),
        };
        self.frames = None;
        failure
    }

    /// Whether enough came lately, this piece with it. What the reader does between two pieces is
    /// not the sender's time.
    fn is_quick(&mut self, waited: Duration, bytes: usize) -> bool {
        self.waited += waited;
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes >= SPAN_BYTES_MIN {
            (self.bytes, self.waited) = (0, Duration::ZERO);
        }
        self.waited <= self.limits.span
    }

    /// Reads some of a body that is refused, so that the caller, who may still be sending, sees the
    /// refusal and not a broken connection.
    pub async fn discard(mut self) {
        let mut seen: usize = 0;
        while let Some(Ok(frame)) = self.next().await {
            seen = seen.saturating_add(frame.len());
            if seen > DISCARD_BYTES_MAX {
                break;
            }
        }
    }
}

async fn read(mut frames: BodyStream, bytes_max: usize) -> Result<Bytes, Problem> {
    let mut bytes = Vec::new();
    let mut seen: usize = 0;
    while let Some(frame) = frames.next().await {
        let frame = match frame {
            Ok(frame) => frame,
            // Refused already, whatever becomes of the rest.
            Err(_) if seen > bytes_max => break,
            Err(problem) => return Err(problem),
        };
        seen = seen.saturating_add(frame.len());
        if seen <= bytes_max {
            bytes.extend_from_slice(&frame);
        } else if seen > bytes_max.saturating_add(DISCARD_BYTES_MAX) {
            break;
        }
    }
    if seen > bytes_max { Err(too_large(bytes_max)) } else { Ok(bytes.into()) }
}

fn too_slow(pause_max: Duration) -> Problem {
    Problem::new(StatusCode::REQUEST_TIMEOUT, "body-too-slow", "The body came too slowly")
        .detail(format!("nothing of the body came for {} ms", pause_max.as_millis()))
}

fn trickling(span: Duration) -> Problem {
    Problem::new(StatusCode::REQUEST_TIMEOUT, "body-too-slow", "The body came too slowly").detail(
        format!("less than {SPAN_BYTES_MIN} bytes of the body came in {} ms", span.as_millis()),
    )
}

fn broken_off() -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "body-broken-off", "The body broke off")
        .detail("the connection failed before the whole body had come")
}

fn too_large(bytes_max: usize) -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", "The body is too large")
        .detail(format!("at most {bytes_max} bytes are accepted"))
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    type Frame = Result<Bytes, std::io::Error>;

    async fn refusal(
        frames: Vec<Frame>,
        end: impl futures::Stream<Item = Frame> + Send + 'static,
    ) -> (u16, String) {
        let body = axum::body::Body::from_stream(stream::iter(frames).chain(end));
        let mut request = Request::new(body);
        let limits = BodyLimits {
            bytes_max: 4,
            pause_max: Duration::from_millis(10),
            ..BodyLimits::default()
        };
        request.extensions_mut().insert(limits);
        let problem = Body::from_request(request, &()).await.unwrap_err();
        (problem.body().status, problem.body().code.clone())
    }

    fn bytes(text: &'static str) -> Frame {
        Ok(Bytes::from_static(text.as_bytes()))
    }

    #[tokio::test]
    async fn a_body_is_taken_as_it_is() {
        let body = Body::from_request(Request::new("\0 {".into()), &()).await.unwrap();
        assert_eq!(body, Body(Bytes::from_static(b"\0 {")));
    }

    #[tokio::test]
    async fn a_stream_has_no_limit_but_silence() {
        let pieces = stream::iter([bytes("abc"), bytes("def")]).chain(stream::pending());
        let mut request = Request::new(axum::body::Body::from_stream(pieces));
        let limits = BodyLimits {
            bytes_max: 4,
            pause_max: Duration::from_millis(10),
            ..BodyLimits::default()
        };
        request.extensions_mut().insert(limits);
        let mut body = BodyStream::from_request(request, &()).await.unwrap();
        assert_eq!(body.next().await.unwrap().unwrap(), "abc");
        assert_eq!(body.next().await.unwrap().unwrap(), "def");
        assert_eq!(body.next().await.unwrap().unwrap_err().status(), 408);
    }

    #[tokio::test]
    async fn a_stream_that_trickles_is_ended_though_it_is_never_silent() {
        let ticks = || tokio::time::interval(Duration::from_millis(2));
        let pieces = |bytes: usize| {
            stream::unfold((ticks(), 0), move |(mut ticks, sent)| async move {
                ticks.tick().await;
                let piece: Frame = Ok(Bytes::from(vec![b'x'; bytes]));
                (sent < 100).then_some((piece, (ticks, sent + 1)))
            })
        };
        for (bytes, is_ended) in [(1, true), (SPAN_BYTES_MIN, false)] {
            let mut request = Request::new(axum::body::Body::from_stream(pieces(bytes)));
            let (pause_max, span) = (Duration::from_secs(60), Duration::from_millis(50));
            request.extensions_mut().insert(BodyLimits { bytes_max: 4, pause_max, span });
            let mut body = BodyStream::from_request(request, &()).await.unwrap();
            let mut end = None;
            while let Some(piece) = body.next().await {
                end = piece.err();
            }
            assert_eq!(end.map(|problem| problem.status().as_u16()), is_ended.then_some(408));
        }
    }

    #[tokio::test]
    async fn what_comes_too_slowly_or_breaks_off_is_refused() {
        assert_eq!(
            refusal(vec![bytes("a")], stream::pending()).await,
            (408, "body-too-slow".to_owned())
        );
        let gone = stream::iter([Err(std::io::Error::other("gone"))]);
        assert_eq!(refusal(vec![bytes("a")], gone).await, (400, "body-broken-off".to_owned()));
    }

    #[tokio::test]
    async fn what_is_too_large_is_so_whatever_becomes_of_the_rest() {
        let large = || vec![bytes("abc"), bytes("def")];
        let expected = (413, "body-too-large".to_owned());
        assert_eq!(refusal(large(), stream::empty()).await, expected);
        assert_eq!(refusal(large(), stream::pending()).await, expected);
        let gone = stream::iter([Err(std::io::Error::other("gone"))]);
        assert_eq!(refusal(large(), gone).await, expected);
        let endless = stream::repeat_with(|| Ok(Bytes::from(vec![b'x'; 65_536])));
        assert_eq!(refusal(large(), endless).await, expected);
    }
}
