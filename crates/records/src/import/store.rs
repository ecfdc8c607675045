//! The rows of an upload: its progress and its refusals.

use contracts::Digest;
use deadpool_postgres::ClientWrapper;
use outbox::Tx;

use super::{
    lines::Format,
    progress::{Progress, Refusal, State, Totals},
};
use crate::Error;

const LOCK_IMPORT: &str = include_str!("../../queries/lock_import.sql");
const FORGET_IMPORT: &str = include_str!("../../queries/forget_import.sql");
const BEGIN_IMPORT: &str = include_str!("../../queries/begin_import.sql");
const MOVE_IMPORT: &str = include_str!("../../queries/move_import.sql");
const SAVE_REFUSALS: &str = include_str!("../../queries/save_refusals.sql");
const READ_REFUSALS: &str = include_str!("../../queries/read_refusals.sql");
const SAVEPOINT: &str = include_str!("../../queries/savepoint.sql");
const ROLL_BACK: &str = include_str!("../../queries/roll_back.sql");
const RELEASE: &str = include_str!("../../queries/release.sql");
const PRUNE_REFUSALS: &str = include_str!("../../queries/prune_refusals.sql");
const PRUNE_IMPORTS: &str = include_str!("../../queries/prune_imports.sql");

/// An upload as it was begun, now or by an earlier try.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) id: i64,
    pub(super) topic: String,
    pub(super) format: String,
    pub(super) progress: Progress,
}

/// Takes the key for as long as the connection lasts; false while another one has it.
pub(super) async fn lock_import(client: &ClientWrapper, key: &str) -> Result<bool, Error> {
    let statement = client.prepare_cached(LOCK_IMPORT).await?;
    Ok(client.query_one(&statement, &[&key]).await?.try_get("free")?)
}

/// The upload of this key, or a new one.
pub(super) async fn begin_import(
    client: &ClientWrapper,
    key: Option<&str>,
    topic: &str,
    format: Format,
) -> Result<Begun, Error> {
    if key.is_some() {
        let statement = client.prepare_cached(FORGET_IMPORT).await?;
        client.execute(&statement, &[&key]).await?;
    }
    let statement = client.prepare_cached(BEGIN_IMPORT).await?;
    let nothing = Digest::of(b"");
    let empty = nothing.as_bytes().as_slice();
    let row = client.query_one(&statement, &[&key, &topic, &format.as_str(), &empty]).await?;
    let is_finished: bool = row.try_get("finished")?;
    let progress = Progress {
        bytes: row.try_get("bytes")?,
        digest: row.try_get("digest")?,
        line: row.try_get("line")?,
        totals: Totals {
            stored: row.try_get("stored")?,
            unchanged: row.try_get("unchanged")?,
            refused: row.try_get("refused")?,
            waiting: row.try_get("waiting")?,
        },
        state: if is_finished { State::Finished } else { State::Open },
    };
    let (topic, format) = (row.try_get("topic")?, row.try_get("format")?);
    Ok(Begun { id: row.try_get("id")?, topic, format, progress })
}

/// Notes what is done now.
pub(super) async fn move_import(tx: &Tx<'_>, id: i64, progress: &Progress) -> Result<(), Error> {
    let Progress { bytes, digest, line, totals, state } = progress;
    let Totals { stored, unchanged, refused, waiting } = totals;
    let is_finished = *state == State::Finished;
    let moved = tx
        .execute(
            MOVE_IMPORT,
            &[&id, bytes, digest, line, stored, unchanged, refused, waiting, &is_finished],
        )
        .await?;
    // What is not noted may not be done either: the upload would count it twice.
    if moved == 1 { Ok(()) } else { Err(outbox::Error::RolledBack.into()) }
}

/// Keeps why lines were refused.
pub(super) async fn save_refusals(tx: &Tx<'_>, id: i64, refusals: &[Refusal]) -> Result<(), Error> {
    let lines: Vec<i64> = refusals.iter().map(|one| one.line).collect();
    let numbers: Vec<i32> = refusals.iter().map(|one| one.number).collect();
    let texts = |of: fn(&Refusal) -> &str| refusals.iter().map(of).collect::<Vec<_>>();
    let (fields, codes) = (texts(|one| &one.field), texts(|one| &one.code));
    let reasons = texts(|one| &one.reason);
    tx.execute(SAVE_REFUSALS, &[&id, &lines, &numbers, &fields, &codes, &reasons]).await?;
    Ok(())
}

/// The refusals that follow this one, some at a time.
pub(super) async fn read_refusals(
    client: &ClientWrapper,
    id: i64,
    (line, number): (i64, i32),
) -> Result<Vec<Refusal>, Error> {
    let statement = client.prepare_cached(READ_REFUSALS).await?;
    let rows = client.query(&statement, &[&id, &line, &number]).await?;
    rows.iter()
        .map(|row| {
            Ok(Refusal {
                line: row.try_get("line")?,
                number: row.try_get("number")?,
                field: row.try_get("field")?,
                code: row.try_get("code")?,
                reason: row.try_get("reason")?,
            })
        })
        .collect()
}

/// From here on the transaction can be taken back.
pub(super) async fn savepoint(tx: &Tx<'_>) -> Result<(), Error> {
    tx.execute(SAVEPOINT, &[]).await?;
    Ok(())
}

/// Takes back what came after the savepoint.
pub(super) async fn roll_back(tx: &Tx<'_>) -> Result<(), Error> {
    tx.execute(ROLL_BACK, &[]).await?;
    Ok(())
}

/// Keeps what came after the savepoint.
pub(super) async fn release(tx: &Tx<'_>) -> Result<(), Error> {
    tx.execute(RELEASE, &[]).await?;
    Ok(())
}

/// Forgets some of what uploads of more than a day ago left; says how many rows.
pub(crate) async fn prune_imports(client: &ClientWrapper) -> Result<u64, Error> {
    let statement = client.prepare_cached(PRUNE_REFUSALS).await?;
    let refusals = client.execute(&statement, &[]).await?;
    if refusals > 0 {
        return Ok(refusals);
    }
    let statement = client.prepare_cached(PRUNE_IMPORTS).await?;
    Ok(client.execute(&statement, &[]).await?)
}
