//! The command line that every service has: run, `migrate`, `openapi`, `--help`.

use std::{io::Write as _, process::ExitCode};

use clap::{ArgMatches, Args, Command, FromArgMatches as _};
use contracts::chain;
use tokio_postgres::{Client, NoTls};

use crate::{
    BoxError, Config, Error, Service, config::Telemetry as TelemetryConfig, pool,
    telemetry::Telemetry,
};

/// What a service is, as far as its command line must know.
///
/// ```no_run
/// use service_kit::{BoxError, Config, Program, Service};
///
/// struct Greeter;
///
/// #[derive(clap::Args)]
/// struct Settings {
///     #[command(flatten)]
///     service: Config,
/// }
///
/// impl AsRef<Config> for Settings {
///     fn as_ref(&self) -> &Config {
///         &self.service
///     }
/// }
///
/// impl Program for Greeter {
///     const NAME: &'static str = "greeter";
///     const ABOUT: &'static str = "Says hello.";
///     const LISTEN: &'static str = "127.0.0.1:8099";
///     type Settings = Settings;
///
///     async fn wire(service: Service, _settings: Settings) -> Result<(), BoxError> {
///         let hello = axum::routing::get(|| async { "hello" });
///         Ok(service.serve(axum::Router::new().route("/", hello)).await?)
///     }
/// }
///
/// fn main() -> std::process::ExitCode {
///     service_kit::main::<Greeter>()
/// }
/// ```
pub trait Program {
    /// The service's name, also its app-id and its database's name.
    const NAME: &'static str;
    /// What it does, in one sentence, for `--help`.
    const ABOUT: &'static str;
    /// The address it serves on by default: 127.0.0.1 and the port of the service.
    const LISTEN: &'static str;
    /// Its settings, with [`Config`] flattened among them.
    type Settings: Args + AsRef<Config>;

    /// Puts the service together and serves until the end.
    fn wire(
        service: Service,
        settings: Self::Settings,
    ) -> impl Future<Output = Result<(), BoxError>> + Send;

    /// Brings the service's schemas up to date, as owner of the database; offered only where
    /// [`Database`](crate::Database) is among the settings.
    fn migrate(_client: &mut Client) -> impl Future<Output = Result<(), BoxError>> + Send {
        async {
            tracing::info!("{} owns no tables: nothing to migrate", Self::NAME);
            Ok(())
        }
    }

    /// Its HTTP interface as an OpenAPI document, where it has one.
    fn openapi() -> Option<String> {
        None
    }
}

/// The setting by which one knows that a service has a database.
const DATABASE: &str = "database_url";

/// Runs the program by its command line; exit code 1 is a failure, 2 a wrong command line.
pub fn main<P: Program>() -> ExitCode {
    let matches = match command::<P>().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            // Help goes to stdout with code 0, complaints to stderr with code 2.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    match dispatch::<P>(&matches) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{}: {}", P::NAME, chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn dispatch<P: Program>(matches: &ArgMatches) -> Result<(), BoxError> {
    match matches.subcommand() {
        Some(("migrate", matches)) => {
            let settings = MigrateSettings::from_arg_matches(matches)?;
            runtime()?.block_on(run_migrate::<P>(settings))
        }
        Some(("openapi", _)) => {
            let document = P::openapi().ok_or("this service has no OpenAPI document")?;
            Ok(writeln!(std::io::stdout(), "{document}")?)
        }
        _ => {
            let settings = P::Settings::from_arg_matches(matches)?;
            runtime()?.block_on(async {
                let service = Service::start(P::NAME, settings.as_ref())?;
                P::wire(service, settings).await
            })
        }
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

/// What `migrate` needs: less than serving does.
#[derive(Debug, Args)]
struct MigrateSettings {
    /// The database to migrate, as its owner.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: secrecy::SecretString,

    #[command(flatten)]
    telemetry: TelemetryConfig,
}

async fn run_migrate<P: Program>(settings: MigrateSettings) -> Result<(), BoxError> {
    let telemetry = Telemetry::start(P::NAME, &settings.telemetry)?;
    let name = format!("{} migrate", P::NAME);
    let connection = pool::connection(&name, &settings.database_url)?;
    let (mut client, connection) =
        connection.connect(NoTls).await.map_err(|e| Error::Connect(e.into()))?;
    let outcome = tokio::select! {
        outcome = P::migrate(&mut client) => outcome,
        // The connection ends by itself only when it breaks.
        broken = connection => Err(broken.err().map_or_else(|| "closed".into(), Into::into)),
    };
    telemetry.shutdown().await;
    outcome
}

fn command<P: Program>() -> Command {
    // The settings' own texts are for readers of the code; as `about` they would hide ours.
    let mut command = P::Settings::augment_args(Command::new(P::NAME))
        .about(P::ABOUT)
        .version(env!("CARGO_PKG_VERSION"))
        .mut_arg("listen", |arg| arg.required(false).default_value(P::LISTEN))
        .subcommand_negates_reqs(true)
        .args_conflicts_with_subcommands(true);
    if command.get_arguments().any(|arg| arg.get_id() == DATABASE) {
        let migrate = MigrateSettings::augment_args(Command::new("migrate"));
        let about = "Bring the database up to date, as its owner, and end";
        command = command.subcommand(migrate.about(about));
    }
    if P::openapi().is_some() {
        let openapi = Command::new("openapi").about("Print the OpenAPI document and end");
        command = command.subcommand(openapi);
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Database;

    #[derive(Args)]
    struct Settings<D: Args> {
        #[command(flatten)]
        service: Config,
        #[command(flatten)]
        database: D,
    }

    impl<D: Args> AsRef<Config> for Settings<D> {
        fn as_ref(&self) -> &Config {
            &self.service
        }
    }

    #[derive(Args)]
    struct Nothing {}

    struct Sample<D>(std::marker::PhantomData<D>);

    impl<D: Args + Send> Program for Sample<D> {
        const NAME: &'static str = "sample";
        const ABOUT: &'static str = "Stands for all of them.";
        const LISTEN: &'static str = "127.0.0.1:8099";
        type Settings = Settings<D>;

        async fn wire(_service: Service, settings: Settings<D>) -> Result<(), BoxError> {
            drop(settings.database);
            Ok(())
        }
    }

    fn help(mut command: Command) -> String {
        command.render_long_help().to_string()
    }

    #[test]
    fn a_service_with_a_database_says_how_to_migrate_it() {
        let said = help(command::<Sample<Database>>());
        assert!(said.starts_with("Stands for all of them."), "{said}");
        assert!(said.contains("DATABASE_STATEMENT_MS_MAX"), "{said}");
        assert!(
            said.contains("migrate  Bring the database up to date, as its owner, and end"),
            "{said}"
        );
    }

    #[test]
    fn a_service_without_a_database_is_not_asked_for_one() {
        let said = help(command::<Sample<Nothing>>());
        assert!(said.contains("HTTP_REQUEST_MS_MAX"), "{said}");
        assert!(!said.contains("DATABASE") && !said.contains("migrate"), "{said}");
        let run = command::<Sample<Nothing>>().try_get_matches_from(["sample", "migrate"]);
        assert!(run.is_err());
    }
}
