//! Requests in work, counted: one whose body is still awaited from its caller is not in work.
//!
//! So callers who send half a body and then nothing take nobody's turn; they hold a connection, and
//! where connections are scarce the one that was silent longest makes room.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use axum::body::{Body, HttpBody as _};
use futures::{StreamExt as _, stream::poll_fn};

use crate::connections::Connection;

/// How many requests may be in work at one time.
#[derive(Debug, Clone)]
pub(crate) struct Turns {
    taken: Arc<AtomicUsize>,
    max: usize,
}

/// A request in work, until this is dropped.
#[derive(Debug)]
pub(crate) struct Turn(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    taken: Arc<AtomicUsize>,
    connection: Option<Connection>,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Working,
    Awaiting,
    Over,
}

impl Turns {
    pub(crate) fn new(max: usize) -> Self {
        Self { taken: Arc::default(), max }
    }

    /// One more, unless as many as allowed are in work.
    pub(crate) fn take(&self, connection: Option<Connection>) -> Option<Turn> {
        let more = |taken| (taken < self.max).then_some(taken + 1);
        self.taken.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).ok()?;
        let (taken, state) = (Arc::clone(&self.taken), Mutex::new(State::Working));
        Some(Turn(Arc::new(Shared { taken, connection, state })))
    }
}

impl Turn {
    /// The same body, which gives the turn back while its reader waits for the caller.
    pub(crate) fn of_body(&self, body: Body) -> Body {
        if body.is_end_stream() {
            return body;
        }
        let (turn, mut pieces) = (Arc::clone(&self.0), body.into_data_stream());
        Body::from_stream(poll_fn(move |context| {
            let polled = pieces.poll_next_unpin(context);
            turn.enter(if polled.is_pending() { State::Awaiting } else { State::Working });
            polled
        }))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.enter(State::Over);
    }
}

impl Shared {
    /// Nothing follows the end. Who goes on after a wait goes on even if others took all turns
    /// meanwhile: connections bound how many can.
    fn enter(&self, next: State) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *state;
        if before == next || before == State::Over {
            return;
        }
        *state = next;
        if before == State::Working {
            self.taken.fetch_sub(1, Ordering::SeqCst);
        } else if next == State::Working {
            self.taken.fetch_add(1, Ordering::SeqCst);
        }
        match (&self.connection, next) {
            (Some(connection), State::Awaiting) => connection.awaits(),
            (Some(connection), State::Working) => connection.goes_on(),
            (Some(_), State::Over) | (None, _) => {}
        }
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
        assert_eq!(body.next().await.unwrap().unwrap(), "late");
        drop(other);
        assert!(turns.take(None).is_none(), "it works again");
        drop(turn);
        assert!(body.next().now_or_never().is_none());
        let _again = turns.take(None).unwrap();
        assert!(turns.take(None).is_none(), "what is over counts no more");
    }
}
