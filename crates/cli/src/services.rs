//! Where the services are: at their documented ports on this machine, unless told otherwise.

use anyhow::{Context as _, Result, bail};

/// The service that knows every source.
pub(crate) const RELAY: &str = "relay";
/// The service that everything from outside goes through.
pub(crate) const GATEWAY: &str = "gateway";

/// The documented ports.
const DOCUMENTED: [(&str, u16); 6] = [
    (GATEWAY, 8080),
    ("catalog", 8081),
    ("pricing", 8082),
    ("warehouse", 8083),
    ("search-indexer", 8084),
    (RELAY, 8085),
];

/// Where to find the services.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Where the services are")]
pub(crate) struct Services {
    /// A service that is not at its documented port on 127.0.0.1 (gateway 8080, catalog 8081,
    /// pricing 8082, warehouse 8083, search-indexer 8084, relay 8085), or one more; may be given
    /// several times.
    #[arg(
        long = "service",
        env = "SYNCLINE_SERVICES",
        value_name = "NAME=URL",
        value_delimiter = ',',
        global = true
    )]
    named: Vec<String>,
    /// Added to every documented port, as by `cargo x up --port-offset`.
    #[arg(
        long,
        env = "SYNCLINE_PORT_OFFSET",
        value_name = "N",
        default_value_t = 0,
        global = true
    )]
    port_offset: u16,
}

/// One service and its URL, without a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) service: String,
    pub(crate) url: String,
}

impl Services {
    /// Every service that is known.
    pub(crate) fn places(&self) -> Result<Vec<Place>> {
        let mut places = Vec::with_capacity(DOCUMENTED.len());
        for (service, port) in DOCUMENTED {
            let port = port.checked_add(self.port_offset);
            let port = port.context("--port-offset: no port is that high")?;
            let url = format!("http://127.0.0.1:{port}");
            places.push(Place { service: service.to_owned(), url });
        }
        for named in self.named.iter().filter(|named| !named.is_empty()) {
            let Some((service, url)) = named.split_once('=') else {
                bail!("--service {named}: write it as NAME=URL, like relay=http://127.0.0.1:8085");
            };
            let (service, url) = (service.trim(), url.trim().trim_end_matches('/').to_owned());
            if service.is_empty() || !["http://", "https://"].iter().any(|s| url.starts_with(s)) {
                bail!("--service {named}: the URL of {service:?} must begin with http://");
            }
            match places.iter_mut().find(|place| place.service == service) {
                Some(place) => place.url = url,
                None => places.push(Place { service: service.to_owned(), url }),
            }
        }
        Ok(places)
    }
}

/// The place of a service that is always known.
pub(crate) fn find<'a>(places: &'a [Place], service: &str) -> &'a Place {
    places
        .iter()
        .find(|place| place.service == service)
        .expect("every documented service has a place")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(named: &[&str], port_offset: u16) -> Result<Vec<String>> {
        let named = named.iter().map(|&named| named.to_owned()).collect();
        let places = Services { named, port_offset }.places()?;
        Ok(places.into_iter().map(|place| format!("{} {}", place.service, place.url)).collect())
    }

    #[test]
    fn documented_ports_move_together_and_names_overrule_them() {
        let urls = urls(&["relay=http://r:1/", "extra=https://e"], 1000).unwrap();
        for place in ["gateway http://127.0.0.1:9080", "relay http://r:1", "extra https://e"] {
            assert!(urls.iter().any(|known| known == place), "{place} in {urls:?}");
        }
    }

    #[test]
    fn what_is_no_url_is_refused_by_name() {
        for named in ["relay", "relay=127.0.0.1:80", "=http://x", "relay="] {
            let error = urls(&[named], 0).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
        assert!(urls(&[], 60_000).is_err());
    }
}
