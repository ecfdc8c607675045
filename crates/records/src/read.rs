//! Reading a record: its published bytes with their tag, if the caller's condition holds.

use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use deadpool_postgres::Pool;
use service_kit::{Etag, Precondition, Problem};
use tokio_postgres::Row;

use crate::{Error, store};

/// Names what a record waits for: accepted, but of no use to copies before that has come.
pub const WAITS_FOR: HeaderName = HeaderName::from_static("syncline-waits-for");

/// A record as it was published.
#[derive(Debug)]
pub struct Published {
    /// Its state.
    pub etag: Etag,
    /// Its bytes.
    pub payload: Vec<u8>,
    /// What it waits for, for example `catalog.products/MH01`.
    pub waits_for: Option<String>,
}

impl Published {
    /// Reads columns `version` and `payload`.
    pub fn of(row: &Row) -> Result<Self, Error> {
        let payload: Vec<u8> = row.try_get("payload")?;
        let etag = Etag::of(row.try_get("version")?, &payload);
        Ok(Self { etag, payload, waits_for: None })
    }

    /// The same record, which waits for this.
    #[must_use]
    pub fn waiting(self, waits_for: Option<String>) -> Self {
        Self { waits_for, ..self }
    }
}

/// Answers a read of this record, which waits for nothing, in one round trip.
pub async fn read(
    pool: &Pool,
    topic: &str,
    key: &str,
    condition: &Precondition,
) -> Result<Response, Problem> {
    let client = pool.get().await.map_err(Error::from)?;
    let published = store::read_published(&client, topic, key).await?;
    let unknown = || Problem::not_found(format!("there is no {key} in {topic}"));
    shown(published.ok_or_else(unknown)?, condition)
}

/// Answers a read with a record that was read otherwise.
pub fn shown(published: Published, condition: &Precondition) -> Result<Response, Problem> {
    let Published { etag, payload, waits_for } = published;
    let mut response = if condition.holds(Some(&etag)) {
        ([(header::CONTENT_TYPE, "application/json")], payload).into_response()
    } else {
        match condition {
            Precondition::OneOf(_) | Precondition::Exists => {
                return Err(Problem::precondition_failed("the record is in another state"));
            }
            Precondition::None | Precondition::Absent | Precondition::NoneOf(_) => {
                StatusCode::NOT_MODIFIED.into_response()
            }
        }
    };
    put(&mut response, header::ETAG, Some(etag.to_string()));
    put(&mut response, WAITS_FOR, waits_for);
    Ok(response)
}

/// Sets a header, where there is a value for it that can stand in one.
pub(crate) fn put(response: &mut Response, name: HeaderName, value: Option<String>) {
    if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
        response.headers_mut().insert(name, value);
    }
}
