//! Records of a made-up owner, over a real database.

mod answers;
mod imports;
mod world;
