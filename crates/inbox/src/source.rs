//! The relay of one source, as its consumers ask it: sync, feed and snapshot.

use std::time::{Duration, Instant};

use bus::metrics::{Operations, Status};
use bus::{Bus, Peer, Transport};
use bytes::{Bytes, BytesMut};
use contracts::calls::{FeedResponse, SnapshotResponse, SyncRequest, SyncResponse};
use contracts::{Problem, Source, Stream, Topic};
use futures::StreamExt as _;
use http::Method;
use protocol::reader::Position;
use reqwest::RequestBuilder;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{Config, Error};

/// Every answer ends at 1 MiB, so whatever takes longer than this is not coming.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The sidecar's own limit, and four times what a relay packs: what is longer is no answer.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// The relay of one source.
#[derive(Debug, Clone)]
pub(crate) struct Relay {
    source: Source,
    peer: Peer,
    operations: Operations,
}

impl Relay {
    /// Asked directly where a URL is configured, otherwise through the sidecar, if there is one.
    pub(crate) fn of(source: &Source, config: &Config, bus: &Bus) -> Result<Self, Error> {
        let peer = match (config.relay_url(source), bus.transport()) {
            (Some(url), _) => bus.direct(url),
            (None, Transport::Dapr) => bus.peer(config.relay_app_id(source)),
            (None, transport @ (Transport::Redis | Transport::Memory | Transport::None)) => {
                let variable = Config::relay_url_variable(source);
                return Err(Error::Config(format!(
                    "with transport {transport} no sidecar leads to the relay of {source}; \
                     set {variable}"
                )));
            }
        };
        Ok(Self { source: source.clone(), peer, operations: Operations::new() })
    }

    pub(crate) fn name(&self) -> &str {
        self.peer.name()
    }

    /// Tells where the copy stands, and learns where the source is.
    pub(crate) async fn sync(&self, request: &SyncRequest) -> Result<SyncResponse, Error> {
        let path = format!("/sources/{}/sync", self.source);
        let asking = self.peer.request(Method::POST, &path).json(request);
        let body = self.ask("sync", asking).await?;
        self.read(&path, &body)
    }

    /// The bytes of the feed's answer: what follows a position.
    pub(crate) async fn feed(
        &self,
        stream: &Stream,
        position: Position,
        limit: u32,
    ) -> Result<Bytes, Error> {
        let Position { pn, term } = position;
        let path = format!("/streams/{stream}?after={pn}&term={term}&limit={limit}");
        self.ask("feed", self.peer.request(Method::GET, &path)).await
    }

    /// Reads an answer of the feed.
    pub(crate) fn read_feed<'a>(
        &self,
        stream: &Stream,
        body: &'a [u8],
    ) -> Result<FeedResponse<&'a RawValue>, Error> {
        self.read(stream.as_str(), body)
    }

    /// A page of the compacted stream.
    pub(crate) async fn snapshot(
        &self,
        topic: &Topic,
        after: Option<&str>,
        limit: u32,
    ) -> Result<SnapshotResponse, Error> {
        let path = format!("/snapshot/{topic}?limit={limit}");
        let mut request = self.peer.request(Method::GET, &path);
        if let Some(after) = after {
            request = request.query(&[("after", after)]);
        }
        self.read(&path, &self.ask("snapshot", request).await?)
    }

    async fn ask(&self, operation: &'static str, request: RequestBuilder) -> Result<Bytes, Error> {
        let began = Instant::now();
        let answer = self.send(request).await;
        let status = match &answer {
            Ok(_) => Status::Ok,
            Err(Error::Refused { .. }) => Status::Refused,
            Err(_) => Status::Failed,
        };
        self.operations.ended(operation, status, began);
        answer
    }

    async fn send(&self, request: RequestBuilder) -> Result<Bytes, Error> {
        let failed = |source| Error::Call { peer: self.name().to_owned(), source };
        let answer = request.timeout(ANSWER_TIMEOUT).send().await.map_err(failed)?;
        let status = answer.status();
        let mut body = BytesMut::new();
        let mut pieces = answer.bytes_stream();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(failed)?;
            if body.len().saturating_add(piece.len()) > ANSWER_BYTES_MAX {
                return Err(Error::TooLong { peer: self.name().to_owned(), max: ANSWER_BYTES_MAX });
            }
            body.extend_from_slice(&piece);
        }
        let body = body.freeze();
        if status.is_success() {
            return Ok(body);
        }
        let code =
            serde_json::from_slice(&body).map_or_else(|_| "none".to_owned(), |p: Problem| p.code);
        Err(Error::Refused { peer: self.name().to_owned(), status: status.as_u16(), code })
    }

    fn read<'a, T: Deserialize<'a>>(&self, asked: &str, body: &'a [u8]) -> Result<T, Error> {
        serde_json::from_slice(body).map_err(|error| Error::UnreadableAnswer {
            peer: self.name().to_owned(),
            stream: asked.to_owned(),
            reason: error.to_string(),
        })
    }
}
