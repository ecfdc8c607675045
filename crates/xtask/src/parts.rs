//! The processes of a mesh: how each is started and how it says that it is ready.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::{
    home::{self, Home},
    mesh::{Database, SERVICES, Service, Setting, Transport},
    plan::{Kind, Plan},
    ports, postgres, process,
    redis::{self, Use},
    secrets::{SUPERUSER, Secrets},
    trade, workspace,
};

/// What children may inherit; a setting that happens to be in the user's shell must not reach them.
const INHERITED: [&str; 8] = [
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "TZ",
    "TMPDIR",
    "RUST_BACKTRACE",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
];

/// One process to be.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// Its name.
    pub(crate) name: String,
    /// What it is.
    pub(crate) kind: Kind,
    /// Where it listens; 0 if it does not.
    pub(crate) port: u16,
    /// The service that it is, or stands beside.
    service: Option<&'static Service>,
}

/// All that is needed to start and ask the parts of one mesh.
pub(crate) struct Parts<'a> {
    /// Its home.
    pub(crate) home: &'a Home,
    /// What is to run.
    pub(crate) plan: &'a Plan,
    /// Its passwords.
    pub(crate) secrets: &'a Secrets,
}

/// The parts of a plan, in the order in which they start.
pub(crate) fn of(plan: &Plan) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    let mut add = |name: String, kind: Kind, port: u16, service: Option<&'static Service>| {
        parts.push(Part { name, kind, port, service });
    };
    add("postgres".to_owned(), Kind::Postgres, plan.port("postgres")?, None);
    for usage in Use::of(plan.transport) {
        add(usage.part().to_owned(), Kind::Redis, plan.port(usage.part())?, None);
    }
    if plan.transport == Transport::Dapr {
        for service in SERVICES {
            let name = service.sidecar();
            let port = plan.port(&ports::of_sidecar(&name, "http"))?;
            add(name, Kind::Sidecar, port, Some(service));
        }
    }
    for service in SERVICES {
        add(service.name.to_owned(), Kind::Service, plan.port(service.name)?, Some(service));
    }
    if plan.traffic > 0 {
        add("trade".to_owned(), Kind::Trade, 0, None);
    }
    Ok(parts)
}

impl Part {
    /// Where it can be asked over HTTP.
    pub(crate) fn url(&self) -> Option<String> {
        match self.kind {
            Kind::Service | Kind::Sidecar => Some(format!("http://127.0.0.1:{}", self.port)),
            Kind::Postgres | Kind::Redis | Kind::Trade => None,
        }
    }

    /// A part that is never started.
    #[cfg(test)]
    pub(crate) fn for_tests(name: &str, kind: Kind) -> Self {
        Self { name: name.to_owned(), kind, port: 0, service: None }
    }
}

impl Parts<'_> {
    /// The process of a part, as it is to be started.
    pub(crate) fn command(&self, part: &Part) -> Result<Command> {
        match (part.kind, part.service) {
            (Kind::Postgres, _) => Ok(self.clean(postgres::server(&self.plan.postgres, part.port))),
            (Kind::Redis, _) => {
                let program = self.plan.redis.as_ref().context("the plan names no Redis")?;
                let (usage, password) = self.redis(part);
                let place = (usage, part.port);
                Ok(self.clean(redis::server(self.home, program, place, password)?))
            }
            (Kind::Trade, _) => self.trade(),
            (Kind::Sidecar, Some(service)) => self.sidecar(service),
            (Kind::Service, Some(service)) => self.service(service),
            (Kind::Sidecar | Kind::Service, None) => anyhow::bail!("{} has no service", part.name),
        }
    }

    /// The migration of a service's database, by its owner.
    pub(crate) fn migration(&self, service: &Service) -> Result<Command> {
        let mut command = self.service(service)?;
        command.arg("migrate").env("DATABASE_URL", self.secrets.url(&service.owner_role())?);
        Ok(command)
    }

    /// Whether a part does its job now; if not, why.
    pub(crate) fn ready(&self, part: &Part) -> Result<(), String> {
        match part.kind {
            Kind::Postgres => {
                let password = self.secrets.password(SUPERUSER).map_err(|e| e.to_string())?;
                postgres::answers(&self.plan.postgres, part.port, password)
            }
            Kind::Redis => redis::answers(part.port, self.redis(part).1),
            Kind::Sidecar => get(part.port, "/v1.0/healthz"),
            Kind::Service => get(part.port, "/readyz"),
            Kind::Trade => Ok(()),
        }
    }

    fn trade(&self) -> Result<Command> {
        let program = home::this_program()?;
        let mut command = self.clean(process::tied(Path::new(program.get_program()), None));
        command.args(trade::words(self.home, self.plan.traffic)).current_dir("/");
        Ok(command)
    }

    /// What a Redis is for, and its password.
    fn redis(&self, part: &Part) -> (Use, &str) {
        if part.name == Use::Cache.part() {
            (Use::Cache, &self.secrets.cache_password)
        } else {
            (Use::Streams, &self.secrets.redis_password)
        }
    }

    fn service(&self, service: &Service) -> Result<Command> {
        let mut command = self.clean(process::tied(self.program(service)?, None));
        if service.has_database() {
            let url = self.secrets.url(service.name)?;
            command.env("DATABASE_URL", self.along(url, service.name, "postgres")?);
        }
        self.shared_settings(&mut command, service)?;
        for setting in service.settings {
            self.own_setting(&mut command, service, *setting)?;
        }
        for set in self.plan.set.iter().filter(|set| set.service == service.name) {
            command.env(&set.name, &set.value);
        }
        Ok(command)
    }

    fn shared_settings(&self, command: &mut Command, service: &Service) -> Result<()> {
        let listen = format!("127.0.0.1:{}", self.plan.port(service.name)?);
        command
            .env("LISTEN", listen)
            .env("LOG_FORMAT", "text")
            .env("NO_COLOR", "1")
            .env("TRANSPORT", self.plan.transport.to_string())
            .env("APP_API_TOKEN", &self.secrets.app_token);
        if self.plan.transport == Transport::Dapr {
            let sidecar = service.sidecar();
            let port = |which| self.plan.way(service.name, &ports::of_sidecar(&sidecar, which));
            command
                .env("DAPR_HTTP_PORT", port("http")?.to_string())
                .env("DAPR_GRPC_PORT", port("grpc")?.to_string())
                .env("DAPR_METRICS_PORT", port("metrics")?.to_string())
                .env("DAPR_API_TOKEN", self.sidecar_token(service)?);
        }
        // Beside a sidecar the relay only looks whether this Redis may carry streams.
        let is_relay = self.plan.transport == Transport::Dapr && service.name == "relay";
        if self.plan.transport == Transport::Redis || is_relay {
            let url = self.secrets.redis.as_ref().context("Redis has no address")?;
            command.env("REDIS_URL", self.along(url, service.name, "redis")?);
        }
        Ok(())
    }

    fn own_setting(
        &self,
        command: &mut Command,
        service: &Service,
        setting: Setting,
    ) -> Result<()> {
        let along = |url: &str, to: &str| self.along(url, service.name, to);
        match setting {
            Setting::Sources(name) => {
                let masters = SERVICES.iter().filter(|one| one.database == Database::Masters);
                let urls: Result<Vec<String>> = masters
                    .map(|one| {
                        let url = along(self.secrets.url(&one.relay_role())?, "postgres")?;
                        Ok(format!("{}={url}", one.name))
                    })
                    .collect();
                command.env(name, urls?.join(","));
            }
            Setting::Peer(name, peer) => {
                if self.plan.transport != Transport::Dapr {
                    let port = self.plan.way(service.name, peer)?;
                    command.env(name, format!("http://127.0.0.1:{port}"));
                }
            }
            Setting::Address(name, peer) => {
                let port = self.plan.way(service.name, peer)?;
                command.env(name, format!("http://127.0.0.1:{port}"));
            }
            Setting::Cache(name) => {
                let url = self.secrets.cache.as_ref().context("the cache has no address")?;
                command.env(name, along(url, "cache")?);
            }
            Setting::Folder(name, folder) => {
                command.env(name, self.home.path(folder));
            }
        }
        Ok(())
    }

    fn sidecar(&self, service: &Service) -> Result<Command> {
        let program = self.plan.daprd.as_ref().context("the plan names no sidecar")?;
        let components = workspace::root().join("components");
        let sidecar = service.sidecar();
        let port = |which| self.plan.port(&ports::of_sidecar(&sidecar, which));
        let mut command = self.clean(process::tied(program, None));
        command
            .args(["--app-id", service.name])
            .args(["--app-port", &self.plan.way(&sidecar, service.name)?.to_string()])
            .args(["--app-channel-address", "127.0.0.1"])
            .args(["--dapr-http-port", &port("http")?.to_string()])
            .args(["--dapr-grpc-port", &port("grpc")?.to_string()])
            .args(["--dapr-internal-grpc-port", &port("internal")?.to_string()])
            .args(["--metrics-port", &port("metrics")?.to_string()])
            .args(["--dapr-listen-addresses", "127.0.0.1"])
            .args(["--dapr-internal-grpc-listen-address", "127.0.0.1"])
            .args(["--metrics-listen-address", "127.0.0.1"])
            .args(["--disable-init-endpoints", "subscribe,config"])
            // The longest address and headers that the gateway passes on, escaped, and then some.
            .args(["--read-buffer-size", "64Ki"])
            .args(["--dapr-graceful-shutdown-seconds", "3"]);
        command.arg("--config").arg(components.join("configuration.yaml"));
        for folder in [components.clone(), components.join("subscriptions")] {
            command.arg("--resources-path").arg(folder);
        }
        command
            .env("DAPR_HOST_IP", "127.0.0.1")
            .env("DAPR_API_TOKEN", self.sidecar_token(service)?)
            .env("APP_API_TOKEN", &self.secrets.app_token)
            .env("SYNCLINE_NAMES", self.names_file())
            .env("SYNCLINE_REDIS_HOST", format!("127.0.0.1:{}", self.plan.way(&sidecar, "redis")?))
            .env("SYNCLINE_REDIS_PASSWORD", &self.secrets.redis_password);
        Ok(command)
    }

    /// The file in which sidecars find each other.
    pub(crate) fn names_file(&self) -> PathBuf {
        self.home.path("names.db")
    }

    /// A URL as this part is told it: with another port where its way leads elsewhere.
    fn along(&self, url: &str, from: &str, to: &str) -> Result<String> {
        let place = |port: u16| format!("127.0.0.1:{port}");
        Ok(url.replace(&place(self.plan.port(to)?), &place(self.plan.way(from, to)?)))
    }

    fn sidecar_token(&self, service: &Service) -> Result<&str> {
        let token = self.secrets.sidecar_tokens.get(service.name);
        Ok(token.with_context(|| format!("the sidecar of {} has no token", service.name))?)
    }

    fn program(&self, service: &Service) -> Result<&PathBuf> {
        let program = self.plan.programs.get(service.name);
        program.with_context(|| format!("the plan names no program of {}", service.name))
    }

    fn clean(&self, mut command: Command) -> Command {
        let kept: Vec<_> = std::env::vars_os()
            .filter(|(name, _)| INHERITED.iter().any(|one| name == one))
            .collect();
        command.env_clear().envs(kept);
        command
    }
}

/// Whether a path answers with success; if not, what it says.
pub(crate) fn get(port: u16, path: &str) -> Result<(), String> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(2)))
        .http_status_as_error(false)
        .build()
        .into();
    let url = format!("http://127.0.0.1:{port}{path}");
    let mut answer = agent.get(url).call().map_err(|error| error.to_string())?;
    if answer.status().is_success() {
        return Ok(());
    }
    let body = answer.body_mut().read_to_string().unwrap_or_default();
    let told: String = body.trim().chars().take(300).collect();
    Err(format!("{path} answers {}: {told}", answer.status().as_u16()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    /// The flags of a command line in Rust, each with its value where that is a literal too.
    fn flags(source: &str) -> BTreeSet<(&str, Option<&str>)> {
        let code = source.split("mod tests {").next().unwrap_or_default();
        let pieces = code.split("\"--").skip(1).filter_map(|piece| piece.split_once('"'));
        let valued = pieces.map(|(flag, after)| {
            let value = after.strip_prefix(", \"").and_then(|value| value.split_once('"'));
            (flag, value.map(|(value, _)| value))
        });
        // What stands before the sidecar's own program belongs to the one that ties it to us.
        valued.filter(|(flag, _)| !["", "pdeathsig"].contains(flag)).collect()
    }

    #[test]
    fn sidecars_under_test_have_the_flags_of_those_in_use() {
        let ours = flags(include_str!("parts.rs"));
        assert!(ours.contains(&("app-id", None)));
        assert!(ours.contains(&("read-buffer-size", Some("64Ki"))));
        assert_eq!(flags(include_str!("../../testkit/src/sidecar.rs")), ours);
    }
}
