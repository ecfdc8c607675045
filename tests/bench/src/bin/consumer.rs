//! The `bench-consumer` program: the one consumer of a lane, unless more are said.

use std::process::ExitCode;

fn main() -> ExitCode {
    service_kit::main::<bench::consumer::Consumer>()
}
