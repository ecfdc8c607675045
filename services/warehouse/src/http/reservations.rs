//! Stock that is kept for somebody for a while. A condition on these requests names the state of
//! the stock, since that is the record that they change.

use axum::{
    extract::{Path, State},
    http::header::CONTENT_TYPE,
    response::{IntoResponse as _, Response},
};
use deadpool_postgres::Pool;
use records::{NotFound, NotPut, Request, written};
use service_kit::{Precondition, Problem, ProblemBody};
use utoipa::IntoResponses;

use super::bodies::{ReservationBody, StockBody, WantedBody};
use crate::{
    commands, domain::Ending, error::Error, payload::ReservationAnswer,
    reservation_id::ReservationId, store,
};

/// What tells requests of this kind from those for other records.
const RESERVATIONS: &str = "warehouse.reservations";

/// Reserves stock
#[utoipa::path(
    post, path = "/api/v1/reservations", tag = "reservations", request_body = WantedBody,
    params(
        ("If-Match" = Option<String>, Header, description = "only from stock in this state"),
        ("Idempotency-Key" = Option<String>, Header, description = "makes repeats harmless"),
    ),
    responses(
        (status = 201, description = "reserved; `Location` says where it is",
         body = ReservationBody),
        NotPut,
        (status = 409, description = "`insufficient-stock`: less is available; or `still-running`: \
         a request with the same key is", body = ProblemBody,
         content_type = "application/problem+json"),
    )
)]
pub(super) async fn reserve(
    State(pool): State<Pool>,
    condition: Precondition,
    request: Request,
    body: service_kit::Json<WantedBody>,
) -> Result<Response, Problem> {
    let (key, quantity, lifetime) = body.value.into_parts()?;
    let demands = request.demands(condition, (RESERVATIONS, ""), Some(&body.digest));
    let client = pool.get().await.map_err(Error::from)?;
    Ok(written(commands::reserve(&client, key, (quantity, lifetime), &demands).await?, &request))
}

/// Why a reservation is not ended
#[derive(Debug, IntoResponses)]
#[expect(dead_code, reason = "describes answers in documents only")]
pub(super) enum NotEnded {
    /// The condition or the key is malformed
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(ProblemBody),
    /// There is no such reservation
    #[response(status = 404, content_type = "application/problem+json")]
    Unknown(ProblemBody),
    /// A request with the same key is still running
    #[response(status = 409, content_type = "application/problem+json")]
    StillRunning(ProblemBody),
    /// It has ended already, in less than a day
    #[response(status = 410, content_type = "application/problem+json")]
    Ended(ProblemBody),
    /// Its stock is not in the state that the condition names; nothing was changed
    #[response(status = 412, content_type = "application/problem+json")]
    Condition(ProblemBody),
    /// The id in the path breaks a rule, or the key was used for another request
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(ProblemBody),
    /// Our fault; the log names the cause
    #[response(status = 500, content_type = "application/problem+json")]
    Internal(ProblemBody),
    /// Not now; come again in a moment, with the same key or condition
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(ProblemBody),
}

/// Reads a reservation
#[utoipa::path(
    get, path = "/api/v1/reservations/{id}", tag = "reservations",
    params(("id" = String, Path, description = "as it was answered")),
    responses(
        (status = 200, description = "the reservation, for a day after its end too",
         body = ReservationBody),
        NotFound,
    )
)]
pub(super) async fn get_reservation(
    State(pool): State<Pool>,
    Path(raw): Path<String>,
) -> Result<Response, Problem> {
    let id = reservation_id(&raw)?;
    let client = pool.get().await.map_err(Error::from)?;
    let found = store::read_reservation(&client, id).await?;
    let unknown = || Problem::not_found(format!("there is no reservation {id}"));
    let reservation = found.ok_or_else(unknown)?;
    let body = ReservationAnswer::new(id, &reservation).to_json();
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

/// Releases a reservation: its stock is available again
#[utoipa::path(
    delete, path = "/api/v1/reservations/{id}", tag = "reservations",
    params(
        ("id" = String, Path, description = "as it was answered"),
        ("If-Match" = Option<String>, Header, description = "only into stock in this state"),
        ("Idempotency-Key" = Option<String>, Header, description = "makes repeats harmless"),
    ),
    responses(
        (status = 204, description = "released"),
        NotEnded,
    )
)]
pub(super) async fn release(
    State(pool): State<Pool>,
    Path(raw): Path<String>,
    condition: Precondition,
    request: Request,
) -> Result<Response, Problem> {
    end(&pool, &raw, Ending::Release, (condition, &request)).await
}

/// Fulfils a reservation: its stock is sold
#[utoipa::path(
    post, path = "/api/v1/reservations/{id}/fulfilment", tag = "reservations",
    params(
        ("id" = String, Path, description = "as it was answered"),
        ("If-Match" = Option<String>, Header, description = "only from stock in this state"),
        ("Idempotency-Key" = Option<String>, Header, description = "makes repeats harmless"),
    ),
    responses(
        (status = 200, description = "the stock after it", body = StockBody),
        NotEnded,
    )
)]
pub(super) async fn fulfil(
    State(pool): State<Pool>,
    Path(raw): Path<String>,
    condition: Precondition,
    request: Request,
) -> Result<Response, Problem> {
    end(&pool, &raw, Ending::Fulfil, (condition, &request)).await
}

async fn end(
    pool: &Pool,
    raw: &str,
    ending: Ending,
    (condition, request): (Precondition, &Request),
) -> Result<Response, Problem> {
    let id = reservation_id(raw)?;
    let demands = request.demands(condition, (RESERVATIONS, &id.to_string()), None);
    let client = pool.get().await.map_err(Error::from)?;
    let answer = commands::end_reservation(&client, id, ending, &demands).await?;
    Ok(written(answer, request))
}

fn reservation_id(raw: &str) -> Result<ReservationId, Problem> {
    ReservationId::parse(raw).map_err(|invalid| {
        let problem = Problem::invalid(format!("id in the path {invalid}"));
        problem.field("/id", invalid.code, invalid.reason)
    })
}
