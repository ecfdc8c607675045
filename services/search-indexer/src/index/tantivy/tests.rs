//! What only the writer's inside can bring about.

use std::collections::BTreeMap;

use tantivy::indexer::NoMergePolicy;

use super::*;
use crate::domain::{Availability, Document};

fn key(raw: &str) -> Key {
    Key::parse(raw).unwrap()
}

fn document(sku: &str) -> Document {
    Document {
        sku: key(sku),
        version: 1.try_into().unwrap(),
        name: "Hoodie".to_owned(),
        categories: Vec::new(),
        lineage: Vec::new(),
        attributes: BTreeMap::new(),
        price: None,
        availability: Availability::default(),
    }
}

async fn commit(index: &Tantivy, skus: &[&str], gone: &[&str]) {
    let documents = skus.iter().map(|sku| document(sku)).collect();
    let gone = gone.iter().map(|sku| key(sku)).collect();
    index.write(Batch { documents, gone }).await.unwrap();
    index.commit(CommitId(Uuid::now_v7())).await.unwrap();
}

async fn opened(folder: &std::path::Path) -> Tantivy {
    let index = Tantivy::new(folder);
    assert!(index.open().await.unwrap().is_some());
    index
}

/// Tantivy gives the last commit's number to the first change after an open. A merge that begins
/// at once goes up to that number, in all segments but those that have had it.
#[tokio::test]
async fn the_first_change_after_an_open_is_in_the_merge_that_it_starts() {
    let folder = tempfile::tempdir().unwrap();
    let index = Tantivy::new(folder.path());
    index.clear().await.unwrap();
    if let Some(writing) = &*index.shared.writing() {
        writing.writer.set_merge_policy(Box::new(NoMergePolicy));
    }
    for sku in ["A", "B", "C", "D", "E", "F", "G", "H"] {
        commit(&index, &[sku], &[]).await;
    }
    commit(&index, &["gone-before", "gone-after", "kept"], &[]).await;
    commit(&index, &[], &["gone-before"]).await;
    drop(index);

    let index = opened(folder.path()).await;
    assert_eq!((index.documents(), index.segments()), (10, 9));
    commit(&index, &["new"], &["gone-after"]).await;
    drop(index.shared.close());
    let index = opened(folder.path()).await;
    assert_eq!(index.segments(), 2, "nothing was merged");
    assert_eq!(index.documents(), 10, "what was deleted is found again");
}
