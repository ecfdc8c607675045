//! Requests in work, counted: one whose body is still awaited from its caller is not in work.
//!
//! So callers who send half a body and then nothing take nobody's turn; they hold a connection, and
//! where connections are scarce the one that was silent longest makes room.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use axum::body::{Body, HttpBody as _};
use futures::{StreamExt as _, stream::poll_fn};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::PollSemaphore;

use crate::connections::Connection;

/// How many requests may be in work at one time.
#[derive(Debug, Clone)]
pub(crate) struct Turns(Arc<Semaphore>);

/// A request in work, until this is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    shared: Arc<Shared>,
    turns: Turns,
}

#[derive(Debug)]
struct Shared {
    connection: Option<Connection>,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Working(#[expect(dead_code, reason = "held, and given back with this")] OwnedSemaphorePermit),
    Awaiting,
    Over,
}

impl Turns {
    pub(crate) fn new(max: usize) -> Self {
        Self(Arc::new(Semaphore::new(max)))
    }

    /// One more, unless as many as allowed are in work.
    pub(crate) fn take(&self, connection: Option<Connection>) -> Option<Turn> {
        let permit = Arc::clone(&self.0).try_acquire_owned().ok()?;
        let state = Mutex::new(State::Working(permit));
        Some(Turn { shared: Arc::new(Shared { connection, state }), turns: self.clone() })
    }
}

impl Turn {
    /// The same body, which gives the turn back while its reader waits for the caller. Who goes on
    /// waits for a turn, before all who are new.
    pub(crate) fn of_body(&self, body: Body) -> Body {
        if body.is_end_stream() {
            return body;
        }
        let (shared, mut pieces) = (Arc::clone(&self.shared), body.into_data_stream());
        let mut turns = PollSemaphore::new(Arc::clone(&self.turns.0));
        let mut came = None;
        Body::from_stream(poll_fn(move |context| {
            if came.is_none() {
                match pieces.poll_next_unpin(context) {
                    Poll::Ready(piece) => came = Some(piece),
                    Poll::Pending => {
                        shared.awaits();
                        return Poll::Pending;
                    }
                }
            }
            ready!(shared.goes_on(&mut turns, context));
            Poll::Ready(came.take().flatten())
        }))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *self.shared.state() = State::Over;
    }
}

impl Shared {
    fn awaits(&self) {
        let mut state = self.state();
        if matches!(*state, State::Working(_)) {
            *state = State::Awaiting;
            self.connection.iter().for_each(Connection::awaits);
        }
    }

    fn goes_on(&self, turns: &mut PollSemaphore, context: &mut Context<'_>) -> Poll<()> {
        if !matches!(*self.state(), State::Awaiting) {
            return Poll::Ready(());
        }
        self.connection.iter().for_each(Connection::goes_on);
        let permit = ready!(turns.poll_acquire(context)).expect("the semaphore is never closed");
        let mut state = self.state();
        if matches!(*state, State::Awaiting) {
            drop(mem::replace(&mut *state, State::Working(permit)));
        }
        Poll::Ready(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_turn_is_free_while_its_body_is_awaited_and_after_its_end() {
        let turns = Turns::new(1);
        let turn = turns.take(None).unwrap();
        assert!(turns.take(None).is_none());
        let (sender, pieces) = futures::channel::mpsc::unbounded::<Result<Bytes, axum::Error>>();
        let mut body = turn.of_body(Body::from_stream(pieces)).into_data_stream();
        assert!(body.next().now_or_never().is_none());
        let other = turns.take(None).expect("free while the body is awaited");
        sender.unbounded_send(Ok(Bytes::from_static(b"late"))).unwrap();
        assert!(body.next().now_or_never().is_none(), "it went on beside the other");
        drop(other);
        assert!(turns.take(None).is_none(), "who waited comes first");
        assert_eq!(body.next().await.unwrap().unwrap(), "late");
        assert!(turns.take(None).is_none(), "it works again");
        drop(turn);
        assert!(body.next().now_or_never().is_none());
        let _again = turns.take(None).unwrap();
        assert!(turns.take(None).is_none(), "what is over counts no more");
    }
}
