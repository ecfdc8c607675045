//! The OpenAPI documents of the owners and of the gateway itself as one; the owners are asked anew
//! each time.

use ::http::Uri;
use futures::future::join_all;
use serde_json::{Map, Value, json};

use crate::hop::{self, Question};
use crate::http;
use crate::owners::{Owner, Owners};

/// The document of everything that the gateway serves; an owner that is away is left out and named.
pub(crate) async fn document(owners: &Owners) -> Value {
    let asked = owners.all().map(|owner| async move { (owner, fetch(owner).await) });
    let mut merged = Merged::default();
    for (owner, document) in join_all(asked).await {
        match document {
            Some(document) => merged.add(owner.name, document, |path| owner.routes.contains(&path)),
            None => merged.away.push(owner.name),
        }
    }
    if let Ok(own) = serde_json::to_value(http::openapi()) {
        merged.add("gateway", own, |_| true);
    }
    merged.finish()
}

async fn fetch(owner: &Owner) -> Option<Value> {
    let question = Question::get(Uri::from_static("/openapi.json"));
    let answer = hop::fetch(owner, question).await.ok()?;
    if !answer.status.is_success() {
        return None;
    }
    serde_json::from_slice(&answer.body).ok()
}

#[derive(Debug, Default)]
struct Merged {
    paths: Map<String, Value>,
    components: Map<String, Value>,
    away: Vec<&'static str>,
}

impl Merged {
    fn add(&mut self, owner: &str, mut document: Value, serves: impl Fn(&str) -> bool) {
        self.rename_clashes(owner, &mut document);
        for (path, item) in take_object(&mut document, "paths") {
            if serves(&path) {
                self.paths.insert(path, item);
            }
        }
        for (kind, named) in take_object(&mut document, "components") {
            let known = self.components.entry(kind).or_insert_with(|| json!({}));
            if let (Value::Object(known), Value::Object(named)) = (known, named) {
                known.extend(named);
            }
        }
    }

    /// Two owners may mean different things by one name: the later one's gets its owner in front.
    fn rename_clashes(&self, owner: &str, document: &mut Value) {
        let mut renamed = Vec::new();
        let components = document.get_mut("components").and_then(Value::as_object_mut);
        for (kind, named) in components.into_iter().flatten() {
            let known = self.components.get(kind).and_then(Value::as_object);
            let (Some(known), Some(named)) = (known, named.as_object_mut()) else { continue };
            for name in named.keys().cloned().collect::<Vec<_>>() {
                if known.get(&name).is_some_and(|meaning| Some(meaning) != named.get(&name)) {
                    let own = format!("{owner}.{name}");
                    let meaning = named.remove(&name).unwrap_or_default();
                    named.insert(own.clone(), meaning);
                    let at = format!("#/components/{kind}/");
                    renamed.push((format!("{at}{name}"), format!("{at}{own}")));
                }
            }
        }
        for (from, to) in renamed {
            point(document, &from, &to);
        }
    }

    fn finish(self) -> Value {
        let away = self
            .away
            .iter()
            .map(|name| format!(" {name} is away at the moment, so its routes are missing here."));
        let description =
            format!("Master data, views and search, at one address.{}", away.collect::<String>());
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": "Syncline",
                "version": env!("CARGO_PKG_VERSION"),
                "description": description,
            },
            "paths": self.paths,
            "components": self.components,
        })
    }
}

fn take_object(document: &mut Value, field: &str) -> Map<String, Value> {
    match document.get_mut(field).map(Value::take) {
        Some(Value::Object(object)) => object,
        _ => Map::new(),
    }
}

fn point(value: &mut Value, from: &str, to: &str) {
    match value {
        Value::Object(object) => {
            for (name, inner) in object {
                if name == "$ref" && inner == from {
                    *inner = Value::from(to);
                } else {
                    point(inner, from, to);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| point(item, from, to)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
