//! The `warehouse` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    service_kit::main::<warehouse::Warehouse>()
}
