//! The `pricing` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    service_kit::main::<pricing::Pricing>()
}
