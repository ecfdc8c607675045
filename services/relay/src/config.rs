//! The settings of the relay.

use std::collections::BTreeMap;

use contracts::Source;
use secrecy::{ExposeSecret as _, SecretString};
use service_kit::Config;

/// What the relay must know.
#[derive(Debug, Clone, clap::Args)]
pub struct Settings {
    /// The databases to relay from, as `<source>=<url>,...`; each as its relay role.
    #[arg(long, env = "SOURCES", hide_env_values = true, value_name = "SOURCES")]
    pub sources: SecretString,

    /// What every service must know.
    #[command(flatten)]
    pub service: Config,

    /// How envelopes travel.
    #[command(flatten)]
    pub bus: bus::Config,

    /// How each source is relayed.
    #[command(flatten)]
    pub relay: outbox::Config,
}

impl AsRef<Config> for Settings {
    fn as_ref(&self) -> &Config {
        &self.service
    }
}

/// `SOURCES` cannot be read; its text holds passwords, so none of it is repeated.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourcesError {
    /// A part that does not begin with a source's name.
    #[error("read SOURCES: part {0} is not <source>=<url>")]
    Malformed(usize),
    /// A source that is named twice.
    #[error("read SOURCES: {0} is named twice")]
    Twice(Source),
}

impl Settings {
    /// The databases by source.
    pub fn sources(&self) -> Result<BTreeMap<Source, SecretString>, SourcesError> {
        sources(self.sources.expose_secret())
    }
}

/// A URL may name several hosts, joined by commas: what follows a comma without naming a source
/// belongs to the URL before it.
fn sources(text: &str) -> Result<BTreeMap<Source, SecretString>, SourcesError> {
    let mut parts: Vec<(Source, String)> = Vec::new();
    for (number, part) in (1..).zip(text.split(',')) {
        let named = part.split_once('=').and_then(|(name, url)| {
            Some((Source::parse(name.trim()).ok()?, url.trim().to_owned()))
        });
        if let Some((source, url)) = named {
            if url.is_empty() {
                return Err(SourcesError::Malformed(number));
            }
            if parts.iter().any(|(known, _)| *known == source) {
                return Err(SourcesError::Twice(source));
            }
            parts.push((source, url));
        } else if let Some((_, url)) = parts.last_mut() {
            url.push(',');
            url.push_str(part);
        } else {
            return Err(SourcesError::Malformed(number));
        }
    }
    Ok(parts.into_iter().map(|(source, url)| (source, url.into())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String)>, SourcesError> {
        let read = sources(text)?;
        let pair = |(source, url): (Source, SecretString)| {
            (source.to_string(), url.expose_secret().to_owned())
        };
        Ok(read.into_iter().map(pair).collect())
    }

    #[test]
    fn each_source_has_its_url() {
        let text = "catalog=postgres://c@h/catalog, pricing=postgres://p:a=b@h1,h2:5433/pricing";
        let expected = [
            ("catalog", "postgres://c@h/catalog"),
            ("pricing", "postgres://p:a=b@h1,h2:5433/pricing"),
        ];
        let expected = expected.map(|(source, url)| (source.to_owned(), url.to_owned()));
        assert_eq!(read(text).unwrap(), expected);
    }

    #[test]
    fn what_names_no_source_or_one_twice_is_refused() {
        for text in ["", "postgres://h/catalog", "catalog=", "Catalog=postgres://h", "=x"] {
            assert_eq!(read(text), Err(SourcesError::Malformed(1)), "{text:?}");
        }
        let twice = Source::parse("a").unwrap();
        assert_eq!(read("a=x,b=y,a=z"), Err(SourcesError::Twice(twice)));
    }
}
