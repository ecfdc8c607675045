//! The worker: documents follow their parts, and an index that does not agree with the database is
//! rebuilt, and only such a one.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use contracts::{Key, Version};
use deadpool_postgres::Pool;
use inbox::{Change, Projection, Sink as _, Transaction};
use search_indexer::{Categories, Indexer, MIGRATIONS, Products, Worker};
use serde_json::{Value, json};
use testkit::Database;

use crate::world::{Watched, everything, key, skus, words};

/// A database with the parts, and a worker over an index in a folder of its own.
pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    pool: Pool,
    pub(crate) index: Watched,
    pub(crate) indexer: Arc<Indexer<Watched>>,
    // Dropped last.
    database: Database,
}

impl World {
    pub(crate) async fn new() -> Self {
        let database = Database::create("search").await.unwrap();
        database.migrate("search", MIGRATIONS).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let pool = database.pool(8).unwrap();
        let (index, indexer) = worker(folder.path(), &pool);
        indexer.begin().await;
        indexer.mend().await.unwrap();
        Self { folder, pool, index, indexer, database }
    }

    /// The process dies and starts again on the same database and folder.
    pub(crate) async fn restart(self) -> Self {
        let Self { folder, pool, index, indexer, database } = self;
        drop((index, indexer));
        let (index, indexer) = worker(folder.path(), &pool);
        indexer.begin().await;
        indexer.mend().await.unwrap();
        Self { folder, pool, index, indexer, database }
    }

    pub(crate) async fn product(
        &self,
        sku: &str,
        version: i64,
        entity: Option<Value>,
    ) -> Vec<String> {
        self.change(&Products, sku, version, entity).await
    }

    async fn category(&self, id: &str, version: i64, entity: Option<Value>) -> Vec<String> {
        self.change(&Categories, id, version, entity).await
    }

    /// Applies one change as the inbox does; answers the keys that it made dirty.
    pub(crate) async fn change<P: Projection>(
        &self,
        projection: &P,
        name: &str,
        version: i64,
        entity: Option<Value>,
    ) -> Vec<String> {
        let client = self.pool.get().await.unwrap();
        let tx = Transaction::begin(&client).await.unwrap();
        let changes = [change::<P>(name, version, entity)];
        projection.apply(&tx, &changes).await.unwrap();
        let dirty = projection.dirty(&tx, &changes).await.unwrap();
        tx.commit().await.unwrap();
        dirty.into_iter().map(|dirty| dirty.key).collect()
    }

    /// Works off dirty keys as the inbox has it done; answers how many batches it took.
    pub(crate) async fn update(&self, mut due: Vec<String>) -> usize {
        let worker = Worker(Arc::clone(&self.indexer));
        let mut batches = 0;
        while !due.is_empty() {
            due = worker.clean(&due).await.unwrap();
            batches += 1;
        }
        batches
    }

    async fn found(&self, text: &str) -> Vec<String> {
        let page = self.indexer.search(words(text)).await.unwrap();
        skus(&page).into_iter().map(str::to_owned).collect()
    }
}

fn worker(folder: &Path, pool: &Pool) -> (Watched, Arc<Indexer<Watched>>) {
    let index = Watched::new(folder);
    (index.clone(), Arc::new(Indexer::new(pool.clone(), index)))
}

fn change<P: Projection>(name: &str, version: i64, entity: Option<Value>) -> Change<P::Entity> {
    Change {
        key: key(name),
        version: Version::try_from(version).unwrap(),
        entity: entity.map(|entity| serde_json::from_value(entity).unwrap()),
        place: None,
    }
}

/// A product as the catalog publishes it.
pub(crate) fn hoodie(categories: &[&str]) -> Option<Value> {
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
            "attributes": {"color": "Black", "weight": 1.5, "organic": true}, "price": null,
            "availability": {"in_stock": false, "available": 0, "locations": 0, "versions": {}}})
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
    world.update(world.category("tops", 1, tops("Tops", "men")).await).await;
    assert_eq!(world.found("tops").await, ["MH01"]);

    world
        .update(world.category("men", 1, Some(json!({"name": "Gentlemen", "parent": null}))).await)
        .await;
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
    world.update(world.category("b", 2, None).await).await;
    assert!(world.found("bb").await.is_empty());
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

/// Nothing is locked between the two: whoever commits later marks what is composed later.
#[tokio::test]
async fn a_product_that_arrives_beside_a_change_of_its_category_shows_the_new_one() {
    let world = World::new().await;
    world.category("tops", 1, Some(json!({"name": "Tops", "parent": null}))).await;
    let client = world.pool.get().await.unwrap();
    let tx = Transaction::begin(&client).await.unwrap();
    let product = [change::<Products>("MH01", 1, hoodie(&["tops"]))];
    Products.apply(&tx, &product).await.unwrap();
    let renamed = Some(json!({"name": "Shirts", "parent": null}));
    world.update(world.category("tops", 2, renamed).await).await;
    let dirty = Products.dirty(&tx, &product).await.unwrap();
    tx.commit().await.unwrap();
    assert!(world.found("hoodie").await.is_empty());
    world.update(dirty.into_iter().map(|dirty| dirty.key).collect()).await;
    assert_eq!(world.found("shirts").await, ["MH01"]);
}

#[tokio::test]
async fn a_category_near_the_root_marks_one_key_and_is_worked_off_page_by_page() {
    let world = World::new().await;
    let below = |parent: &str| Some(json!({"name": "Below", "parent": parent}));
    world.category("left", 1, below("root")).await;
    world.category("right", 1, below("root")).await;
    world.update(world.product("ZLATE", 1, hoodie(&[])).await).await;
    let fill = "insert into search.product
            select 'S' || n, 1, 'Hat', array['left', 'right'], '{}'
            from generate_series(1, 1200) as n;
        insert into search.product_category
            select category, key from search.product, unnest(categories) as category";
    world.pool.get().await.unwrap().batch_execute(fill).await.unwrap();
    let marks = world.category("root", 1, Some(json!({"name": "Root", "parent": null}))).await;
    assert_eq!(marks.len(), 1, "{marks:?}");

    let worker = Worker(Arc::clone(&world.indexer));
    let due = worker.clean(&marks).await.unwrap();
    assert_eq!(due.len(), 3, "root, left and right: {due:?}");
    // A product that changes meanwhile shares the batch with the first page.
    let mut due = due;
    due.extend(world.product("ZLATE", 2, hoodie(&["left"])).await);
    let due = worker.clean(&due).await.unwrap();
    assert_eq!((world.found("root").await.len(), world.index.largest()), (20, 501));
    assert_eq!(world.found("root hoodie").await, ["ZLATE"]);
    // What is left is in the dirty keys alone, so the end of the process loses nothing.
    drop(worker);
    let world = world.restart().await;
    assert_eq!(world.update(due).await, 4, "batches of 500");
    let root = world.indexer.search(words("root")).await.unwrap();
    assert_eq!((root.total, world.index.largest()), (1_201, 500));
}

#[tokio::test]
async fn a_product_is_looked_for_under_the_categories_that_it_names_now() {
    let world = World::new().await;
    let pages = async || {
        let sql = "select coalesce(string_agg(category || ' ' || product, ', '
            order by category, product), '') from search.product_category";
        world.pool.get().await.unwrap().query_one(sql, &[]).await.unwrap().get::<_, String>(0)
    };
    world.product("MH01", 1, hoodie(&["tops", "eco", "tops"])).await;
    world.product("MH02", 1, hoodie(&["tops"])).await;
    assert_eq!(pages().await, "eco MH01, tops MH01, tops MH02");
    world.product("MH01", 2, hoodie(&["gear", "eco"])).await;
    assert_eq!(pages().await, "eco MH01, gear MH01, tops MH02");
    world.product("MH01", 3, None).await;
    assert_eq!(pages().await, "tops MH02");
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
    other.begin().await;
    other.mend().await.unwrap();
    let error = world.indexer.update(&[key("MH01")]).await.unwrap_err();
    assert!(error.to_string().contains("another process"), "{error}");
    assert!(!world.indexer.is_serving());
}

/// Otherwise that process would count as done what the rebuild has read before it changed, and
/// nobody would look at it again.
#[tokio::test]
async fn from_the_begin_of_a_rebuild_no_other_process_commits() {
    let world = World::new().await;
    let elsewhere = tempfile::tempdir().unwrap();
    let (index, other) = worker(elsewhere.path(), &world.pool);
    other.begin().await;
    index.refuse_clear.store(true, Ordering::SeqCst);
    other.mend().await.unwrap_err();
    let error = world.indexer.update(&[key("MH01")]).await.unwrap_err();
    assert!(error.to_string().contains("another process"), "{error}");
}

#[tokio::test]
async fn who_does_not_keep_its_index_answers_nothing_and_writes_nothing() {
    let world = World::new().await;
    world.update(world.product("MH01", 1, hoodie(&[])).await).await;
    let elsewhere = tempfile::tempdir().unwrap();
    let (index, other) = worker(elsewhere.path(), &world.pool);
    assert!(other.mend().await.is_err() && other.update(&[key("MH01")]).await.is_err());
    assert_eq!((index.cleared(), other.status().state), (0, "waiting"));

    world.indexer.end();
    assert!(!world.indexer.is_serving());
    assert!(world.indexer.search(everything()).await.is_err());
    other.begin().await;
    other.mend().await.unwrap();
    let renamed = Some(json!({"name": "Parka", "categories": [], "attributes": {}}));
    let dirty = world.product("MH01", 2, renamed).await;
    other.update(&dirty.iter().map(|raw| key(raw)).collect::<Vec<_>>()).await.unwrap();

    // The index from before is not taken for the newest one.
    other.end();
    world.indexer.begin().await;
    assert!(!world.indexer.is_serving());
    world.indexer.mend().await.unwrap();
    assert_eq!(world.found("parka").await, ["MH01"]);
}

#[tokio::test]
async fn under_load_the_index_commits_at_most_twenty_times_a_second() {
    let world = World::new().await;
    let dirty = world.product("MH01", 1, hoodie(&[])).await;
    let worker = Worker(Arc::clone(&world.indexer));
    let before = world.index.commits.load(Ordering::SeqCst);
    let start = Instant::now();
    for _ in 0..10 {
        worker.clean(&dirty).await.unwrap();
        worker.rest(1, Duration::ZERO).await;
    }
    assert!(start.elapsed() >= Duration::from_millis(500));
    assert_eq!(world.index.commits.load(Ordering::SeqCst) - before, 10);
}
