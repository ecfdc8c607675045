//! Waiting for a level with a deadline, never for a while.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

/// Asks until the answer is yes, for at most ten seconds; panics with `what` otherwise.
///
/// # Panics
/// If the answer is still no, or an error, at the deadline.
pub async fn eventually<F, Fut>(what: &str, ask: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = anyhow::Result<bool>>,
{
    within(Duration::from_secs(10), what, ask).await;
}

/// Asks until the answer is yes, for at most `limit`; panics with `what` otherwise.
///
/// # Panics
/// If the answer is still no, or an error, at the deadline.
#[expect(clippy::panic, reason = "a level that is not reached fails the test")]
pub async fn within<F, Fut>(limit: Duration, what: &str, mut ask: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = anyhow::Result<bool>>,
{
    let start = Instant::now();
    loop {
        let answer = ask().await;
        if matches!(answer, Ok(true)) {
            return;
        }
        if start.elapsed() >= limit {
            panic!("not within {limit:?}: {what} (last answer: {answer:?})");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
