//! The `catalog` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    service_kit::main::<catalog::Catalog>()
}
