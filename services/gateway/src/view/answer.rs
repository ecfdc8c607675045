//! A view over HTTP: its body, its tag, and what the headers say of its freshness.

use std::collections::BTreeMap;

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use contracts::{Digest, Id, Version};
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use serde_json::value::RawValue;

use super::parts::{Kind, Parts};
use super::{Fill, Reader, Status, View};

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
const WAITS_FOR: HeaderName = HeaderName::from_static("syncline-waits-for");
/// Whoever keeps a view asks each time whether it is still so.
const CACHE_CONTROL: HeaderValue = HeaderValue::from_static("no-cache");

/// A product, its price and its stock on one page.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = View)]
pub(crate) struct ViewBody<'a> {
    /// Of what.
    sku: &'a str,
    /// What catalog says; null while the product is not known.
    #[schema(value_type = Option<Object>)]
    product: Option<&'a RawValue>,
    /// What pricing says; null without a price.
    #[schema(value_type = Option<Object>)]
    price: Option<&'a RawValue>,
    /// What warehouse says: what is available altogether, and each location; null without stock.
    #[schema(value_type = Option<Object>)]
    stock: Option<&'a RawValue>,
    /// What has to arrive before the rest can be sold.
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_for: Option<String>,
    freshness: FreshnessBody<'a>,
}

/// How far a view may lie behind its owners.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Freshness)]
struct FreshnessBody<'a> {
    /// Whether it may lack what was committed more than a second ago.
    stale: bool,
    /// Everything shows in it that was committed before so many milliseconds.
    age_ms: u64,
    /// Why it is stale.
    reason: Option<String>,
    /// Its parts: `product`, `price`, and `stock/{location}` of each location.
    parts: BTreeMap<&'a str, PartBody>,
}

/// How far one part may lie behind its owner.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = FreshnessOfPart)]
struct PartBody {
    /// The version of the record; null where there is none.
    #[schema(value_type = Option<String>)]
    version: Option<Version>,
    /// Why it may not be the newest: its owner does not answer, or a change is set aside.
    reason: Option<String>,
}

/// The answer with this view.
pub(crate) fn answer(sku: &Id, view: &View, asked: &HeaderMap) -> Response {
    let (age, complaint) = (view.age(), view.complaint());
    let tag = tag(&view.parts);
    let mut headers = HeaderMap::new();
    headers.insert(header::CACHE_CONTROL, CACHE_CONTROL);
    headers.insert(header::AGE, age.as_secs().into());
    headers.insert(CACHE_STATUS, said(view));
    if let Ok(tag) = HeaderValue::try_from(&tag) {
        headers.insert(header::ETAG, tag);
    }
    let waits_for =
        view.parts.waits().then(|| format!("{}/{}", Kind::Product.topic(), sku.as_str()));
    if let Some(Ok(waits_for)) = waits_for.as_ref().map(HeaderValue::try_from) {
        headers.insert(WAITS_FOR, waits_for);
    }
    // "Not modified" would vouch for what the caller holds; a stale view cannot.
    if complaint.is_none() && is_held(asked, &tag) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    let value = |kind| view.parts.get(kind).value.as_deref();
    let body = ViewBody {
        sku: sku.as_str(),
        product: value(Kind::Product),
        price: value(Kind::Price),
        stock: value(Kind::Stock),
        waits_for,
        freshness: FreshnessBody {
            stale: complaint.is_some(),
            age_ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
            reason: complaint,
            parts: parts(view),
        },
    };
    (headers, Json(body)).into_response()
}

fn parts(view: &View) -> BTreeMap<&str, PartBody> {
    let mut bodies = BTreeMap::new();
    for (kind, part) in view.parts.iter() {
        let body = |version| PartBody { version, reason: view.reason(kind) };
        if part.versions.is_empty() {
            bodies.insert(kind.as_str(), body(None));
        }
        for (name, version) in &part.versions {
            bodies.insert(name, body(Some(*version)));
        }
    }
    bodies
}

/// Weak: two answers of one tag may differ in what they say of their freshness.
fn tag(parts: &Parts) -> String {
    let mut content = Vec::new();
    for (_, part) in parts.iter() {
        for (name, version) in &part.versions {
            content.extend_from_slice(format!("{name}:{version} ").as_bytes());
        }
        let value = part.value.as_deref().map_or("null", RawValue::get);
        content.extend_from_slice(value.as_bytes());
        content.push(b'\n');
    }
    let digest = Digest::of(&content).to_string();
    format!("W/\"{}\"", digest.get(..16).unwrap_or(&digest))
}

/// Whether the caller holds what has this tag; ours are hexadecimal, so that no comma is part of
/// one.
fn is_held(asked: &HeaderMap, tag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let values =
        asked.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|list| list.split(','))
        .any(|one| one.trim() == "*" || opaque(one) == opaque(tag))
}

/// What RFC 9211 has us say: was it there, and if not, what was done.
fn said(view: &View) -> HeaderValue {
    let stored = |fill: Fill| match fill {
        Fill::Stored => "; stored",
        Fill::NotStored => "",
    };
    let mut said = match view.status {
        Status::Hit => "syncline; hit".to_owned(),
        Status::Miss(fill) => format!("syncline; fwd=miss{}", stored(fill)),
        Status::Stale(fill) => format!("syncline; fwd=stale{}", stored(fill)),
        Status::Bypass => "syncline; fwd=bypass; detail=cache-away".to_owned(),
    };
    if view.reader == Reader::Another {
        said.push_str("; collapsed");
    }
    if view.has_old() && !view.is_fresh() {
        said.push_str("; detail=owner-away");
    }
    HeaderValue::try_from(said).unwrap_or(HeaderValue::from_static("syncline"))
}
