//! Under which namespace views are kept, and up to which moment it shows every change.
//!
//! Values that were read from a source under another past, by a relay that is cut off or before a
//! source was restored, may never count as current. So the database holds the namespace together
//! with the past that it was drawn for, and another past draws another. The past includes the
//! database itself, so that one that was restored from a backup draws another too.
//!
//! What lies in the namespaces before is never current any more, but it is the last that is known
//! where an owner does not answer: the newest few are remembered for that.
//!
//! What is known is always used as a pair: the clean moments were found out *before* past and
//! namespace were read, so that a namespace is never taken for cleaner than it is. One that this
//! process sees for the first time counts only from then on, whoever drew it and when.

use std::time::{Duration, Instant};

use deadpool_postgres::Pool;
use inbox::Monitor;
use service_kit::chain;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::projections::{SINK, TOPICS};
use crate::store::{self, Namespace};

/// However often copies are looked at, it leaves this much time between two readings.
const PAUSE: Duration = Duration::from_millis(20);
/// How often it reads without being told that anything moved.
const INTERVAL: Duration = Duration::from_secs(1);

/// A namespace, and when its entries were known to show every change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The namespace.
    pub(crate) id: Uuid,
    /// Those before, in which old copies may lie.
    pub(crate) past_ids: Vec<Uuid>,
    /// Since when this process knows it.
    since: Instant,
    /// Up to which moment each source's changes have been carried out in it.
    pub(crate) clean_at: [Option<Instant>; TOPICS.len()],
}

/// The namespace could not be found out.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Inbox(#[from] inbox::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Keeps what is known of the namespace up to date until stopped.
pub(crate) async fn keep(
    pool: Pool,
    monitor: Monitor,
    standing: watch::Sender<Option<Standing>>,
    stop: CancellationToken,
) {
    let mut looks = monitor.looks();
    let mut told = None;
    while !stop.is_cancelled() {
        looks.borrow_and_update();
        let outcome = find(&pool, &monitor, &standing).await;
        // Nobody takes what is known for fresh meanwhile, since its moments stand still.
        let error = outcome.err().map(|error| chain(&error));
        if error != told
            && let Some(error) = &error
        {
            tracing::warn!(error, "the namespace of the cache is read later");
        }
        told = error;
        sleep(PAUSE).await;
        tokio::select! {
            () = stop.cancelled() => {}
            Ok(()) = looks.changed() => {}
            () = sleep(INTERVAL) => {}
        }
    }
}

async fn find(
    pool: &Pool,
    monitor: &Monitor,
    standing: &watch::Sender<Option<Standing>>,
) -> Result<(), Error> {
    let clean_at = TOPICS.map(|topic| monitor.clean_at(topic, SINK));
    let past = inbox::past(pool, &TOPICS).await?;
    let mut namespace = store::read_namespace(pool).await?;
    if namespace.past != past {
        store::replace_namespace(pool, &namespace.past, &past).await?;
        namespace = store::read_namespace(pool).await?;
        if namespace.past != past {
            // Another process saw the past change once more; so will this one.
            return Ok(());
        }
        tracing::info!(namespace = %namespace.id, "what was kept is left behind: another past");
    }
    let since = {
        let known = standing.borrow();
        known.as_ref().filter(|known| known.id == namespace.id).map(|known| known.since)
    };
    let since = since.unwrap_or_else(Instant::now);
    let clean_at = clean_at.map(|at| at.filter(|at| *at >= since));
    let Namespace { id, past_ids, .. } = namespace;
    standing.send_replace(Some(Standing { id, past_ids, since, clean_at }));
    Ok(())
}
