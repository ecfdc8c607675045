//! Several processes over one database, each with an index of its own: one answers at a time.

use std::sync::Arc;

use deadpool_postgres::Pool;
use inbox::Config;
use search_indexer::{Indexer, MIGRATIONS, Worker};
use testkit::{Database, eventually};
use tokio::task::JoinSet;

use crate::world::{Watched, skus, words};

/// A process; dropped as a kill would end it.
struct Process {
    index: Watched,
    indexer: Arc<Indexer<Watched>>,
    _tasks: JoinSet<()>,
    _folder: tempfile::TempDir,
}

impl Process {
    fn start(pool: &Pool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let index = Watched::new(folder.path());
        let indexer = Arc::new(Indexer::new(pool.clone(), index.clone()));
        let (config, mut tasks) = (Config::default(), JoinSet::new());
        let (own, stop) = (Arc::clone(&indexer), config.stop.clone());
        tasks.spawn(async move { own.keep(stop).await });
        let worker = inbox::run_sink(config, pool.clone(), Worker(Arc::clone(&indexer)));
        tasks.spawn(async move { worker.await.unwrap() });
        Self { index, indexer, _tasks: tasks, _folder: folder }
    }

    async fn until_found(&self, expected: &[&str]) {
        eventually(&format!("{expected:?} are found"), || async {
            let found = self.indexer.search(words("hoodie")).await;
            Ok(found.is_ok_and(|page| skus(&page) == expected))
        })
        .await;
    }
}

/// Writes a product and marks its document, as the commit of its projection does.
async fn write(pool: &Pool, sku: &str) {
    let sql = format!(
        "begin;
        insert into search.product values ('{sku}', 1, 'Hoodie', '{{}}', '{{}}');
        insert into inbox.dirty (sink, key, stream, low, high) values ('search', '{sku}', '', 0, 0);
        commit"
    );
    pool.get().await.unwrap().batch_execute(&sql).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_answers_and_the_other_takes_its_place() {
    let database = Database::create("replicas").await.unwrap();
    database.migrate("inbox", inbox::MIGRATIONS).await.unwrap();
    database.migrate("search", MIGRATIONS).await.unwrap();
    let (here, there) = (database.pool(8).unwrap(), database.pool(8).unwrap());
    let first = Process::start(&here);
    first.until_found(&[]).await;
    let second = Process::start(&there);
    for sku in ["A", "B", "C"] {
        write(&here, sku).await;
        eventually("it is noticed", || async {
            let count = "select count(*) from inbox.dirty";
            Ok(here.get().await?.query_one(count, &[]).await?.get::<_, i64>(0) == 0)
        })
        .await;
    }
    first.until_found(&["A", "B", "C"]).await;
    assert_eq!((first.index.cleared(), second.index.cleared()), (1, 0), "one after the other");
    assert_eq!(second.indexer.status().state, "waiting");
    assert!(second.indexer.search(words("hoodie")).await.is_err());

    drop(first);
    write(&there, "D").await;
    second.until_found(&["A", "B", "C", "D"]).await;
    assert_eq!(second.index.cleared(), 1);
}
