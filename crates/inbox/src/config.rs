//! The settings of a consumer.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use contracts::Source;
use reqwest::Url;
use tokio_util::sync::CancellationToken;

use crate::{Error, Monitor};

/// The source's name follows.
const RELAY_URL: &str = "RELAY_URL_";
const SYNC_INTERVAL_MS: u64 = 300;
const FEED_LIMIT: u32 = 1_000;
const PAGE_LIMIT: u32 = 1_000;
/// No relay answers with more.
const ANSWER_ROWS_MAX: i64 = 5_000;
const JOURNAL_DAYS: u32 = 7;

/// How this service follows its sources.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Config {
    /// Name under which this copy is known to its sources; the service's own name if not set
    #[arg(long, env = "CONSUMER")]
    pub consumer: Option<String>,
    /// Where the relay of a source is asked directly; also set by `RELAY_URL_<SOURCE>`
    #[arg(long = "relay-url", value_name = "SOURCE=URL", value_parser = Road::to_url)]
    #[arg(default_values_t = from_env(RELAY_URL))]
    pub relay_urls: Vec<Road>,
    /// App-id of the relay of a source where it is not `relay`; also set by `RELAY_APP_ID_<SOURCE>`
    #[arg(long = "relay-app-id", value_name = "SOURCE=ID")]
    #[arg(default_values_t = from_env("RELAY_APP_ID_"))]
    pub relay_app_ids: Vec<Road>,
    /// What a copy does whose source turns out to have another past
    #[arg(long, env = "ON_DIVERGENCE", default_value = "stop")]
    pub on_divergence: OnDivergence,
    /// Milliseconds between two questions where the heads are
    #[arg(long, env = "SYNC_INTERVAL_MS", default_value_t = SYNC_INTERVAL_MS)]
    pub sync_interval_ms: u64,
    /// Most changes in one answer of a feed
    #[arg(long, env = "FEED_LIMIT", default_value_t = FEED_LIMIT)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=ANSWER_ROWS_MAX))]
    pub feed_limit: u32,
    /// Most rows in one page of a snapshot, which is applied in one transaction
    #[arg(long, env = "PAGE_LIMIT", default_value_t = PAGE_LIMIT)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=ANSWER_ROWS_MAX))]
    pub page_limit: u32,
    /// Days for which it is kept what became of each batch of changes and when each sink had
    /// noticed it; what is older cannot be told when somebody asks where a change is
    #[arg(long, env = "JOURNAL_DAYS", default_value_t = JOURNAL_DAYS)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub journal_days: u32,
    /// Ends everything when cancelled.
    #[arg(skip)]
    pub stop: CancellationToken,
    /// Knows whether the copies are ready, and shows their state.
    #[arg(skip)]
    pub monitor: Monitor,
}

/// What a copy does whose source turns out to have another past.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnDivergence {
    /// It stands still, unready, until somebody looks and commands a rebuild.
    Stop,
    /// It rebuilds at once; whatever only the copy still held is gone.
    Rebuild,
}

/// How the relay of one source is reached: `SOURCE=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Road {
    source: String,
    value: String,
}

impl Road {
    /// The relay of this source is reached by this URL or app-id.
    pub fn new(source: &Source, value: impl Into<String>) -> Self {
        Self { source: in_capitals(source.as_str()), value: value.into() }
    }

    fn to_url(raw: &str) -> Result<Self, String> {
        let road: Self = raw.parse()?;
        let url: Url = road.value.parse().map_err(|error| format!("{}: {error}", road.value))?;
        match url.scheme() {
            "http" | "https" => Ok(road),
            scheme => Err(format!("{}: {scheme} is neither http nor https", road.value)),
        }
    }
}

impl FromStr for Road {
    type Err = String;

    fn from_str(raw: &str) -> Result<Self, String> {
        match raw.split_once('=') {
            Some((source, value)) if !source.is_empty() && !value.is_empty() => {
                Ok(Self { source: in_capitals(source), value: value.to_owned() })
            }
            _ => Err(format!("{raw:?} is not SOURCE=VALUE")),
        }
    }
}

impl fmt::Display for Road {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.source, self.value)
    }
}

impl Config {
    /// The same settings under the service's own name, where no other was given.
    #[must_use]
    pub fn named(mut self, service: &str) -> Self {
        self.consumer.get_or_insert_with(|| service.to_owned());
        self
    }

    pub(crate) fn consumer(&self) -> Result<&str, Error> {
        let missing = || Error::Config("the consumer has no name; set CONSUMER".to_owned());
        self.consumer.as_deref().filter(|name| !name.is_empty()).ok_or_else(missing)
    }

    pub(crate) fn relay_url(&self, source: &Source) -> Option<&str> {
        find(&self.relay_urls, source)
    }

    pub(crate) fn relay_url_variable(source: &Source) -> String {
        format!("{RELAY_URL}{}", in_capitals(source.as_str()))
    }

    pub(crate) fn relay_app_id(&self, source: &Source) -> &str {
        find(&self.relay_app_ids, source).unwrap_or("relay")
    }

    pub(crate) fn sync_interval(&self) -> Duration {
        Duration::from_millis(self.sync_interval_ms.max(10))
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            consumer: None,
            relay_urls: Vec::new(),
            relay_app_ids: Vec::new(),
            on_divergence: OnDivergence::Stop,
            sync_interval_ms: SYNC_INTERVAL_MS,
            feed_limit: FEED_LIMIT,
            page_limit: PAGE_LIMIT,
            journal_days: JOURNAL_DAYS,
            stop: CancellationToken::new(),
            monitor: Monitor::default(),
        }
    }
}

fn find<'a>(roads: &'a [Road], source: &Source) -> Option<&'a str> {
    let name = in_capitals(source.as_str());
    roads.iter().find(|road| road.source == name).map(|road| road.value.as_str())
}

/// Which sources there are is not known here, so these settings carry the source in their names.
fn from_env(prefix: &str) -> Vec<Road> {
    let roads = std::env::vars_os().filter_map(|(name, value)| {
        let source = in_capitals(name.to_str()?.strip_prefix(prefix)?);
        let value = value.into_string().ok().filter(|value| !value.is_empty())?;
        Some(Road { source, value })
    });
    roads.collect()
}

fn in_capitals(source: &str) -> String {
    source.to_ascii_uppercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Arguments {
        #[command(flatten)]
        config: Config,
    }

    #[test]
    fn a_relay_is_found_by_the_name_of_its_source() {
        let arguments = ["test", "--relay-url", "crm-sync=http://127.0.0.1:9/"];
        let config = Arguments::try_parse_from(arguments).unwrap().config;
        let source = Source::parse("crm-sync").unwrap();
        assert_eq!(config.relay_url(&source), Some("http://127.0.0.1:9/"));
        assert_eq!(config.relay_app_id(&source), "relay");
        assert_eq!(config.on_divergence, OnDivergence::Stop);
        assert!(Arguments::try_parse_from(["test", "--relay-url", "crm-sync"]).is_err());
    }

    #[test]
    fn a_relay_url_that_nobody_could_ask_is_refused_at_the_start() {
        for url in ["127.0.0.1:8085", "localhost:8085", "http://", "redis://127.0.0.1:8085"] {
            let argument = format!("--relay-url=shop={url}");
            assert!(Arguments::try_parse_from(["test", &argument]).is_err(), "{url}");
        }
        let fine = ["test", "--relay-url=shop=http://relay:8085"];
        assert!(Arguments::try_parse_from(fine).is_ok());
    }

    #[test]
    fn limits_that_no_answer_could_keep_are_refused_at_the_start() {
        for wrong in ["--feed-limit=0", "--feed-limit=5001", "--page-limit=0", "--page-limit=9999"]
        {
            assert!(Arguments::try_parse_from(["test", wrong]).is_err(), "{wrong}");
        }
        assert!(Arguments::try_parse_from(["test", "--feed-limit=5000"]).is_ok());
    }

    #[test]
    fn a_consumer_has_the_name_of_its_service_unless_it_was_given_another() {
        assert!(Config::default().consumer().is_err());
        assert_eq!(Config::default().named("search").consumer().unwrap(), "search");
        let config = Config { consumer: Some("other".to_owned()), ..Config::default() };
        assert_eq!(config.named("search").consumer().unwrap(), "other");
    }
}
