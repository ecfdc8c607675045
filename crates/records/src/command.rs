//! A command that is carried out once, and only in the state that its caller names.

use contracts::{Digest, Version};
use deadpool_postgres::ClientWrapper;
use outbox::{Append, Tx};
use service_kit::{Etag, Precondition};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::{Error, store};

/// What a caller demands of a write, beside the write itself.
#[derive(Debug)]
pub struct Demands {
    /// The state that the record must be in.
    pub condition: Precondition,
    /// Makes a repeat of the request harmless.
    pub once: Option<Once>,
}

impl Demands {
    /// Whether the write is made whatever it meets, as often as it is asked for.
    const fn is_nothing(&self) -> bool {
        matches!(self.condition, Precondition::None) && self.once.is_none()
    }
}

/// A request that is carried out once, however often it is sent.
#[derive(Debug)]
pub struct Once {
    /// The key that its repeats share.
    pub key: String,
    /// Digest of method, topic, record and body.
    pub request: Digest,
}

/// An answer as it is given, and given again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The state of the record that the body shows.
    pub etag: Option<String>,
    /// Where what was created is; none: where the request was sent to.
    pub location: Option<String>,
    /// What the record waits for, for example `catalog.products/MH01`.
    pub waits_for: Option<String>,
    /// JSON, byte for byte.
    pub body: Option<Vec<u8>>,
}

/// What a write met.
#[derive(Debug)]
pub struct Before {
    /// Whether the record existed; decided on the locked row.
    pub existed: bool,
    /// Its published state as the statement began: another write may have come in between, so a
    /// decision on it must be repeated by the append, under its version.
    pub published: Option<Etag>,
}

/// How a write is answered, as far as the change does not say it by itself: a change that creates
/// is answered 201, one that replaces 200, both with the payload and its tag; a delete 204.
#[derive(Debug, Default)]
pub struct Written {
    /// Another status.
    pub status: Option<u16>,
    /// What the record waits for, for example `catalog.products/MH01`.
    pub waits_for: Option<String>,
}

impl Before {
    /// Reads columns `existed`, `version` and `digest`; the latter two are null where nothing is
    /// published, and `digest` has the first 8 hex digits of the payload's SHA-256.
    pub fn of(row: &Row) -> Result<Self, Error> {
        let (version, digest): (Option<i64>, Option<&str>) =
            (row.try_get("version")?, row.try_get("digest")?);
        let published = version.zip(digest).map(|(version, digest)| Etag::new(version, digest));
        Ok(Self { existed: row.try_get("existed")?, published })
    }
}

/// The answer to an earlier sending of the same request, where there was one; the first statement
/// of a command that [`write()`] does not carry out.
pub async fn answered(tx: &Tx<'_>, demands: &Demands) -> Result<Option<Answer>, Error> {
    let Some(once) = &demands.once else { return Ok(None) };
    if !store::lock_key(tx, &once.key).await? {
        return Err(Error::StillRunning);
    }
    match store::read_answer(tx, &once.key).await? {
        None => Ok(None),
        Some((request, answer)) if request == once.request.as_bytes() => Ok(Some(answer)),
        Some(_) => Err(Error::KeyReused),
    }
}

/// How an owner stores a record, or deletes it.
#[derive(Debug)]
pub struct Save<'a> {
    /// The kind of record.
    pub what: &'static str,
    /// A statement that stores the record and appends its change, as [`outbox::write`] takes it;
    /// it answers `existed`, and the `version` unless there was nothing to delete.
    pub at_once: &'static str,
    /// A statement that stores the record alone. It has the key as `$1` and the topic as `$2`, the
    /// record's parameters after them, and answers the columns of [`Before`].
    pub alone: &'static str,
    /// The record's parameters beside its key.
    pub record: &'a [&'a (dyn ToSql + Sync)],
}

/// Stores or deletes a record whose payload depends on nothing that it meets. Where nothing is
/// demanded either, this is one statement.
pub async fn write(
    client: &ClientWrapper,
    save: Save<'_>,
    change: Append<'_>,
    demands: &Demands,
) -> Result<Answer, Error> {
    let unknown = || Error::Unknown { what: save.what, key: change.key().to_owned() };
    let is_missing = |existed: bool| !existed && change.payload().is_none();
    if demands.is_nothing() {
        let row = outbox::write(client, save.at_once, save.record, &change).await?;
        let (existed, version): (bool, Option<i64>) =
            (row.try_get("existed")?, row.try_get("version")?);
        if is_missing(existed) {
            return Err(unknown());
        }
        let version = version.ok_or(Error::Unversioned { key: change.key().to_owned() })?;
        return Ok(plain(&change, (existed, version)));
    }
    let tx = Tx::begin(client);
    if let Some(answer) = answered(&tx, demands).await? {
        return Ok(answer);
    }
    let (key, topic) = (change.key(), change.topic());
    let named: [&(dyn ToSql + Sync); 2] = [&key, &topic];
    let row = tx.query_one(save.alone, &[&named, save.record].concat()).await?;
    let before = Before::of(&row)?;
    if is_missing(before.existed) {
        return Err(unknown());
    }
    finish(tx, change, &before, Written::default(), demands).await
}

/// The answer to a write, as far as the change says it by itself.
fn plain(change: &Append<'_>, (existed, version): (bool, i64)) -> Answer {
    let status = match (change.payload(), existed) {
        (Some(_), true) => 200,
        (Some(_), false) => 201,
        (None, _) => 204,
    };
    Answer {
        status,
        etag: change.payload().map(|payload| Etag::of(version, payload).to_string()),
        location: None,
        waits_for: None,
        body: change.payload().map(<[u8]>::to_vec),
    }
}

/// Appends the change if the condition holds, keeps the answer where it may be asked for again,
/// and commits. Without an `Idempotency-Key` append and commit are one round trip.
pub async fn finish(
    tx: Tx<'_>,
    change: Append<'_>,
    before: &Before,
    written: Written,
    demands: &Demands,
) -> Result<Answer, Error> {
    let change = expecting(change, before, demands)?;
    let answer = |version: Version| {
        let plain = plain(&change, (before.existed, version.get()));
        let Written { status, waits_for } = written;
        Answer { status: status.unwrap_or(plain.status), waits_for, ..plain }
    };
    if demands.once.is_none() {
        return Ok(answer(tx.append_and_commit(&change).await?));
    }
    let answer = answer(tx.append(&change).await?);
    conclude(tx, answer, demands).await
}

/// The same change, refused here if the condition does not hold, and by the append if it no longer
/// does then; for a command whose answer is not the record that it changes.
pub fn expecting<'a>(
    change: Append<'a>,
    before: &Before,
    demands: &Demands,
) -> Result<Append<'a>, Error> {
    match expected(&demands.condition, before) {
        Ok(None) => Ok(change),
        Ok(Some(version)) => Ok(change.expecting(version)),
        Err(Failed) => Err(Error::Condition { key: change.key().to_owned() }),
    }
}

/// Ends a command whose answer is not the record that it changed: keeps the answer where it may be
/// asked for again, and commits.
pub async fn conclude(tx: Tx<'_>, answer: Answer, demands: &Demands) -> Result<Answer, Error> {
    if let Some(once) = &demands.once {
        store::keep_answer(&tx, once, &answer).await?;
    }
    tx.commit().await?;
    Ok(answer)
}

/// A condition that does not hold.
#[derive(Debug, PartialEq, Eq)]
struct Failed;

/// The version that the append must still find, where the condition names a state: between the
/// save, which looked, and the append, which locks, another write may have been waited for.
fn expected(condition: &Precondition, before: &Before) -> Result<Option<Version>, Failed> {
    let holds = match condition {
        // Decided on the locked row, so nothing is left to be repeated.
        Precondition::None => return Ok(None),
        Precondition::Exists if before.existed => return Ok(None),
        Precondition::Exists => false,
        Precondition::Absent => !before.existed,
        Precondition::OneOf(_) | Precondition::NoneOf(_) => {
            condition.holds(before.published.as_ref())
        }
    };
    let seen = before.published.as_ref().map_or(0, Etag::version);
    match Version::try_from(seen) {
        Ok(version) if holds => Ok(Some(version)),
        _ => Err(Failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn before(version: Option<i64>) -> Before {
        let published = version.map(|version| Etag::of(version, b"x"));
        Before { existed: version.is_some(), published }
    }

    #[test]
    fn a_named_state_must_still_hold_at_the_append() {
        let (old, now) = (before(None), before(Some(7)));
        let tagged = Precondition::OneOf(vec![Etag::of(7, b"x")]);
        assert_eq!(expected(&tagged, &now), Ok(Some(Version::try_from(7).unwrap())));
        assert_eq!(expected(&tagged, &before(Some(8))), Err(Failed));
        assert_eq!(expected(&tagged, &old), Err(Failed));
        let restored = Precondition::OneOf(vec![Etag::of(7, b"other")]);
        assert_eq!(expected(&restored, &now), Err(Failed));
    }

    #[test]
    fn whether_there_is_a_record_is_decided_on_the_lock() {
        assert_eq!(expected(&Precondition::None, &before(None)), Ok(None));
        assert_eq!(expected(&Precondition::Exists, &before(Some(7))), Ok(None));
        assert_eq!(expected(&Precondition::Exists, &before(None)), Err(Failed));
        assert_eq!(expected(&Precondition::Absent, &before(None)), Ok(Some(Version::ZERO)));
        assert_eq!(expected(&Precondition::Absent, &before(Some(7))), Err(Failed));
    }
}
