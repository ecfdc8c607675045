//! The `gateway` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    service_kit::main::<gateway::Gateway>()
}
