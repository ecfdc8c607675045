//! What the routes share with the boundary worker.

use std::sync::Arc;

use deadpool_postgres::Pool;
use service_kit::BoxError;
use tokio_util::sync::CancellationToken;

use crate::boundaries::Boundaries;

/// The database and the worker that writes announce themselves to; clones are one.
#[derive(Debug, Clone)]
pub struct Desk {
    pub(crate) pool: Pool,
    pub(crate) boundaries: Arc<Boundaries>,
}

impl Desk {
    /// A desk over this database.
    pub fn new(pool: Pool) -> Self {
        Self { pool, boundaries: Arc::default() }
    }

    /// Publishes every price that a promotion changes, at that moment, until `stop`.
    pub async fn keep_boundaries(self, stop: CancellationToken) -> Result<(), BoxError> {
        self.boundaries.keep(&self.pool, &stop).await
    }
}
