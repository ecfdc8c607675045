//! Routes, bodies, and the way from a request to a command and back.

use axum::{
    Json, Router,
    extract::{FromRequestParts, Path, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header, request::Parts},
    response::{IntoResponse as _, Response},
    routing::get,
};
use contracts::Digest;
use deadpool_postgres::Pool;
use service_kit::{Precondition, Problem};
use utoipa::OpenApi as _;
use utoipa_axum::{router::OpenApiRouter, routes};

mod bodies;
mod refusals;

use self::{
    bodies::{CategoryBody, ProductBody},
    refusals::{NotDeleted, NotPut, NotRead, ProblemBody},
};
use crate::{
    commands::{self, Demands, Once},
    domain::Id,
    error::Error,
    payload::{CATEGORIES, PRODUCTS},
    store::{self, Answer},
};

/// What may stand in a path.
const ID: &str = "`[A-Za-z0-9._-]{1,64}`, but not `.` or `..`";

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// All routes over this database, with the document that describes them.
pub(crate) fn routes(pool: Pool) -> Router {
    let (router, document) = described().split_for_parts();
    router.with_state(pool).route("/openapi.json", get(|| async { Json(document) }))
}

/// The OpenAPI document.
pub(crate) fn document() -> String {
    let (_, document) = described().split_for_parts();
    document.to_pretty_json().expect("the document has string keys only")
}

#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "catalog", description = "Products and categories.", version = "1"),
    components(schemas(ProblemBody))
)]
struct Document;

fn described() -> OpenApiRouter<Pool> {
    let mut document = Document::openapi();
    // The macro writes one without a name where the package has none.
    document.info.license = None;
    OpenApiRouter::with_openapi(document)
        .routes(routes!(get_product, put_product, delete_product))
        .routes(routes!(get_category, put_category, delete_category))
}

/// Reads a product
#[utoipa::path(
    get, path = "/api/v1/products/{sku}", tag = "products",
    params(
        ("sku" = String, Path, description = ID),
        ("If-Match" = Option<String>, Header, description = "answer only this state"),
        ("If-None-Match" = Option<String>, Header, description = "tag of a copy that is held"),
    ),
    responses(
        (status = 200, description = "the product; its state is in `ETag`", body = ProductBody),
        (status = 304, description = "the copy that is held is current"),
        NotRead,
    )
)]
async fn get_product(
    State(pool): State<Pool>,
    Path(sku): Path<String>,
    condition: Precondition,
) -> Result<Response, Problem> {
    let sku = id(&sku, "sku")?;
    read(&pool, PRODUCTS, &sku, &condition).await
}

/// Creates or replaces a product
#[utoipa::path(
    put, path = "/api/v1/products/{sku}", tag = "products", request_body = ProductBody,
    params(
        ("sku" = String, Path, description = ID),
        ("If-Match" = Option<String>, Header, description = "write only this state; `*`: any"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only create"),
        ("Idempotency-Key" = Option<String>, Header, description = "makes repeats harmless"),
    ),
    responses(
        (status = 200, description = "replaced, or equal already", body = ProductBody),
        (status = 201, description = "created", body = ProductBody),
        NotPut,
    )
)]
async fn put_product(
    State(pool): State<Pool>,
    Path(sku): Path<String>,
    condition: Precondition,
    request: Request,
    body: service_kit::Json<ProductBody>,
) -> Result<Response, Problem> {
    let product = body.value.into_product(id(&sku, "sku")?)?;
    let demands = request.demands(condition, (PRODUCTS, &product.sku), Some(&body.digest));
    let client = pool.get().await.map_err(Error::from)?;
    Ok(written(commands::put_product(&client, &product, &demands).await?, &request))
}

/// Deletes a product
#[utoipa::path(
    delete, path = "/api/v1/products/{sku}", tag = "products",
    params(
        ("sku" = String, Path, description = ID),
        ("If-Match" = Option<String>, Header, description = "delete only this state"),
        ("Idempotency-Key" = Option<String>, Header, description = "makes repeats harmless"),
    ),
    responses(
        (status = 204, description = "deleted"),
        NotDeleted,
    )
)]
async fn delete_product(
    State(pool): State<Pool>,
    Path(sku): Path<String>,
    condition: Precondition,
    request: Request,
) -> Result<Response, Problem> {
    let sku = id(&sku, "sku")?;
    let demands = request.demands(condition, (PRODUCTS, &sku), None);
    let client = pool.get().await.map_err(Error::from)?;
    Ok(written(commands::delete_product(&client, &sku, &demands).await?, &request))
}

/// Reads a category
#[utoipa::path(
    get, path = "/api/v1/categories/{id}", tag = "categories",
    params(
        ("id" = String, Path, description = ID),
        ("If-Match" = Option<String>, Header, description = "answer only this state"),
        ("If-None-Match" = Option<String>, Header, description = "tag of a copy that is held"),
    ),
    responses(
        (status = 200, description = "the category; its state is in `ETag`", body = CategoryBody),
        (status = 304, description = "the copy that is held is current"),
        NotRead,
    )
)]
async fn get_category(
    State(pool): State<Pool>,
    Path(category): Path<String>,
    condition: Precondition,
) -> Result<Response, Problem> {
    let category = id(&category, "id")?;
    read(&pool, CATEGORIES, &category, &condition).await
}

/// Creates or replaces a category
#[utoipa::path(
    put, path = "/api/v1/categories/{id}", tag = "categories", request_body = CategoryBody,
    params(
        ("id" = String, Path, description = ID),
        ("If-Match" = Option<String>, Header, description = "write only this state; `*`: any"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only create"),
        ("Idempotency-Key" = Option<String>, Header, description = "makes repeats harmless"),
    ),
    responses(
        (status = 200, description = "replaced, or equal already", body = CategoryBody),
        (status = 201, description = "created", body = CategoryBody),
        NotPut,
    )
)]
async fn put_category(
    State(pool): State<Pool>,
    Path(category): Path<String>,
    condition: Precondition,
    request: Request,
    body: service_kit::Json<CategoryBody>,
) -> Result<Response, Problem> {
    let category = body.value.into_category(id(&category, "id")?)?;
    let demands = request.demands(condition, (CATEGORIES, &category.id), Some(&body.digest));
    let client = pool.get().await.map_err(Error::from)?;
    Ok(written(commands::put_category(&client, &category, &demands).await?, &request))
}

/// Deletes a category
#[utoipa::path(
    delete, path = "/api/v1/categories/{id}", tag = "categories",
    params(
        ("id" = String, Path, description = ID),
        ("If-Match" = Option<String>, Header, description = "delete only this state"),
        ("Idempotency-Key" = Option<String>, Header, description = "makes repeats harmless"),
    ),
    responses(
        (status = 204, description = "deleted; products that name it go on naming it"),
        NotDeleted,
    )
)]
async fn delete_category(
    State(pool): State<Pool>,
    Path(category): Path<String>,
    condition: Precondition,
    request: Request,
) -> Result<Response, Problem> {
    let category = id(&category, "id")?;
    let demands = request.demands(condition, (CATEGORIES, &category), None);
    let client = pool.get().await.map_err(Error::from)?;
    Ok(written(commands::delete_category(&client, &category, &demands).await?, &request))
}

/// What of a request tells it from others, beside its record and its body.
#[derive(Debug)]
struct Request {
    method: Method,
    uri: Uri,
    key: Option<String>,
}

impl Request {
    /// A repeat may spell its path another way, so the record counts and not the path.
    fn demands(
        &self,
        condition: Precondition,
        (topic, record): (&str, &Id),
        body: Option<&Digest>,
    ) -> Demands {
        let once = self.key.clone().map(|key| {
            let body = body.map(Digest::to_string).unwrap_or_default();
            let request = format!("{} {topic} {} {body}", self.method, record.as_str());
            Once { key, request: Digest::of(request.as_bytes()) }
        });
        Demands { condition, once }
    }
}

impl<S: Sync> FromRequestParts<S> for Request {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let key = idempotency_key(&parts.headers)?;
        Ok(Self { method: parts.method.clone(), uri: parts.uri.clone(), key })
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let visible = |text: &&str| (1..=255).contains(&text.len()) && text.is_ascii();
    match (value.to_str().ok().filter(visible), values.next()) {
        (Some(key), None) => Ok(Some(key.to_owned())),
        _ => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "malformed-idempotency-key",
            "The idempotency key cannot be used",
        )
        .detail("send one Idempotency-Key of 1 to 255 visible ASCII characters")),
    }
}

fn id(raw: &str, field: &str) -> Result<Id, Problem> {
    Id::parse(raw).map_err(|invalid| {
        Problem::invalid(format!("{field} in the path {invalid}")).field(
            format!("/{field}"),
            invalid.code,
            invalid.reason,
        )
    })
}

async fn read(
    pool: &Pool,
    topic: &str,
    key: &Id,
    condition: &Precondition,
) -> Result<Response, Problem> {
    let client = pool.get().await.map_err(Error::from)?;
    let published = store::read_published(&client, topic, key).await?;
    let Some((etag, payload)) = published else {
        return Err(Problem::not_found(format!("there is no {} in {topic}", key.as_str())));
    };
    if !condition.holds(Some(&etag)) {
        return match condition {
            Precondition::OneOf(_) | Precondition::Exists => {
                Err(Problem::precondition_failed("the record is in another state"))
            }
            Precondition::None | Precondition::Absent | Precondition::NoneOf(_) => {
                Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag.to_string())]).into_response())
            }
        };
    }
    let headers =
        [(header::ETAG, etag.to_string()), (header::CONTENT_TYPE, "application/json".to_owned())];
    Ok((headers, payload).into_response())
}

fn written(answer: Answer, request: &Request) -> Response {
    let mut response = match answer.body {
        Some(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        None => ().into_response(),
    };
    let status = StatusCode::from_u16(answer.status).unwrap_or_default();
    *response.status_mut() = status;
    let created = (status == StatusCode::CREATED).then(|| request.uri.path().to_owned());
    for (name, value) in [(header::ETAG, answer.etag), (header::LOCATION, created)] {
        if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
