//! Where stock lies.

use axum::{
    extract::{Path, State},
    response::Response,
};
use contracts::Id;
use deadpool_postgres::Pool;
use records::{NotDeleted, NotPut, NotRead, Request, id, read, written};
use service_kit::{Precondition, Problem, ProblemBody};

use super::bodies::LocationBody;
use crate::{commands, error::Error, payload::LOCATIONS};

/// Reads a location
#[utoipa::path(
    get, path = "/api/v1/locations/{id}", tag = "locations",
    params(
        ("id" = String, Path, description = Id::FORM),
        ("If-Match" = Option<String>, Header, description = "answer only this state"),
        ("If-None-Match" = Option<String>, Header, description = "tag of a copy that is held"),
    ),
    responses(
        (status = 200, description = "the location; its state is in `ETag`", body = LocationBody),
        (status = 304, description = "the copy that is held is current"),
        NotRead,
    )
)]
pub(super) async fn get_location(
    State(pool): State<Pool>,
    Path(location): Path<String>,
    condition: Precondition,
) -> Result<Response, Problem> {
    let location = id(&location, "id")?;
    read(&pool, LOCATIONS, location.as_str(), &condition).await
}

/// Creates or replaces a location
#[utoipa::path(
    put, path = "/api/v1/locations/{id}", tag = "locations", request_body = LocationBody,
    params(
        ("id" = String, Path, description = Id::FORM),
        ("If-Match" = Option<String>, Header, description = "write only this state; `*`: any"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only create"),
        ("Idempotency-Key" = Option<String>, Header, description = "makes repeats harmless"),
    ),
    responses(
        (status = 200, description = "replaced, or equal already", body = LocationBody),
        (status = 201, description = "created", body = LocationBody),
        NotPut,
    )
)]
pub(super) async fn put_location(
    State(pool): State<Pool>,
    Path(location): Path<String>,
    condition: Precondition,
    request: Request,
    body: service_kit::Json<LocationBody>,
) -> Result<Response, Problem> {
    let location = body.value.into_location(id(&location, "id")?)?;
    let record = (LOCATIONS, location.id.as_str());
    let demands = request.demands(condition, record, Some(&body.digest));
    let client = pool.get().await.map_err(Error::from)?;
    Ok(written(commands::put_location(&client, &location, &demands).await?, &request))
}

/// Deletes a location that has no stock
#[utoipa::path(
    delete, path = "/api/v1/locations/{id}", tag = "locations",
    params(
        ("id" = String, Path, description = Id::FORM),
        ("If-Match" = Option<String>, Header, description = "delete only this state"),
        ("Idempotency-Key" = Option<String>, Header, description = "makes repeats harmless"),
    ),
    responses(
        (status = 204, description = "deleted"),
        NotDeleted,
        (status = 409, description = "`has-stock`: its stock must go first; or `still-running`: a \
         request with the same key is", body = ProblemBody,
         content_type = "application/problem+json"),
    )
)]
pub(super) async fn delete_location(
    State(pool): State<Pool>,
    Path(location): Path<String>,
    condition: Precondition,
    request: Request,
) -> Result<Response, Problem> {
    let location = id(&location, "id")?;
    let demands = request.demands(condition, (LOCATIONS, location.as_str()), None);
    let client = pool.get().await.map_err(Error::from)?;
    Ok(written(commands::delete_location(&client, &location, &demands).await?, &request))
}
