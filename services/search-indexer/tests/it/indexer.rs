//! The worker: documents follow their parts, and an index that does not agree with the database is
//! rebuilt, and only such a one.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use contracts::{Key, Version};
use deadpool_postgres::Pool;
use inbox::{Change, Projection};
use search_indexer::{Categories, Indexer, MIGRATIONS, Products};
use serde_json::{Value, json};
use testkit::Database;

use crate::world::{Watched, everything, key, skus, words};

/// A database with the parts, and a worker over an index in a folder of its own.
struct World {
    folder: tempfile::TempDir,
    pool: Pool,
    index: Watched,
    indexer: Indexer<Watched>,
    // Dropped last.
    database: Database,
}

impl World {
    async fn new() -> Self {
        let database = Database::create("search").await.unwrap();
        database.migrate("search", MIGRATIONS).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let pool = database.pool(8).unwrap();
        let (index, indexer) = worker(folder.path(), &pool);
        indexer.mend().await.unwrap();
        Self { folder, pool, index, indexer, database }
    }

    /// The process dies and starts again on the same database and folder.
    async fn restart(self) -> Self {
        let Self { folder, pool, index, indexer, database } = self;
        drop((index, indexer));
        let (index, indexer) = worker(folder.path(), &pool);
        indexer.mend().await.unwrap();
        Self { folder, pool, index, indexer, database }
    }

    async fn product(&self, sku: &str, version: i64, entity: Option<Value>) -> Vec<String> {
        self.change(&Products, sku, version, entity).await
    }

    async fn category(&self, id: &str, version: i64, entity: Option<Value>) -> Vec<String> {
        self.change(&Categories, id, version, entity).await
    }

    /// Applies one change as the inbox does; answers the keys that it made dirty.
    async fn change<P: Projection>(
        &self,
        projection: &P,
        name: &str,
        version: i64,
        entity: Option<Value>,
    ) -> Vec<String> {
        let mut client = self.pool.get().await.unwrap();
        let tx = client.transaction().await.unwrap();
        let changes = [change::<P>(name, version, entity)];
        projection.apply(&tx, &changes).await.unwrap();
        let dirty = projection.dirty(&tx, &changes).await.unwrap();
        tx.commit().await.unwrap();
        dirty.into_iter().map(|dirty| dirty.key).collect()
    }

    async fn update(&self, keys: Vec<String>) {
        let keys: Vec<Key> = keys.iter().map(|raw| key(raw)).collect();
        self.indexer.update(&keys).await.unwrap();
    }

    async fn found(&self, text: &str) -> Vec<String> {
        let page = self.indexer.search(words(text)).await.unwrap();
        skus(&page).into_iter().map(str::to_owned).collect()
    }
}

fn worker(folder: &Path, pool: &Pool) -> (Watched, Indexer<Watched>) {
    let index = Watched::new(folder);
    (index.clone(), Indexer::new(pool.clone(), index))
}

fn change<P: Projection>(name: &str, version: i64, entity: Option<Value>) -> Change<P::Entity> {
    Change {
        key: key(name),
        version: Version::try_from(version).unwrap(),
        entity: entity.map(|entity| serde_json::from_value(entity).unwrap()),
        place: None,
    }
}

fn hoodie(categories: &[&str]) -> Option<Value> {
    Some(json!({"name": "Chaz Hoodie", "categories": categories, "attributes": {
        "color": "Black", "weight": 1.5, "organic": true, "parts": ["hood"]}}))
}

#[tokio::test]
async fn a_product_is_found_after_its_update_with_all_that_it_shows() {
    let world = World::new().await;
    world.category("men", 1, Some(json!({"name": "Men", "parent": null}))).await;
    world.category("tops", 1, Some(json!({"name": "Tops", "parent": "men"}))).await;
    let dirty = world.product("MH01", 3, hoodie(&["tops", "later"])).await;
    assert_eq!(dirty, ["MH01"]);
    world.update(dirty).await;
    let page = world.indexer.search(words("hood")).await.unwrap();
    let hit = serde_json::to_value(&page.hits[0]).unwrap();
    assert_eq!(
        hit,
        json!({"sku": "MH01", "name": "Chaz Hoodie", "version": "3",
            "categories": [{"id": "tops", "name": "Tops"}, {"id": "later", "name": null}],
            "attributes": {"color": "Black", "weight": 1.5, "organic": true}})
    );
    assert_eq!(page.categories.iter().map(|c| c.count).collect::<Vec<_>>(), [1, 1, 1]);
    assert_eq!(world.found("men").await, ["MH01"]);
}

#[tokio::test]
async fn a_category_that_is_renamed_arrives_or_moves_updates_what_is_below() {
    let world = World::new().await;
    world.update(world.product("MH01", 1, hoodie(&["tops"])).await).await;
    world.update(world.product("GEAR", 1, hoodie(&["gear"])).await).await;
    let tops = |name: &str, parent: &str| Some(json!({"name": name, "parent": parent}));
    let dirty = world.category("tops", 1, tops("Tops", "men")).await;
    assert_eq!(dirty, ["MH01"]);
    world.update(dirty).await;
    assert_eq!(world.found("tops").await, ["MH01"]);

    let dirty = world.category("men", 1, Some(json!({"name": "Gentlemen", "parent": null}))).await;
    assert_eq!(dirty, ["MH01"]);
    world.update(dirty).await;
    assert_eq!(world.found("gentlemen").await, ["MH01"]);

    world.update(world.category("tops", 2, tops("Shirts", "women")).await).await;
    assert!(world.found("gentlemen").await.is_empty() && world.found("tops").await.is_empty());
    assert_eq!(world.found("shirt").await, ["MH01"]);

    world.update(world.category("tops", 3, None).await).await;
    assert!(world.found("shirt").await.is_empty());
    assert_eq!(world.found("hoodie").await, ["GEAR", "MH01"]);
}

#[tokio::test]
async fn categories_whose_parents_form_a_circle_end_nowhere_but_here() {
    let world = World::new().await;
    world.category("a", 1, Some(json!({"name": "Aa", "parent": "b"}))).await;
    world.category("b", 1, Some(json!({"name": "Bb", "parent": "a"}))).await;
    world.update(world.product("MH01", 1, hoodie(&["a"])).await).await;
    assert_eq!(world.found("bb").await, ["MH01"]);
    assert_eq!(world.category("b", 2, None).await, ["MH01"]);
}

#[tokio::test]
async fn a_deleted_product_is_gone_and_may_return() {
    let world = World::new().await;
    world.update(world.product("MH01", 1, hoodie(&[])).await).await;
    world.update(world.product("MH01", 2, None).await).await;
    assert_eq!(world.indexer.search(everything()).await.unwrap().total, 0);
    world.update(world.product("MH01", 3, hoodie(&[])).await).await;
    assert_eq!(world.found("hoodie").await, ["MH01"]);
    assert_eq!(world.indexer.status().documents, 1);
}

/// Without the lock the category's change looks for documents before the product is visible, and
/// the product is composed before the category is: it would show the old name for ever.
#[tokio::test]
async fn a_category_change_waits_for_products_that_are_just_being_written() {
    let world = World::new().await;
    let mut client = world.pool.get().await.unwrap();
    let tx = client.transaction().await.unwrap();
    let product = [change::<Products>("MH01", 1, hoodie(&["tops"]))];
    Products.apply(&tx, &product).await.unwrap();
    let renamed = world.category("tops", 2, Some(json!({"name": "Shirts", "parent": null})));
    let mut renamed = std::pin::pin!(renamed);
    let early = tokio::time::timeout(Duration::from_millis(200), renamed.as_mut()).await;
    assert!(early.is_err(), "the category was changed beside an open change of a product");
    tx.commit().await.unwrap();
    assert_eq!(renamed.await, ["MH01"]);
}

#[tokio::test]
async fn an_index_that_agrees_is_opened_and_not_rebuilt() {
    let world = World::new().await;
    world.update(world.product("MH01", 1, hoodie(&[])).await).await;
    let before = world.indexer.status();
    let world = world.restart().await;
    assert_eq!(world.indexer.status(), before);
    assert_eq!((world.index.cleared(), world.found("hoodie").await.len()), (0, 1));
}

#[tokio::test]
async fn a_deleted_index_is_rebuilt_from_the_parts() {
    let world = World::new().await;
    let fill = "insert into search.product \
                select 'S' || n, 1, 'Hoodie', '{}', '{}' from generate_series(1, 2500) as n";
    world.pool.get().await.unwrap().batch_execute(fill).await.unwrap();
    std::fs::remove_dir_all(world.folder.path().join("tantivy")).unwrap();
    let world = world.restart().await;
    assert_eq!(world.index.cleared(), 1);
    assert_eq!(world.indexer.search(words("hoodie")).await.unwrap().total, 2_500);
}

#[tokio::test]
async fn an_index_whose_commit_the_database_does_not_know_is_rebuilt() {
    let world = World::new().await;
    world.update(world.product("MH01", 1, hoodie(&[])).await).await;
    // The database as a backup from before the product shows it.
    let restore = "delete from search.product; \
                   update search.index_commit set current = gen_random_uuid(), pending = null";
    world.pool.get().await.unwrap().batch_execute(restore).await.unwrap();
    let world = world.restart().await;
    assert_eq!(world.index.cleared(), 1);
    assert_eq!(world.indexer.search(everything()).await.unwrap().total, 0);
}

/// With the commit before as the only condition, this index would be trusted: its last commit
/// follows the one that the backup names.
#[tokio::test]
async fn a_database_restored_to_before_the_last_commit_distrusts_the_index() {
    let world = World::new().await;
    world.update(world.product("OLD", 1, hoodie(&[])).await).await;
    let before = world.indexer.status().commit.unwrap();
    world.update(world.product("MH01", 1, hoodie(&[])).await).await;
    let restore = format!(
        "delete from search.product where key = 'MH01'; \
         update search.index_commit set current = '{before}', pending = null"
    );
    world.pool.get().await.unwrap().batch_execute(&restore).await.unwrap();
    let world = world.restart().await;
    assert_eq!((world.index.cleared(), world.found("hoodie").await), (1, vec!["OLD".to_owned()]));
}

/// As the end of the machine may leave it, since the index does not wait for the disk.
#[tokio::test]
async fn an_index_from_before_its_last_commit_is_rebuilt() {
    let world = World::new().await;
    world.update(world.product("OLD", 1, hoodie(&[])).await).await;
    let (folder, saved) = (world.folder.path().join("tantivy"), tempfile::tempdir().unwrap());
    for entry in std::fs::read_dir(&folder).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), saved.path().join(entry.file_name())).unwrap();
    }
    world.update(world.product("NEW", 1, hoodie(&[])).await).await;
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::rename(saved.keep(), folder).unwrap();
    let world = world.restart().await;
    assert_eq!((world.index.cleared(), world.found("hoodie").await.len()), (1, 2));
}

#[tokio::test]
async fn a_crash_between_the_index_and_its_note_rebuilds_nothing_and_loses_nothing() {
    let world = World::new().await;
    let dirty = world.product("MH01", 1, hoodie(&[])).await;
    let keys: Vec<Key> = dirty.iter().map(|raw| key(raw)).collect();
    world.index.lose_answer.store(true, Ordering::SeqCst);
    world.indexer.update(&keys).await.unwrap_err();
    assert_eq!(world.index.commits.load(Ordering::SeqCst), 2, "the fault did not bite");
    assert!(!world.indexer.is_serving());

    let world = world.restart().await;
    assert_eq!(world.index.cleared(), 0);
    assert_eq!(world.found("hoodie").await, ["MH01"]);
    // The key is still dirty, and so is written once more.
    world.update(dirty).await;
    let world = world.restart().await;
    assert_eq!((world.index.cleared(), world.found("hoodie").await.len()), (0, 1));
}

#[tokio::test]
async fn a_crash_between_announcement_and_commit_rebuilds_nothing_and_loses_nothing() {
    let world = World::new().await;
    let dirty = world.product("MH01", 1, hoodie(&[])).await;
    let keys: Vec<Key> = dirty.iter().map(|raw| key(raw)).collect();
    world.index.refuse_commit.store(true, Ordering::SeqCst);
    world.indexer.update(&keys).await.unwrap_err();
    let world = world.restart().await;
    assert!(world.found("hoodie").await.is_empty());
    world.update(dirty).await;
    assert_eq!((world.index.cleared(), world.found("hoodie").await.len()), (0, 1));
}

#[tokio::test]
async fn a_failed_commit_is_mended_by_the_next_update_without_a_restart() {
    let world = World::new().await;
    let dirty = world.product("MH01", 1, hoodie(&[])).await;
    let keys: Vec<Key> = dirty.iter().map(|raw| key(raw)).collect();
    for fault in [&world.index.refuse_commit, &world.index.lose_answer] {
        fault.store(true, Ordering::SeqCst);
        world.indexer.update(&keys).await.unwrap_err();
        assert!(world.indexer.search(everything()).await.is_err());
        world.indexer.update(&keys).await.unwrap();
        assert_eq!(world.found("hoodie").await, ["MH01"]);
    }
    assert_eq!(world.index.cleared(), 1, "only the first start had nothing to open");
}

#[tokio::test]
async fn a_second_writer_of_the_same_database_is_noticed() {
    let world = World::new().await;
    let elsewhere = tempfile::tempdir().unwrap();
    let (_, other) = worker(elsewhere.path(), &world.pool);
    other.mend().await.unwrap();
    let error = world.indexer.update(&[key("MH01")]).await.unwrap_err();
    assert!(error.to_string().contains("another process"), "{error}");
    assert!(!world.indexer.is_serving());
}

#[tokio::test]
async fn under_load_the_index_commits_at_most_twenty_times_a_second() {
    let world = World::new().await;
    let dirty = world.product("MH01", 1, hoodie(&[])).await;
    let keys: Vec<Key> = dirty.iter().map(|raw| key(raw)).collect();
    let before = world.index.commits.load(Ordering::SeqCst);
    let start = Instant::now();
    for _ in 0..10 {
        world.indexer.update(&keys).await.unwrap();
    }
    assert!(start.elapsed() >= Duration::from_millis(500));
    assert_eq!(world.index.commits.load(Ordering::SeqCst) - before, 10);
}
