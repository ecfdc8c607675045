//! The parameters of a search, each refused by its name, to a question.

use std::fmt::Display;
use std::str::FromStr;

use axum::http::StatusCode;
use contracts::Key;
use service_kit::Problem;
use utoipa::IntoParams;
use validator::Validate;

use crate::cursor;
use crate::domain::{Amount, InvalidAmount};
use crate::index::{Question, Sort, count_words};

const LIMIT_DEFAULT: usize = 20;
/// More words cost more and tell no more.
const WORDS_MAX: usize = 16;

/// What may be asked.
#[derive(Debug, Default, Validate, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
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
    /// The lowest effective price, itself included: a decimal number, not negative, of at most four
    /// decimals. Products without a price are not found. Currencies are not converted: ask for one.
    #[param(pattern = r"^[0-9]{1,15}(\.[0-9]{1,4})?$")]
    price_min: Option<String>,
    /// The highest effective price, itself included; not below `price_min`.
    #[param(pattern = r"^[0-9]{1,15}(\.[0-9]{1,4})?$")]
    price_max: Option<String>,
    /// Three letters of ISO 4217; products with a price in this currency are found.
    #[param(pattern = "^[A-Z]{3}$")]
    currency: Option<String>,
    /// `true` for products of which something is available, `false` for the others.
    in_stock: Option<bool>,
    /// `relevance` (best match first; the default), `name`, `price` (lowest first) or `-price`
    /// (highest first); products without a price are last then.
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

/// Names and values as they were given, in their order.
pub(super) fn question(given: Vec<(String, String)>) -> Result<Question, Problem> {
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
        price_min: amount("price_min", parameters.price_min.as_deref())?,
        price_max: amount("price_max", parameters.price_max.as_deref())?,
        currency: parsed("currency", "invalid", parameters.currency.as_deref())?,
        in_stock: parameters.in_stock,
        sort: sort(parameters.sort.as_deref())?,
        after: None,
        limit: parameters.limit.unwrap_or(LIMIT_DEFAULT),
    };
    if let (Some(min), Some(max)) = (question.price_min, question.price_max)
        && min.parts() > max.parts()
    {
        return Err(refused("price_min", "range", "must not be above price_max"));
    }
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
            "price_min" => parameters.price_min.replace(value).is_some(),
            "price_max" => parameters.price_max.replace(value).is_some(),
            "currency" => parameters.currency.replace(value).is_some(),
            "in_stock" => {
                let is = value
                    .parse()
                    .map_err(|_| refused("in_stock", "unknown-value", "must be true or false"))?;
                parameters.in_stock.replace(is).is_some()
            }
            "sort" => parameters.sort.replace(value).is_some(),
            "after" => parameters.after.replace(value).is_some(),
            "limit" => {
                let limit = value.parse().map_err(|_| {
                    refused("limit", "range", "must be a whole number from 1 to 100")
                })?;
                parameters.limit.replace(limit).is_some()
            }
            _ => {
                let known = "there is no such parameter; q, category, price_min, price_max, \
                             currency, in_stock, sort, after, limit exist";
                return Err(refused(&name, "unknown-parameter", known));
            }
        };
        if again {
            return Err(refused(&name, "duplicate-parameter", "may be given once"));
        }
    }
    Ok(parameters)
}

fn amount(parameter: &str, given: Option<&str>) -> Result<Option<Amount>, Problem> {
    let code = |error: InvalidAmount| match error {
        InvalidAmount::Malformed => "malformed",
        InvalidAmount::Negative => "negative",
        InvalidAmount::TooPrecise => "decimals",
        InvalidAmount::TooLarge => "too-large",
    };
    let amount = given.map(str::parse).transpose();
    amount.map_err(|error: InvalidAmount| refused(parameter, code(error), error.to_string()))
}

fn parsed<T: FromStr<Err: Display>>(
    parameter: &str,
    code: &str,
    given: Option<&str>,
) -> Result<Option<T>, Problem> {
    let value = given.map(str::parse::<T>).transpose();
    value.map_err(|error| refused(parameter, code, error.to_string()))
}

fn sort(given: Option<&str>) -> Result<Sort, Problem> {
    let Some(given) = given else { return Ok(Sort::Relevance) };
    let sort = Sort::ALL.into_iter().find(|sort| sort.as_str() == given);
    sort.ok_or_else(|| refused("sort", "unknown-value", "must be relevance, name, price or -price"))
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
            (&[("sort", "cost")], "/sort", "unknown-value"),
            (&[("limit", "0")], "/limit", "range"),
            (&[("limit", "101")], "/limit", "range"),
            (&[("limit", "-1")], "/limit", "range"),
            (&[("category", "")], "/category", "length"),
            (&[("category", "a\u{7}")], "/category", "invalid"),
            (&[("after", "zz")], "/after", "cursor"),
            (&[("price_min", "")], "/price_min", "malformed"),
            (&[("price_max", "1e3")], "/price_max", "malformed"),
            (&[("price_min", "-0.01")], "/price_min", "negative"),
            (&[("price_max", "5.00000")], "/price_max", "decimals"),
            (&[("price_max", "1000000000000000")], "/price_max", "too-large"),
            (&[("price_min", "5.0001"), ("price_max", "5")], "/price_min", "range"),
            (&[("price_min", "5"), ("price_min", "5")], "/price_min", "duplicate-parameter"),
            (&[("currency", "usd")], "/currency", "invalid"),
            (&[("in_stock", "yes")], "/in_stock", "unknown-value"),
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
    fn prices_stock_and_order_are_asked_for_by_their_names() {
        let given = [("price_min", "5"), ("price_max", "5.00"), ("in_stock", "false")];
        let question = ask(&[&given[..], &[("currency", "EUR"), ("sort", "-price")]].concat());
        let question = question.unwrap();
        assert_eq!(question.price_min.map(Amount::parts), Some(50_000));
        assert_eq!(question.price_max.map(Amount::parts), Some(50_000));
        assert_eq!((question.in_stock, question.sort), (Some(false), Sort::Dearest));
        assert_eq!(question.currency.unwrap().as_str(), "EUR");
        assert_eq!(ask(&[("sort", "price")]).unwrap().sort, Sort::Cheapest);
    }
}
