//! What the plain app stands on: two databases with products in them, and component files.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use testkit::Database;

const SOURCE: &str = include_str!("../../migrations/V2__plain_source.sql");
const COPY: &str = include_str!("../../migrations/V3__plain_copy.sql");
const PRELOAD_SOURCE: &str = include_str!("../../queries/plain_preload_source.sql");
const PRELOAD_COPY: &str = include_str!("../../queries/plain_preload_copy.sql");
const FILES: [(&str, &str); 3] = [
    ("pubsub.yaml", include_str!("../../plain/pubsub.yaml")),
    ("resiliency.yaml", include_str!("../../plain/resiliency.yaml")),
    ("subscription.yaml", include_str!("../../plain/subscription.yaml")),
];

/// Everything that must be there before the first process starts; the databases go with it.
///
/// The broker must have forgotten what an earlier one published: a consumer group that is new to a
/// stream is sent all that the stream still holds.
#[derive(Debug)]
pub struct Setup {
    /// The producer's database.
    pub source: Database,
    /// The consumer's database.
    pub copy: Database,
    /// The folder that both sidecars are given by `--resources-path`.
    pub resources: PathBuf,
}

impl Setup {
    /// Makes both databases with as many products in each, and the files in a folder, which is made
    /// if it is not there.
    pub async fn create(folder: &Path, products: u32) -> anyhow::Result<Self> {
        let source = database("plain-source", "plain_source", SOURCE).await?;
        fill(&source, "plain_source", PRELOAD_SOURCE, products).await?;
        let copy = database("plain-copy", "plain_copy", COPY).await?;
        fill(&copy, "plain_copy", PRELOAD_COPY, products).await?;
        fs::create_dir_all(folder).context("making the folder of the components")?;
        for (name, text) in FILES {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(Self { source, copy, resources: folder.to_owned() })
    }
}

async fn database(label: &str, schema: &str, tables: &str) -> anyhow::Result<Database> {
    let database = Database::create(label).await?;
    database.migrate(schema, &[(schema, tables)]).await?;
    Ok(database)
}

/// Products, and what a while of running would have left to do for the first writes.
async fn fill(
    database: &Database,
    schema: &str,
    preload: &str,
    products: u32,
) -> anyhow::Result<()> {
    let client = database.connect().await?;
    client.execute(preload, &[&i64::from(products)]).await.context("making products")?;
    client.batch_execute(&format!("vacuum (analyze) {schema}.product")).await?;
    Ok(())
}
