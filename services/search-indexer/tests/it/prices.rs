//! Prices and stock in the index alone: what is found between two prices, in which order, with
//! which figures.

use std::collections::BTreeSet;

use proptest::prelude::*;
use search_indexer::{Batch, CommitId, Document, Index as _, Page, Price, Question, Sort, Tantivy};
use uuid::Uuid;

use crate::world::{at, available, document, everything, skus};

async fn filled(folder: &std::path::Path, segments: Vec<Vec<Document>>) -> Tantivy {
    let index = Tantivy::new(folder);
    index.clear().await.unwrap();
    for documents in segments {
        commit(&index, documents).await;
    }
    index
}

async fn commit(index: &Tantivy, documents: Vec<Document>) {
    index.write(Batch { documents, gone: Vec::new() }).await.unwrap();
    index.commit(CommitId(Uuid::now_v7())).await.unwrap();
}

fn product(sku: &str) -> Document {
    document(sku, "Chaz Hoodie", &[("tops", "Tops")])
}

fn in_currency(document: Document, currency: &str) -> Document {
    let price = document.price.clone().unwrap();
    Document { price: Some(Price { currency: currency.parse().unwrap(), ..price }), ..document }
}

/// In two segments, one of them without any price.
fn shelf() -> Vec<Vec<Document>> {
    vec![
        vec![
            at(product("E"), "10"),
            available(at(product("D"), "5.00"), 3),
            available(at(product("C"), "5.0001"), 0),
            at(product("B"), "4.9999"),
            available(in_currency(at(product("A"), "700"), "JPY"), 12),
        ],
        vec![available(product("X"), 1), product("W")],
    ]
}

async fn found(index: &Tantivy, question: Question) -> Vec<String> {
    let page = index.search(Question { sort: Sort::Name, ..question }).await.unwrap();
    assert_eq!(page.total, page.hits.len() as u64);
    skus(&page).into_iter().map(str::to_owned).collect()
}

fn between(min: &str, max: &str) -> Question {
    let bound = |raw: &str| (!raw.is_empty()).then(|| raw.parse().unwrap());
    Question { price_min: bound(min), price_max: bound(max), ..everything() }
}

#[tokio::test]
async fn a_price_is_found_at_its_bounds_and_not_a_ten_thousandth_beyond() {
    let folder = tempfile::tempdir().unwrap();
    let index = filled(folder.path(), shelf()).await;
    for (min, max, expected) in [
        ("5", "10", &["C", "D", "E"][..]),
        ("5.0000", "5", &["D"]),
        ("5.0001", "5.0001", &["C"]),
        ("5.0002", "9.9999", &[]),
        ("", "4.9999", &["B"]),
        ("", "4.9998", &[]),
        ("10.0001", "", &["A"]),
        ("0", "", &["A", "B", "C", "D", "E"]),
        ("", "999999999999999", &["A", "B", "C", "D", "E"]),
        ("", "", &["A", "B", "C", "D", "E", "W", "X"]),
    ] {
        assert_eq!(found(&index, between(min, max)).await, expected, "{min} to {max}");
    }
    let yen = Question { currency: Some("JPY".parse().unwrap()), ..everything() };
    assert_eq!(found(&index, yen.clone()).await, ["A"]);
    assert_eq!(found(&index, Question { price_max: "10".parse().ok(), ..yen }).await, [""; 0]);
}

#[tokio::test]
async fn what_is_in_stock_and_what_is_not_make_up_everything() {
    let folder = tempfile::tempdir().unwrap();
    let index = filled(folder.path(), shelf()).await;
    let asked = |is| Question { in_stock: Some(is), ..everything() };
    assert_eq!(found(&index, asked(true)).await, ["A", "D", "X"]);
    assert_eq!(found(&index, asked(false)).await, ["B", "C", "E", "W"]);
    let cheap = Question { in_stock: Some(true), ..between("5", "10") };
    assert_eq!(found(&index, cheap).await, ["D"]);
}

#[tokio::test]
async fn figures_are_of_all_that_is_found_however_short_the_page() {
    let folder = tempfile::tempdir().unwrap();
    let mut shelf = shelf();
    shelf.push(vec![at(product("F"), "20.00"), at(product("G"), "7")]);
    let index = filled(folder.path(), shelf).await;
    let figures = |page: &Page| {
        let range = |range: &search_indexer::PriceRange| {
            format!("{} {} {} {}", range.currency, range.min, range.max, range.count)
        };
        (page.prices.iter().map(range).collect::<Vec<_>>(), page.in_stock)
    };
    let page = index.search(Question { limit: 1, ..everything() }).await.unwrap();
    let expected = ["JPY 700 700 1".to_owned(), "USD 4.9999 20.00 6".to_owned()];
    assert_eq!(figures(&page), (expected.to_vec(), 3));
    let page = index.search(Question { limit: 1, ..between("5", "5.0001") }).await.unwrap();
    assert_eq!(figures(&page), (vec!["USD 5.00 5.0001 2".to_owned()], 1));
    let page = index.search(between("20000", "")).await.unwrap();
    assert_eq!(figures(&page), (Vec::new(), 0));
}

async fn walk(index: &Tantivy, question: &Question, mut between: impl AsyncFnMut()) -> Vec<String> {
    let mut question = question.clone();
    let mut seen = Vec::new();
    loop {
        let page = index.search(question.clone()).await.unwrap();
        seen.extend(page.hits.into_iter().map(|hit| hit.sku));
        match page.next {
            Some(next) => question.after = Some(next),
            None => return seen,
        }
        between().await;
    }
}

#[tokio::test]
async fn by_price_what_has_none_is_last_both_ways_and_equals_are_ordered_by_sku() {
    let folder = tempfile::tempdir().unwrap();
    let mut shelf = shelf();
    shelf.push(vec![at(product("F"), "5")]);
    let index = filled(folder.path(), shelf).await;
    for limit in 1..9 {
        for (sort, expected) in [
            (Sort::Cheapest, ["B", "D", "F", "C", "E", "A", "W", "X"]),
            (Sort::Dearest, ["A", "E", "C", "D", "F", "B", "W", "X"]),
        ] {
            let question = Question { sort, limit, ..everything() };
            assert_eq!(walk(&index, &question, async || {}).await, expected, "{limit}");
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Prices repeat on purpose; between any two pages the prices of the odd products change.
    #[test]
    fn pages_by_price_hold_every_unchanged_product_once_in_its_order(
        prices in prop::collection::vec(prop::option::of(0_u64..6), 1..40),
        changed in prop::collection::vec(prop::option::of(0_u64..6), 40),
        limit in 1_usize..6,
        dearest: bool,
        filtered: bool,
    ) {
        let priced = |i: usize, price: Option<u64>| {
            let product = product(&format!("S{i:02}"));
            price.map_or_else(|| product.clone(), |price| at(product.clone(), &price.to_string()))
        };
        runtime().block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let all: Vec<_> = prices.iter().enumerate().map(|(i, at)| priced(i, *at)).collect();
            let half = all.len().div_ceil(2);
            let index = filled(folder.path(), all.chunks(half).map(<[_]>::to_vec).collect()).await;
            let sort = if dearest { Sort::Dearest } else { Sort::Cheapest };
            let bound = filtered.then(|| "2".parse().unwrap());
            let question = Question { sort, limit, price_min: bound, ..everything() };
            let mut next = (1..prices.len()).step_by(2).cycle().zip(changed.iter().cycle());
            let seen = walk(&index, &question, async || {
                if let Some((i, price)) = next.next() {
                    commit(&index, vec![priced(i, *price)]).await;
                }
            }).await;

            let mut unchanged: Vec<(u64, usize)> = prices.iter().copied().enumerate().step_by(2)
                .filter(|(_, price)| !filtered || price.is_some_and(|price| price >= 2))
                .map(|(i, price)| (price.map_or(9, |p| if dearest { 6 - p } else { p }), i))
                .collect();
            unchanged.sort_unstable();
            let expected: Vec<_> = unchanged.iter().map(|(_, i)| format!("S{i:02}")).collect();
            let known: BTreeSet<_> = expected.iter().collect();
            let met: Vec<_> = seen.iter().filter(|sku| known.contains(sku)).cloned().collect();
            assert_eq!(met, expected);
        });
    }
}
