//! `GET /api/v1/search`: parameters to a question, a page to JSON, errors to problems.
#![expect(unused_qualifications, reason = "written by the macro that describes a route")]

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::middleware::map_response_with_state;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use contracts::Key;
use serde_json::Value;
use service_kit::{Problem, chain};
use utoipa::openapi::OpenApi;
use utoipa::{IntoParams, OpenApi as _};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use validator::Validate;

mod bodies;

use self::bodies::{Answer, ProblemBody, answer};
use crate::cursor;
use crate::index::{Question, Sort, Tantivy, count_words};
use crate::indexer::{Error, Indexer};

type Documents = Arc<Indexer<Tantivy>>;

const LIMIT_DEFAULT: usize = 20;
/// More words cost more and tell no more.
const WORDS_MAX: usize = 16;
const STATUS_BYTES_MAX: usize = 4 << 20;

#[derive(utoipa::OpenApi)]
#[openapi(info(
    title = "Syncline search",
    description = "Finds products by words and categories, with facets."
))]
struct Document;

/// The routes of the search, and their description at `/openapi.json`.
pub(crate) fn routes(documents: Documents) -> Router {
    let (routes, description) = described().split_for_parts();
    let description = get(move || async move { Json(description) });
    routes.route("/openapi.json", description).with_state(documents)
}

/// The description of the routes.
pub(crate) fn openapi() -> OpenApi {
    described().into_openapi()
}

/// `/sync/status` with the index's state added to that of the copies.
pub(crate) fn with_index(status: Router, documents: Documents) -> Router {
    status.layer(map_response_with_state(documents, add_index))
}

async fn add_index(State(documents): State<Documents>, response: Response) -> Response {
    let (parts, body) = response.into_parts();
    // The status of a few topics is small; more than this is not ours to rewrite.
    let Ok(bytes) = to_bytes(body, STATUS_BYTES_MAX).await else {
        return Problem::internal().into_response();
    };
    match serde_json::from_slice::<Value>(&bytes) {
        Ok(Value::Object(mut status)) if parts.status.is_success() => {
            let index = serde_json::to_value(documents.status());
            status.insert("index".to_owned(), index.expect("names and numbers are JSON"));
            Json(status).into_response()
        }
        Ok(_) | Err(_) => Response::from_parts(parts, Body::from(bytes)),
    }
}

fn described() -> OpenApiRouter<Documents> {
    let mut document = Document::openapi();
    // The macro writes one without a name where the package has none.
    document.info.license = None;
    OpenApiRouter::with_openapi(document).routes(routes!(search))
}

/// What may be asked.
#[derive(Debug, Default, Validate, IntoParams)]
#[into_params(parameter_in = Query)]
struct Parameters {
    /// Words, at most 16, that a product must have in its name, SKU, attributes or categories; the
    /// last may be the beginning of one. Case and accents make no difference. A word ends at a
    /// blank or a mark, so of Chinese, Japanese or Thai text only the beginning is found. A word of
    /// more than 64 bytes finds nothing. Any text is allowed; without words everything is found.
    #[validate(length(max = 200, message = "must have at most 200 characters"))]
    #[param(max_length = 200)]
    q: Option<String>,
    /// The id of a category; products in it and below it are found.
    #[validate(length(min = 1, max = 256, message = "must have 1 to 256 bytes"))]
    #[param(min_length = 1, max_length = 256)]
    category: Option<String>,
    /// `relevance` (best match first; the default) or `name`.
    sort: Option<String>,
    /// `next` of the page before, with the same other parameters.
    #[validate(length(max = 2048, message = "must have at most 2048 characters"))]
    #[param(max_length = 2048)]
    after: Option<String>,
    /// How many products to answer, 20 unless told.
    #[validate(range(min = 1, max = 100, message = "must be a whole number from 1 to 100"))]
    #[param(minimum = 1, maximum = 100)]
    limit: Option<usize>,
}

/// Find products.
#[utoipa::path(
    get,
    path = "/api/v1/search",
    params(Parameters),
    responses(
        (status = 200, description = "what was found", body = Answer),
        (status = 400, description = "a parameter is unknown or breaks a rule; errors names it",
         body = ProblemBody, content_type = "application/problem+json"),
        (status = 500, description = "our fault; the log names the cause",
         body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "the index is being opened or rebuilt; come again",
         body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn search(
    State(documents): State<Documents>,
    Query(given): Query<Vec<(String, String)>>,
) -> Result<Json<Answer>, Problem> {
    let question = question(given)?;
    let page = documents.search(question.clone()).await?;
    Ok(Json(answer(&question, page)))
}

fn question(given: Vec<(String, String)>) -> Result<Question, Problem> {
    let parameters = parameters(given)?;
    parameters.validate().map_err(|errors| {
        let found = Problem::from(errors);
        let errors = found.body().errors.iter();
        errors.fold(refusal(), |all, e| all.field(&e.pointer, &e.code, &e.message))
    })?;
    if parameters.q.as_deref().is_some_and(|words| count_words(words) > WORDS_MAX) {
        return Err(refused("q", "words", format!("must have at most {WORDS_MAX} words")));
    }
    let category = parameters.category.as_deref().map(Key::parse).transpose();
    let mut question = Question {
        words: parameters.q.filter(|words| !words.trim().is_empty()),
        category: category.map_err(|error| refused("category", "invalid", error.to_string()))?,
        sort: sort(parameters.sort.as_deref())?,
        after: None,
        limit: parameters.limit.unwrap_or(LIMIT_DEFAULT),
    };
    if let Some(after) = &parameters.after {
        let place = cursor::decode(&question, after);
        question.after =
            Some(place.map_err(|error| refused("after", "cursor", error.to_string()))?);
    }
    Ok(question)
}

fn parameters(given: Vec<(String, String)>) -> Result<Parameters, Problem> {
    let mut parameters = Parameters::default();
    for (name, value) in given {
        let again = match name.as_str() {
            "q" => parameters.q.replace(value).is_some(),
            "category" => parameters.category.replace(value).is_some(),
            "sort" => parameters.sort.replace(value).is_some(),
            "after" => parameters.after.replace(value).is_some(),
            "limit" => {
                let limit = value.parse().map_err(|_| {
                    refused("limit", "range", "must be a whole number from 1 to 100")
                })?;
                parameters.limit.replace(limit).is_some()
            }
            _ => {
                let known = "there is no such parameter; q, category, sort, after, limit exist";
                return Err(refused(&name, "unknown-parameter", known));
            }
        };
        if again {
            return Err(refused(&name, "duplicate-parameter", "may be given once"));
        }
    }
    Ok(parameters)
}

fn sort(given: Option<&str>) -> Result<Sort, Problem> {
    match given {
        None => Ok(Sort::Relevance),
        Some(given) => [Sort::Relevance, Sort::Name]
            .into_iter()
            .find(|sort| sort.as_str() == given)
            .ok_or_else(|| refused("sort", "unknown-value", "must be relevance or name")),
    }
}

fn refusal() -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad-parameter", "A parameter cannot be used")
        .detail("see errors for each parameter and the rule it breaks")
}

fn refused(parameter: &str, code: &str, message: impl Into<String>) -> Problem {
    let (parameter, message) = (parameter.chars().take(64).collect::<String>(), message.into());
    refusal().detail(format!("parameter {parameter:?}: {message}")).field(
        format!("/{}", parameter.replace('~', "~0").replace('/', "~1")),
        code,
        message,
    )
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Unsound => Self::unavailable("the search index is being opened or rebuilt"),
            Error::Waiting => Self::unavailable("another process answers searches"),
            Error::Foreign | Error::Index(_) => {
                tracing::error!(error = chain(&error), "a search failed");
                Self::unavailable("the search index is being repaired")
            }
            Error::Store(_) | Error::Pool(_) => {
                tracing::error!(error = chain(&error), "a search failed");
                Self::internal()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(pairs: &[(&str, &str)]) -> Result<Question, Problem> {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        question(pairs.collect())
    }

    #[test]
    fn every_refused_parameter_is_named() {
        let long = "x".repeat(201);
        for (pairs, pointer, code) in [
            (&[("colour", "red")][..], "/colour", "unknown-parameter"),
            (&[("q", "a"), ("q", "b")], "/q", "duplicate-parameter"),
            (&[("q", &long)], "/q", "length"),
            (&[("q", &"a ".repeat(17))], "/q", "words"),
            (&[("q", &"ü,b\u{30d} ".repeat(9))], "/q", "words"),
            (&[("sort", "price")], "/sort", "unknown-value"),
            (&[("limit", "0")], "/limit", "range"),
            (&[("limit", "101")], "/limit", "range"),
            (&[("limit", "-1")], "/limit", "range"),
            (&[("category", "")], "/category", "length"),
            (&[("category", "a\u{7}")], "/category", "invalid"),
            (&[("after", "zz")], "/after", "cursor"),
        ] {
            let problem = ask(pairs).unwrap_err();
            assert_eq!(problem.status(), StatusCode::BAD_REQUEST);
            let error = &problem.body().errors[0];
            assert_eq!((error.pointer.as_str(), error.code.as_str()), (pointer, code));
        }
    }

    #[test]
    fn blank_words_ask_for_everything() {
        assert!(ask(&[("q", &"the ".repeat(16))]).is_ok());
        let question = ask(&[("q", "  "), ("limit", "100")]).unwrap();
        assert_eq!((question.words, question.limit), (None, 100));
        assert_eq!(question.sort, Sort::Relevance);
    }

    #[test]
    fn the_description_is_openapi_3_1_and_names_every_parameter() {
        let json = serde_json::to_value(openapi()).unwrap();
        assert_eq!(json["openapi"], "3.1.0");
        let parameters = json["paths"]["/api/v1/search"]["get"]["parameters"].as_array().unwrap();
        let names: Vec<_> = parameters.iter().map(|p| p["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["q", "category", "sort", "after", "limit"]);
    }
}
