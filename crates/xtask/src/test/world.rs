//! What tests find when they start: private servers, a sidecar's program, and this program.

use std::{fmt, path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use crate::{
    daprd, home,
    install::Consent,
    redis::Use,
    servers::{FOR_TESTS, Postgres, Redis, Scratch},
    settings::Settings,
};

/// Everything that tests are told of; ended with this value. Fields end in this order.
#[derive(Debug)]
pub(super) struct World {
    postgres: Postgres,
    redis: Redis,
    daprd: PathBuf,
    runner: PathBuf,
    scratch: Scratch,
}

impl World {
    /// Finds, installs or builds what is needed, and starts it.
    pub(super) fn start(settings: &Settings, consent: Consent) -> Result<Self> {
        let runner = home::this_program()?.get_program().into();
        let daprd = daprd::find_or_build(settings).context("finding the sidecar")?.path;
        let scratch = Scratch::create()?;
        let postgres = Postgres::start(settings, &scratch, consent, FOR_TESTS)?;
        let redis = Redis::start(settings, &scratch, consent, Use::Streams)?;
        Ok(Self { postgres, redis, daprd, runner, scratch })
    }

    /// Tells a test of it.
    pub(super) fn tell(&self, command: &mut Command) {
        command
            .env("TEST_DATABASE_URL", self.postgres.url())
            .env("TEST_REDIS_URL", self.redis.url())
            .env("TEST_REDIS_SERVER", self.redis.program())
            .env("DAPRD", &self.daprd)
            .env("SYNCLINE_X", &self.runner)
            .env("SYNCLINE_NO_BUILD", "true")
            .env("TMPDIR", self.scratch.temporary());
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "daprd {}", self.daprd.display())
    }
}
