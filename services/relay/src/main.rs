//! The `relay` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    service_kit::main::<relay::Program>()
}
