//! One delivery from its position to its commit: the steps of every consumer, in order.

use std::time::Instant;

use chrono::{DateTime, Utc};
use contracts::{Envelope, Header, Stream, Topic};
use deadpool_postgres::{Client, Pool};
use protocol::reader::{Connection, Next, Phase, Position, Road, connect};
use tracing::Instrument as _;

use crate::apply::{Trial, apply};
use crate::batch::Parsed;
use crate::careful::{Careful, Turn};
use crate::error::chain;
use crate::journal::{Clock, Entry, Via};
use crate::lent::Lent;
use crate::metrics::Metrics;
use crate::store::Locked;
use crate::{Error, Monitor, Projection, Transaction, store};

/// What every delivery of a topic goes through, by whatever road it comes.
pub(crate) struct Pipeline<P> {
    pub(crate) topic: Topic,
    pub(crate) pool: Pool,
    pub(crate) projection: P,
    pub(crate) careful: Careful,
    pub(crate) monitor: Monitor,
    pub(crate) metrics: Metrics,
}

/// An envelope, and how it came.
pub(crate) struct Incoming<'a> {
    pub(crate) envelope: &'a Envelope<'a>,
    pub(crate) via: Via,
    pub(crate) received_at: DateTime<Utc>,
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It, or after an unclean stop its first part, is committed: the position stands here.
    Committed(Position),
    /// All of it had been committed before.
    Duplicate,
    /// Numbers before it are missing.
    Early,
    /// It belongs to another past.
    Elsewhere,
    /// Nothing is known of its stream.
    UnknownStream,
    /// The copy takes no changes now.
    Standing(Phase),
}

impl<P: Projection> Pipeline<P> {
    /// Takes a delivery; a record that spoils its batch becomes a case, alone.
    pub(crate) async fn take(&self, incoming: &Incoming<'_>) -> Result<Taken, Error> {
        match self.count(incoming, Trial::Whole).await {
            Err(error) if error.blames_record() => {
                let (stream, error) = (&incoming.envelope.header.stream, chain(&error));
                tracing::warn!(%stream, error, "a batch failed, it is tried record by record");
                self.count(incoming, Trial::EachAlone).await
            }
            outcome => outcome,
        }
    }

    async fn count(&self, incoming: &Incoming<'_>, trial: Trial) -> Result<Taken, Error> {
        let began = Instant::now();
        let outcome = self.attempt(incoming, trial).await;
        match (&outcome, trial) {
            (Ok(_), _) => {}
            // Its records are tried at once, each alone, and counted then.
            (Err(error), Trial::Whole) if error.blames_record() => {
                self.metrics.split(began.elapsed());
            }
            (Err(_), _) => self.metrics.failed(&incoming.envelope.header, began.elapsed()),
        }
        outcome
    }

    async fn attempt(&self, incoming: &Incoming<'_>, trial: Trial) -> Result<Taken, Error> {
        let clock = Clock::start();
        let mut careful = self.careful.enter(&self.pool).await?;
        let client = Lent::from(&self.pool).await?;
        let outcome = self.attempt_on(&client, (clock, &mut careful), incoming, trial).await;
        client.answered();
        outcome
    }

    async fn attempt_on(
        &self,
        client: &Client,
        (mut clock, careful): (Clock, &mut Turn<'_>),
        incoming: &Incoming<'_>,
        trial: Trial,
    ) -> Result<Taken, Error> {
        let header = &incoming.envelope.header;
        let stream = &header.stream;
        let tx = Transaction::new(client);

        // Lock the position, and decide from that row alone what connects. The keys come along
        // where it looks as if it will.
        let keys = self.expects(header).then(|| sorted_keys(incoming.envelope));
        let locking = store::lock_position(&tx, &self.topic, stream, keys.as_deref());
        let Locked { at, stored } = tx.begin_with(locking).await?;
        let Some((position, copy)) = at else {
            return Ok(Taken::UnknownStream);
        };
        if !copy.phase.takes_changes() {
            return Ok(Taken::Standing(copy.phase));
        }
        match connect(&position, header) {
            Connection::From(_) => {}
            Connection::Duplicate => return Ok(Taken::Duplicate),
            Connection::Early => return Ok(Taken::Early),
            Connection::Elsewhere => return Ok(Taken::Elsewhere),
        }
        let first = position.pn.plus(1);
        let (last, trial) = match careful.plan(&tx, stream, (first, header.last)).await? {
            Next::Try(part) => (part.last, trial),
            Next::SetAside => (first, Trial::SetAside),
        };
        clock.locked();

        let tried = async {
            // Parse, then the gate: what is stale needs no validation and no case.
            let parsed = Parsed::changes(incoming.envelope, first, last);
            let written_at = parsed.written_at;
            let stored = match stored {
                Some(stored) => stored,
                None => store::read_versions(&tx, &self.topic, &parsed.keys()).await?,
            };
            let gated = parsed.gate(Road::Change, copy.history, &stored);
            clock.gated();

            // Transform, resolve (one owner writes, so the gate has decided), validate, apply.
            let applying = apply(&tx, &self.projection, Some(stream), gated, trial);
            let settled = applying.instrument(tracing::info_span!("inbox.apply")).await?;
            clock.applied();

            // Versions, cases, dirty keys, journal, position and commit, in one round trip.
            let Incoming { via, received_at, .. } = *incoming;
            let term = header.term;
            let entry = Entry { stream, first, last, term, via, written_at, received_at, clock };
            careful.survive(&tx, stream).await?;
            let confirming = store::settle_and_commit(&tx, &self.topic, &copy, &entry, &settled);
            confirming.instrument(tracing::info_span!("inbox.confirm")).await?;
            Ok::<_, Error>((settled, entry))
        };
        let (settled, entry) = match tried.await {
            Ok(tried) => tried,
            Err(error) => {
                careful.fail(stream).await;
                return Err(error);
            }
        };

        let position = Position { pn: last, term: header.term };
        self.tell(stream, position, &settled, &entry);
        Ok(Taken::Committed(position))
    }

    /// Whether this process saw its stream stand at an envelope's end, or beyond. Enough for a
    /// push, which is a hint: where the database knows less, the next sync tells.
    pub(crate) fn knows(&self, header: &Header) -> bool {
        matches!(self.seen(header), Some(Connection::Duplicate))
    }

    /// Whether an envelope goes on from where this process saw its stream last.
    fn expects(&self, header: &Header) -> bool {
        matches!(self.seen(header), Some(Connection::From(_)))
    }

    /// How an envelope connects to where this process saw its stream last.
    fn seen(&self, header: &Header) -> Option<Connection> {
        let last = self.monitor.stands(&self.topic, &header.stream)?;
        Some(connect(&last, header))
    }

    /// After the commit: whoever waits is woken, and what must not stay unheard is said.
    fn tell(
        &self,
        stream: &Stream,
        position: Position,
        settled: &crate::apply::Settled<'_>,
        entry: &Entry<'_>,
    ) {
        self.monitor.moved(&self.topic, stream, position);
        if settled.is_marked() {
            if let Some(trace) = bus::trace::current() {
                self.monitor.traced().note(stream, (entry.first, entry.last), trace);
            }
            self.monitor.marked();
        }
        self.metrics.batch(settled, entry);
        for case in &settled.cases {
            let (pn, kind, rule) =
                (case.pn.map_or(0, contracts::Pn::get), case.kind.as_str(), case.rule);
            let key = case.key.as_ref().map_or("", |key| key.as_str());
            tracing::warn!(%stream, pn, key, kind, rule, "a record became a case");
        }
        if settled.contradictions > 0 {
            let (first, last) = (entry.first.get(), entry.last.get());
            tracing::error!(
                %stream, first, last, count = settled.contradictions,
                "alarm: changes of a stored version came with another content"
            );
        }
    }
}

/// Those of its readable changes, each once.
fn sorted_keys<'a>(envelope: &'a Envelope<'_>) -> Vec<&'a str> {
    let keys = envelope.changes.iter().flatten().map(|change| change.key.as_str());
    let mut keys = Vec::from_iter(keys);
    keys.sort_unstable();
    keys.dedup();
    keys
}
