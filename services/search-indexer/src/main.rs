//! The `search-indexer` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    service_kit::main::<search_indexer::SearchIndexer>()
}
