//! Everything a service needs around its own work: settings, pool, migrations, HTTP, probes, tasks,
//! shutdown.
//!
//! It promises that a service is ready only while its checks agree, that every refusal is a
//! problem, that no request and no connection is unbounded (what is [`streamed`], in silence
//! alone), and that the end comes in order. It knows routes, tasks and migrations only, neither
//! outbox nor inbox nor bus, so that each service's `wire` shows its own flow. See [`Program`] for
//! a whole service.

mod app;
mod body;
mod config;
mod connections;
mod error;
mod etag;
mod files;
mod json;
mod metrics;
mod migrate;
mod pool;
mod probes;
mod problem;
mod problem_body;
mod program;
mod server;
mod service;
mod tasks;
mod telemetry;
mod turns;

pub use app::streamed;
pub use body::{Body, BodyStream};
pub use config::{Config, Database, LogFormat, Telemetry};
pub use contracts::chain;
pub use error::{BoxError, Error};
pub use etag::{Etag, Precondition};
pub use json::Json;
pub use migrate::migrate;
pub use probes::Readiness;
pub use problem::{Problem, broken};
pub use problem_body::{FieldBody, ProblemBody};
pub use program::{Program, main};
pub use service::Service;
pub use tasks::Tasks;
