//! Background work: every task has a name and an owner, and its failure means something.
//!
//! A task that ends with an error or panics stops the whole service: it shuts down in order and
//! exits with code 1, so that a supervisor starts it afresh. A task that ends well is simply done.

use std::{
    collections::BTreeMap,
    fmt,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::FutureExt as _;
use tokio::task::AbortHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use contracts::chain;

use crate::{BoxError, Error};

/// The background tasks of a service; clones share them.
#[derive(Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    failed: CancellationToken,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    next: u64,
    running: BTreeMap<u64, (&'static str, AbortHandle)>,
    failure: Option<Error>,
}

impl Tasks {
    /// Starts a task under this name; it should end soon after the service's stop token fires.
    pub fn spawn<F, E>(&self, name: &'static str, task: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError>,
    {
        // Held until the handle is in the map, so that a task that ends at once finds its entry.
        let mut state = self.lock();
        let id = state.next;
        state.next += 1;
        let tasks = self.clone();
        let handle = self.tracker.spawn(async move {
            let outcome = AssertUnwindSafe(task).catch_unwind().await;
            let failure = match outcome {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.into()),
                Err(panic) => Some(panic_message(panic.as_ref()).into()),
            };
            tasks.ended(id, name, failure);
        });
        state.running.insert(id, (name, handle.abort_handle()));
    }

    /// Waits until a task fails.
    pub(crate) async fn failed(&self) {
        self.failed.cancelled().await;
    }

    /// Waits until all tasks have ended; what still runs at the limit is aborted and named.
    pub(crate) async fn finish(&self, limit: Duration) -> Result<(), Error> {
        self.tracker.close();
        if tokio::time::timeout(limit, self.tracker.wait()).await.is_err() {
            let late: Vec<_> = self.lock().running.values().cloned().collect();
            for (name, handle) in late {
                tracing::warn!(task = name, "aborting task {name}: it did not end in time");
                handle.abort();
            }
            self.tracker.wait().await;
        }
        self.lock().failure.take().map_or(Ok(()), Err)
    }

    fn ended(&self, id: u64, name: &'static str, failure: Option<BoxError>) {
        let mut state = self.lock();
        state.running.remove(&id);
        let Some(source) = failure else {
            tracing::debug!(task = name, "task {name} ended");
            return;
        };
        tracing::error!(task = name, error = chain(source.as_ref()), "task {name} failed");
        state.failure.get_or_insert(Error::Task { name, source });
        self.failed.cancel();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let running: Vec<_> = self.lock().running.values().map(|(name, _)| *name).collect();
        f.debug_struct("Tasks").field("running", &running).finish_non_exhaustive()
    }
}

/// What a panic said.
pub(crate) fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("panic: {}", text.unwrap_or_else(|| "of unknown kind".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_task_that_ends_well_is_no_failure() {
        let tasks = Tasks::default();
        tasks.spawn("short", async { Ok::<_, Error>(()) });
        tasks.finish(LONG).await.unwrap();
    }

    #[tokio::test]
    async fn an_error_names_the_task() {
        let tasks = Tasks::default();
        tasks.spawn("broken", async { Err("no water") });
        tasks.failed().await;
        let error = tasks.finish(LONG).await.unwrap_err();
        assert_eq!(chain(&error), "run task broken: no water");
    }

    #[tokio::test]
    async fn a_panic_is_a_failure() {
        let tasks = Tasks::default();
        tasks.spawn("clumsy", async {
            if std::hint::black_box(true) {
                panic!("dropped {}", "it");
            }
            Ok::<_, Error>(())
        });
        tasks.failed().await;
        let error = tasks.finish(LONG).await.unwrap_err();
        assert_eq!(chain(&error), "run task clumsy: panic: dropped it");
    }

    #[tokio::test]
    async fn what_does_not_end_in_time_is_aborted() {
        let tasks = Tasks::default();
        tasks.spawn("stubborn", std::future::pending::<Result<(), Error>>());
        tasks.finish(Duration::from_millis(10)).await.unwrap();
    }
}
