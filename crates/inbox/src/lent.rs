//! A connection that goes back to its pool only when nothing is under way on it.

use std::ops::Deref;

use deadpool_postgres::{Client, Object, Pool};

use crate::Error;

/// A connection lent by its pool.
///
/// Work that is given up half-way leaves the server at its last statement, for as long as that
/// takes; whoever got this connection next would wait for it. So it is closed instead.
#[derive(Debug)]
pub(crate) struct Lent(Option<Client>);

impl Lent {
    pub(crate) async fn from(pool: &Pool) -> Result<Self, Error> {
        Ok(Self(Some(pool.get().await?)))
    }

    /// Everything that was asked on it has been answered.
    pub(crate) fn answered(mut self) {
        self.0 = None;
    }
}

impl Deref for Lent {
    type Target = Client;

    fn deref(&self) -> &Client {
        self.0.as_ref().expect("it is taken only by who gives it back")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(client) = self.0.take() {
            drop(Object::take(client));
        }
    }
}
