//! Ticks: carries out what the lease decides, on a session of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio_postgres::Row;
use uuid::Uuid;

use contracts::{Pn, Stream, Term, Topic};
use protocol::relay::{Input, Lease, Output, Refusal, Seal, Standing};

use super::feed;
use super::session::{Session, tick_settings};
use super::shared::{Head, Reading, Shared};
use super::store::{column, parsed};
use super::{Config, RelayError, Turn};

/// Longest that dialling or taking over may take.
const LEAD_MAX: Duration = Duration::from_secs(5);

/// The one part of a relay that numbers changes.
#[derive(Debug)]
pub(super) struct Ticker {
    settings: tokio_postgres::Config,
    patience: Patience,
    lease: Lease,
    session: Option<Session>,
}

impl Ticker {
    pub(super) fn new(config: &Config, database_url: &SecretString) -> Result<Self, RelayError> {
        Ok(Self {
            settings: tick_settings(database_url)?,
            patience: Patience::new(config.tick_limit()),
            lease: Lease::Standby,
            session: None,
        })
    }

    /// Connects and takes over where needed, then ticks once.
    pub(super) async fn turn(&mut self, shared: &Shared) -> Result<Turn, RelayError> {
        // Taken before anything is sent, so that the tick begins after they asked.
        let waiting = shared.take_waiting();
        let turned = self.advance(shared).await;
        match &turned {
            Ok(Turn::Idle | Turn::Sealed(_)) => {
                if let Some(reading) = shared.readings.borrow().as_ref() {
                    for asked in waiting {
                        // Whoever does not wait any more needs no answer.
                        let _ = asked.send(Arc::clone(reading));
                    }
                }
            }
            Ok(Turn::Standby) => {}
            Ok(Turn::Fenced) | Err(_) => self.close(shared),
        }
        turned
    }

    /// Ends the session; another relay may lead from now on.
    pub(super) fn close(&mut self, shared: &Shared) {
        self.session = None;
        self.lease.step(Input::Disconnected);
        shared.readings.send_replace(None);
    }

    async fn advance(&mut self, shared: &Shared) -> Result<Turn, RelayError> {
        let session = match self.session.take() {
            Some(session) => session,
            None => {
                self.lease.step(Input::Disconnected);
                in_time(LEAD_MAX, Session::dial(&self.settings, self.patience.limit)).await?
            }
        };
        // Put back only by a turn that ends: one that is dropped half-way leaves no session.
        let turn = if self.lease.next() == Output::TryLock
            && !in_time(LEAD_MAX, lead(&mut self.lease, &session, shared)).await?
        {
            Turn::Standby
        } else {
            self.tick(&session, shared).await?
        };
        self.session = Some(session);
        Ok(turn)
    }

    async fn tick(&mut self, session: &Session, shared: &Shared) -> Result<Turn, RelayError> {
        let Lease::Leading { n, s1, term } = &self.lease else { return Ok(Turn::Standby) };
        let sealing = session.seal((*n, *term, s1), shared.fresh_room());
        let sealing = in_time(self.patience.limit, sealing);
        let (term, rows) = (*term, self.patience.note(sealing.await)?);
        let row = only_first(&rows)?;
        match self.lease.step(Input::Ticked(seal(row)?)) {
            Output::Idle => Ok(Turn::Idle),
            Output::Sealed(found) => {
                let heads = heads(row, term)?;
                // Before those who publish hear of it. What is unreadable, they read and report.
                shared.fresh().add(feed::sealed(&rows).unwrap_or_default());
                let Lease::Leading { n, .. } = self.lease else { return Ok(Turn::Fenced) };
                shared.readings.send_modify(|reading| {
                    if let Some(reading) = reading {
                        let reading = Arc::make_mut(reading);
                        reading.n = n;
                        reading.heads.extend(heads);
                    }
                });
                Ok(Turn::Sealed(found))
            }
            Output::Refuse(Refusal::NotPrimary) => Err(RelayError::NotPrimary),
            Output::Refuse(Refusal::WentBack) => Err(RelayError::WentBack),
            Output::Disconnect | Output::TryLock | Output::Tick => Ok(Turn::Fenced),
        }
    }
}

/// How long a seal may take.
///
/// A tick takes everything since the last one, in one statement. One that was broken off has left a
/// larger one behind, so under a fixed limit a backlog once too large would never be sealed again.
#[derive(Debug)]
struct Patience {
    usual: Duration,
    limit: Duration,
}

impl Patience {
    /// Then a backlog needs a person.
    const LONGEST: Duration = Duration::from_secs(600);

    const fn new(usual: Duration) -> Self {
        Self { usual, limit: usual }
    }

    fn note<T>(&mut self, sealed: Result<T, RelayError>) -> Result<T, RelayError> {
        match &sealed {
            Ok(_) => self.limit = self.usual,
            Err(error) if error.is_slow() => self.limit = (self.limit * 2).min(Self::LONGEST),
            Err(_) => {}
        }
        sealed
    }
}

async fn in_time<T>(
    limit: Duration,
    asking: impl Future<Output = Result<T, RelayError>>,
) -> Result<T, RelayError> {
    tokio::time::timeout(limit, asking).await.unwrap_or(Err(RelayError::Slow))
}

/// Takes over if nobody else leads: locks, then writes a fresh term, then reads what is sealed.
async fn lead(lease: &mut Lease, session: &Session, shared: &Shared) -> Result<bool, RelayError> {
    if !session.try_lock().await? {
        lease.step(Input::Denied);
        return Ok(false);
    }
    let term = Term::new(Uuid::new_v4());
    let row = session.take_over(term).await?;
    let n = column(&row, "n")?;
    // Whoever fences us from here on may have sealed what is read now; then we never seal again.
    let mut heads = BTreeMap::new();
    let mut marks = BTreeMap::new();
    for row in session.streams().await? {
        let stream = parsed(&row, "stream", Stream::parse)?;
        let head = Head {
            topic: parsed(&row, "topic", Topic::parse)?,
            pn: pn(column(&row, "head")?)?,
            term: Term::new(column(&row, "term")?),
        };
        // A mark above the head is from another past of this source.
        marks.insert(stream.clone(), pn(column(&row, "mark")?)?.min(head.pn));
        heads.insert(stream, head);
    }
    let root = Term::new(column(&row, "root")?);
    lease.step(Input::TookOver { n, s1: column(&row, "s1")?, term });
    tracing::info!(source = %shared.source, term = %term, "leading source {}", shared.source);
    shared.published().clone_from(&marks);
    // Another relay, or a restore, may have changed what was stored since we stored it.
    shared.confirmations.forget();
    shared.fresh().clear();
    let reading = Reading { n, term, root, heads, marks: Arc::new(marks) };
    shared.readings.send_replace(Some(Arc::new(reading)));
    Ok(true)
}

/// What a tick says of itself stands in each of its rows.
fn only_first(rows: &[Row]) -> Result<&Row, RelayError> {
    rows.first().ok_or_else(|| RelayError::Row("a seal answered nothing".to_owned()))
}

fn seal(row: &Row) -> Result<Seal, RelayError> {
    let n: Option<i64> = column(row, "n")?;
    let s1: Option<String> = column(row, "s1")?;
    let found: i64 = column(row, "found")?;
    let standing = if !column::<bool>(row, "on_primary")? {
        Standing::NotPrimary
    } else if column::<Option<bool>>(row, "mine")? != Some(true) {
        Standing::Lost
    } else if !column::<bool>(row, "forward")? {
        Standing::WentBack
    } else {
        Standing::Mine
    };
    Ok(Seal { found: found.unsigned_abs(), sealed: n.zip(s1), standing })
}

fn heads(row: &Row, term: Term) -> Result<Vec<(Stream, Head)>, RelayError> {
    let names: Vec<String> = column(row, "streams")?;
    let topics: Vec<String> = column(row, "topics")?;
    let numbers: Vec<i64> = column(row, "heads")?;
    let unreadable = |error: contracts::InvalidName| RelayError::Row(error.to_string());
    names
        .iter()
        .zip(&topics)
        .zip(&numbers)
        .map(|((stream, topic), number)| {
            let topic = Topic::parse(topic).map_err(unreadable)?;
            let stream = Stream::parse(stream).map_err(unreadable)?;
            Ok((stream, Head { topic, pn: pn(*number)?, term }))
        })
        .collect()
}

fn pn(raw: i64) -> Result<Pn, RelayError> {
    Pn::try_from(raw).map_err(|error| RelayError::Row(error.to_string()))
}
