//! The index alone: what is found, in which order, with which facets, and what counts as damaged.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use search_indexer::{Batch, CommitId, Document, Hit, Index as _, Page, Question, Sort, Tantivy};
use uuid::Uuid;

use crate::world::{document, everything, key, skus, with, words};

async fn filled(folder: &Path, documents: Vec<Document>) -> Tantivy {
    let index = Tantivy::new(folder);
    assert_eq!(index.open().await.unwrap(), None);
    index.clear().await.unwrap();
    commit(&index, documents).await;
    index
}

async fn commit(index: &Tantivy, documents: Vec<Document>) -> CommitId {
    let id = CommitId(Uuid::now_v7());
    index.write(Batch { documents, gone: Vec::new() }).await.unwrap();
    index.commit(id).await.unwrap();
    id
}

fn clothes() -> Vec<Document> {
    let tops = &[("tops", "Tops"), ("men", "Men")][..];
    let hoodie = |sku, color| with(document(sku, "Chaz Kangeroo Hoodie", tops), "color", color);
    vec![
        hoodie("MH01-XS-Black", "Black"),
        hoodie("MH01-XS-Gray", "Gray"),
        with(document("MT01", "Running Shirt for the Gym", tops), "fits", "under a hoodie"),
        document("24-WG02", "Yoga Strap", &[("gear", "Gear")]),
    ]
}

#[tokio::test]
async fn words_are_found_by_stem_by_beginning_and_all_together() {
    let folder = tempfile::tempdir().unwrap();
    let index = filled(folder.path(), clothes()).await;
    for (text, expected) in [
        // The name tells more than an attribute, and equals are ordered by SKU.
        ("hoodie", &["MH01-XS-Black", "MH01-XS-Gray", "MT01"][..]),
        ("HOODIES", &["MH01-XS-Black", "MH01-XS-Gray", "MT01"]),
        ("hood", &["MH01-XS-Black", "MH01-XS-Gray", "MT01"]),
        ("runni", &["MT01"]),
        ("run shirts", &["MT01"]),
        ("hoodie black", &["MH01-XS-Black"]),
        ("hood black", &[]),
        ("mh01 gray", &["MH01-XS-Gray"]),
        ("MH01-XS-Gray", &["MH01-XS-Gray"]),
        ("men yoga", &[]),
        ("shirt for the", &["MT01"]),
        ("the", &["MT01"]),
        // A hit weighs more in a shorter text.
        ("men", &["MT01", "MH01-XS-Black", "MH01-XS-Gray"]),
        ("s", &[]),
        ("!!!", &[]),
    ] {
        let page = index.search(words(text)).await.unwrap();
        assert_eq!(skus(&page), expected, "{text:?}");
        assert_eq!(page.total, expected.len() as u64);
    }
}

#[tokio::test]
async fn case_accents_and_composition_make_no_difference() {
    let folder = tempfile::tempdir().unwrap();
    let named = |sku, name| document(sku, name, &[]);
    let composed = named("1", "Café Größe");
    let decomposed = named("2", "Cafe\u{301} Gro\u{308}ße");
    let beside = with(named("3", "Hat"), "style", "CAFÉ gröSSe");
    let index = filled(folder.path(), vec![composed, decomposed, beside]).await;
    for text in [
        "cafe",
        "CAFÉ",
        "Cafe\u{301}",
        "GRÖSSE",
        "grosse",
        "größe café",
        "grö",
        "gro\u{308}ss",
        "cafe gros",
    ] {
        assert_eq!(skus(&index.search(words(text)).await.unwrap()), ["1", "2", "3"], "{text:?}");
    }
    assert_eq!(index.search(words("groesse")).await.unwrap().total, 0);
}

#[tokio::test]
async fn a_word_that_is_too_long_to_be_indexed_matches_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (long, longest) = ("z".repeat(65), "z".repeat(64));
    let name = format!("Two {long} {longest}");
    let index = filled(folder.path(), vec![document("1", &name, &[])]).await;
    for (text, total) in [
        ("two".to_owned(), 1),
        (format!("two {longest}"), 1),
        (format!("{longest} the two"), 1),
        (format!("two {long}"), 0),
        (format!("{long} two"), 0),
        (format!("two {long} the"), 0),
        (long, 0),
    ] {
        assert_eq!(index.search(words(&text)).await.unwrap().total, total, "{text:?}");
    }
}

#[tokio::test]
async fn every_word_counts_however_many_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let index = filled(folder.path(), clothes()).await;
    let many = "hoodie ".repeat(16);
    assert_eq!(index.search(words(&format!("{many} black"))).await.unwrap().total, 1);
    assert_eq!(index.search(words(&format!("{many} strap hoodie"))).await.unwrap().total, 0);
}

#[tokio::test]
async fn facets_count_the_whole_result_and_a_category_holds_what_is_below() {
    let folder = tempfile::tempdir().unwrap();
    let index = filled(folder.path(), clothes()).await;
    let question = Question { category: Some(key("men")), limit: 1, ..everything() };
    let page = index.search(question).await.unwrap();
    assert_eq!((page.hits.len(), page.total), (1, 3));
    let counted: Vec<_> = page
        .categories
        .iter()
        .map(|found| (found.category.id.as_str(), found.category.name.as_deref(), found.count))
        .collect();
    assert_eq!(counted, [("men", Some("Men"), 3), ("tops", Some("Tops"), 3)]);
    let colors: Vec<_> =
        page.attributes["color"].iter().map(|v| (v.value.as_str().unwrap(), v.count)).collect();
    assert_eq!(colors, [("Black", 1), ("Gray", 1)]);
    assert!(page.next.is_some());
    assert_eq!(page.hits[0].categories[0].name.as_deref(), Some("Tops"));
}

#[tokio::test]
async fn by_name_ignores_case() {
    let folder = tempfile::tempdir().unwrap();
    let named = |sku, name| document(sku, name, &[]);
    let index =
        filled(folder.path(), vec![named("3", "apple"), named("1", "Pear"), named("2", "Apple")]);
    let page = index.await.search(Question { sort: Sort::Name, ..everything() }).await.unwrap();
    assert_eq!(skus(&page), ["2", "3", "1"]);
}

async fn walk(index: &Tantivy, question: &Question) -> Vec<String> {
    let mut question = question.clone();
    let mut seen = Vec::new();
    loop {
        let page: Page = index.search(question.clone()).await.unwrap();
        seen.extend(page.hits.into_iter().map(|hit| hit.sku));
        match page.next {
            Some(next) => question.after = Some(next),
            None => return seen,
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Names repeat on purpose, so that most places are decided by the SKU; several commits make
    /// several segments.
    /// Covers: Q6.
    #[test]
    fn pages_neither_skip_nor_repeat(
        names in prop::collection::vec("(red |blue )?(hoodie|hat|hood)( hat)?", 1..60),
        commits in 1_usize..5,
        limit in 1_usize..9,
    ) {
        runtime().block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let all: Vec<Document> = (0..).zip(&names)
                .map(|(i, name): (usize, _)| document(&format!("S{:02}", i * 37 % 61), name, &[]))
                .collect();
            let index = filled(folder.path(), Vec::new()).await;
            for part in all.chunks(all.len().div_ceil(commits)) {
                commit(&index, part.to_vec()).await;
            }
            for sort in [Sort::Relevance, Sort::Name] {
                for text in ["", "hood", "red h"] {
                    let wide = Question { sort, limit: 100, ..words(text) };
                    let at_once: Vec<String> =
                        walk(&index, &wide).await;
                    let paged = walk(&index, &Question { limit, ..wide }).await;
                    assert_eq!(paged, at_once);
                    assert_eq!(paged.iter().collect::<BTreeSet<_>>().len(), paged.len());
                    if text.is_empty() {
                        assert_eq!(paged.len(), all.len());
                    }
                }
            }
        });
    }
}

/// What happens to the index: keys are written, some of them among many others, or go.
#[derive(Debug, Clone)]
enum Step {
    Write(Vec<u8>),
    WriteMany(Vec<u8>),
    Remove(Vec<u8>),
    Commit,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let keys = || proptest::collection::vec(0_u8..8, 0..5);
    prop_oneof![
        8 => keys().prop_map(Step::Write),
        1 => keys().prop_map(Step::WriteMany),
        4 => keys().prop_map(Step::Remove),
        6 => Just(Step::Commit),
        1 => Just(Step::Reopen),
    ]
}

/// The attribute `round` of each document whose name says hoodie.
async fn rounds(index: &Tantivy) -> BTreeMap<String, String> {
    let page = index.search(Question { limit: 100, ..words("hoodie") }).await.unwrap();
    let round = |hit: &Hit| hit.attributes["round"].as_str().unwrap().to_owned();
    page.hits.iter().map(|hit| (hit.sku.clone(), round(hit))).collect()
}

#[test]
fn what_is_found_is_what_was_written_last_however_it_was_written() {
    let runtime = runtime();
    let config = ProptestConfig { cases: 24, ..ProptestConfig::default() };
    proptest!(config, |(steps in proptest::collection::vec(step(), 1..40))| {
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let mut index = filled(folder.path(), Vec::new()).await;
            let (mut written, mut committed) = (BTreeMap::new(), BTreeMap::new());
            for (round, step) in steps.into_iter().enumerate() {
                let sku = |number: &u8| format!("S{number}");
                let keys = |numbers: Vec<u8>| BTreeSet::from_iter(numbers.iter().map(sku));
                let others = if matches!(step, Step::WriteMany(_)) { 600 } else { 0 };
                match step {
                    Step::Write(numbers) | Step::WriteMany(numbers) => {
                        let skus = keys(numbers);
                        let round = round.to_string();
                        let of = |sku| with(document(sku, "Hoodie", &[]), "round", &round);
                        let mut documents: Vec<_> = skus.iter().map(|sku| of(sku)).collect();
                        let other = |n| document(&format!("Z{n}"), "Hat", &[]);
                        documents.extend((0..others).map(other));
                        index.write(Batch { documents, gone: Vec::new() }).await.unwrap();
                        written.extend(skus.into_iter().map(|sku| (sku, round.clone())));
                    }
                    Step::Remove(numbers) => {
                        let skus = keys(numbers);
                        let gone = skus.iter().map(|sku| key(sku)).collect();
                        index.write(Batch { documents: Vec::new(), gone }).await.unwrap();
                        written.retain(|sku, _| !skus.contains(sku));
                    }
                    Step::Commit => {
                        index.commit(CommitId(Uuid::now_v7())).await.unwrap();
                        committed = written.clone();
                    }
                    Step::Reopen => {
                        drop(index);
                        index = Tantivy::new(folder.path());
                        assert!(index.open().await.unwrap().is_some());
                        written = committed.clone();
                    }
                }
                assert_eq!(rounds(&index).await, committed);
            }
        });
    });
}

#[test]
fn no_text_is_too_strange_to_be_asked() {
    let runtime = runtime();
    let folder = tempfile::tempdir().unwrap();
    let index = runtime.block_on(filled(folder.path(), clothes()));
    proptest!(|(text: String)| {
        let asked = [words(&text), words(&format!("name:{text}* AND (\"hoodie~2 {text}"))];
        for question in asked {
            runtime.block_on(index.search(question)).unwrap();
        }
    });
}

#[tokio::test]
async fn a_result_keeps_its_place_while_other_documents_come_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let index = filled(folder.path(), clothes()).await;
    let first = index.search(Question { limit: 1, ..words("hoodie") }).await.unwrap();
    for round in 0..12 {
        let sku = |i: usize| format!("zz-{round}-{i}");
        let others = (0..20).map(|i| document(&sku(i), "Hat", &[])).collect();
        commit(&index, others).await;
        let again = index.search(Question { limit: 1, ..words("hoodie") }).await.unwrap();
        assert_eq!((skus(&again), &again.next), (skus(&first), &first.next));
        let gone = (0..20).map(|i| key(&sku(i))).collect();
        index.write(Batch { documents: Vec::new(), gone }).await.unwrap();
    }
    commit(&index, Vec::new()).await;
    assert_eq!(index.documents(), 4);
}

#[tokio::test]
async fn an_index_is_opened_again_at_its_last_commit() {
    let folder = tempfile::tempdir().unwrap();
    let index = filled(folder.path(), clothes()).await;
    let last = commit(&index, vec![document("new", "Hat", &[])]).await;
    index
        .write(Batch { documents: vec![document("lost", "Hat", &[])], gone: Vec::new() })
        .await
        .unwrap();
    let busy = Tantivy::new(folder.path()).open().await;
    assert!(busy.is_err(), "a second writer is refused, and destroys nothing");
    drop(index);
    let index = Tantivy::new(folder.path());
    assert_eq!(index.open().await.unwrap(), Some(last));
    assert_eq!(skus(&index.search(words("hat")).await.unwrap()), ["new"]);
    assert_eq!(index.documents(), 5);
}

#[tokio::test]
async fn a_commit_that_was_broken_off_before_its_description_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let index = filled(folder.path(), clothes()).await;
    let sku = skus(&index.search(words("hoodie")).await.unwrap())[0].to_owned();
    drop(index);
    let meta = folder.path().join("tantivy").join("meta.json");
    let before = std::fs::read(&meta).unwrap();
    // The first commit after an open gives its files the same names each time.
    let replace = async || {
        let index = Tantivy::new(folder.path());
        assert!(index.open().await.unwrap().is_some());
        commit(&index, vec![document(&sku, "Hat", &[])]).await;
        index
    };
    drop(replace().await);
    std::fs::write(&meta, before).unwrap();
    let index = replace().await;
    assert_eq!(skus(&index.search(words("hat")).await.unwrap()), [sku.as_str()]);
    assert_eq!(index.documents(), 4);
}

#[tokio::test]
async fn a_damaged_index_is_no_index() {
    for damage in [flip as fn(&Path), flip_inside, truncate, lose, without_meta, other_version] {
        let folder = tempfile::tempdir().unwrap();
        drop(filled(folder.path(), clothes()).await);
        damage(&folder.path().join("tantivy"));
        let index = Tantivy::new(folder.path());
        assert_eq!(index.open().await.unwrap(), None);
        assert!(index.search(everything()).await.is_err());
        index.clear().await.unwrap();
        commit(&index, clothes()).await;
        assert_eq!(index.search(everything()).await.unwrap().total, 4);
    }
}

/// What the last commit has written.
fn segment_files(folder: &Path) -> PathBuf {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|ext| ext == "pack")).max().unwrap()
}

fn flip(folder: &Path) {
    flip_at(folder, |_| 0);
}

fn flip_inside(folder: &Path) {
    flip_at(folder, |length| length / 2);
}

fn flip_at(folder: &Path, place: fn(usize) -> usize) {
    let path = segment_files(folder);
    let mut bytes = std::fs::read(&path).unwrap();
    let place = place(bytes.len());
    bytes[place] ^= 0xff;
    std::fs::write(path, bytes).unwrap();
}

fn truncate(folder: &Path) {
    let path = segment_files(folder);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

fn lose(folder: &Path) {
    std::fs::remove_file(segment_files(folder)).unwrap();
}

fn without_meta(folder: &Path) {
    std::fs::remove_file(folder.join("meta.json")).unwrap();
}

fn other_version(folder: &Path) {
    let path = folder.join("meta.json");
    let meta = std::fs::read_to_string(&path).unwrap();
    let other = meta.replace("\\\"schema\\\":", "\\\"schema\\\":9");
    assert_ne!(meta, other);
    std::fs::write(path, other).unwrap();
}
