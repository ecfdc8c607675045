//! Passwords and tokens of one mesh: drawn once, kept in a file that only its owner reads.

use std::{collections::BTreeMap, fs::File, io::Read as _};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::{
    home::{self, Home},
    mesh::{Database, SERVICES, Service},
    ports::Ports,
    redis::Use,
};

/// What nobody outside may know.
#[derive(Serialize, Deserialize)]
pub(crate) struct Secrets {
    /// What services and sidecars show each other.
    pub(crate) app_token: String,
    /// What a service shows its sidecar, by service.
    pub(crate) sidecar_tokens: BTreeMap<String, String>,
    /// Of the stream Redis.
    pub(crate) redis_password: String,
    /// Of the cache Redis.
    #[serde(default)]
    pub(crate) cache_password: String,
    /// By role.
    pub(crate) passwords: BTreeMap<String, String>,
    /// The databases as their superuser reaches them, by name; this and what follows is written for
    /// people and tests, and made anew at each start.
    #[serde(default)]
    pub(crate) databases: BTreeMap<String, String>,
    /// The databases as each role reaches its own, by role.
    #[serde(default)]
    pub(crate) roles: BTreeMap<String, String>,
    /// The stream Redis, where there is one.
    #[serde(default)]
    pub(crate) redis: Option<String>,
    /// The cache Redis.
    #[serde(default)]
    pub(crate) cache: Option<String>,
}

/// The role that PostgreSQL is set up with.
pub(crate) const SUPERUSER: &str = "postgres";

impl Secrets {
    /// Reads those of the home, draws what is missing and writes them back for these ports.
    pub(crate) fn open(home: &Home, ports: &Ports) -> Result<Self> {
        let mut secrets = home::read(&home.secrets_file())?.unwrap_or(Self {
            app_token: draw()?,
            sidecar_tokens: BTreeMap::new(),
            redis_password: draw()?,
            cache_password: String::new(),
            passwords: BTreeMap::new(),
            databases: BTreeMap::new(),
            roles: BTreeMap::new(),
            redis: None,
            cache: None,
        });
        if secrets.cache_password.is_empty() {
            secrets.cache_password = draw()?;
        }
        draw_missing(&mut secrets.passwords, SUPERUSER)?;
        for service in SERVICES {
            draw_missing(&mut secrets.sidecar_tokens, service.name)?;
            for role in roles(service) {
                draw_missing(&mut secrets.passwords, &role)?;
            }
        }
        secrets.address(ports)?;
        home::write(&home.secrets_file(), &secrets)?;
        Ok(secrets)
    }

    /// Reads those of a home that was up before.
    pub(crate) fn read(home: &Home) -> Result<Option<Self>> {
        home::read(&home.secrets_file())
    }

    /// The password of a role.
    pub(crate) fn password(&self, role: &str) -> Result<&str> {
        Ok(self.passwords.get(role).with_context(|| format!("no password of {role}"))?)
    }

    /// The address of its database for a role of a service.
    pub(crate) fn url(&self, role: &str) -> Result<&str> {
        Ok(self.roles.get(role).with_context(|| format!("no database of {role}"))?)
    }

    fn address(&mut self, ports: &Ports) -> Result<()> {
        let port = ports.get("postgres").context("PostgreSQL has no port")?;
        self.databases.clear();
        self.roles.clear();
        for service in SERVICES.iter().filter(|service| service.has_database()) {
            let database = service.name;
            for role in roles(service) {
                let url = self.address_of(&role, *port, database)?;
                self.roles.insert(role, url);
            }
            let url = self.address_of(SUPERUSER, *port, database)?;
            self.databases.insert(database.to_owned(), url);
        }
        let redis = |usage: Use, password: &str| {
            let port = ports.get(usage.part())?;
            Some(format!("redis://:{password}@127.0.0.1:{port}"))
        };
        self.redis = redis(Use::Streams, &self.redis_password);
        self.cache = redis(Use::Cache, &self.cache_password);
        Ok(())
    }

    fn address_of(&self, role: &str, port: u16, database: &str) -> Result<String> {
        Ok(format!("postgres://{role}:{}@127.0.0.1:{port}/{database}", self.password(role)?))
    }
}

/// The roles that come with a service's database.
pub(crate) fn roles(service: &Service) -> Vec<String> {
    match service.database {
        Database::None => Vec::new(),
        Database::Copies => vec![service.owner_role(), service.name.to_owned()],
        Database::Masters => {
            vec![service.owner_role(), service.name.to_owned(), service.relay_role()]
        }
    }
}

fn draw_missing(kept: &mut BTreeMap<String, String>, name: &str) -> Result<()> {
    if !kept.contains_key(name) {
        kept.insert(name.to_owned(), draw()?);
    }
    Ok(())
}

/// 160 bits of the kernel's randomness, in letters and digits that need no quoting anywhere.
pub(crate) fn draw() -> Result<String> {
    let mut bytes = [0_u8; 20];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .context("drawing a password")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_draws_are_alike() {
        let one = draw().unwrap();
        assert_eq!(one.len(), 40);
        assert_ne!(one, draw().unwrap());
    }
}
