//! The benchmark: what a change costs and how long it takes, beside what this machine could do.

pub mod clock;
pub mod consumer;
pub mod figures;
pub mod lane;
pub mod limit;
pub mod machine;
pub mod measure;
pub mod meter;
pub mod ops;
pub mod place;
pub mod plain;
pub mod plain_lane;
pub mod plan;
pub mod proc;
pub mod process;
pub mod report;
pub mod rounds;
pub mod run;
pub mod scenario;
pub mod session;
pub mod sidecar;
pub mod source;
pub mod stall;
pub mod targets;
pub mod workload;
pub mod writer;
