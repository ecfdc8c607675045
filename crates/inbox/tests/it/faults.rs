//! What a bad record and a failing topic do to the others, with real sidecars: next to nothing.

mod failing;
mod mesh;
mod poison;
