//! Whether broker and sidecar may be used: what would lose deliveries in silence is refused.

use std::time::Duration;

/// What is wrong with a broker or a sidecar, and what mends it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// When its memory is full it would take whole streams away, and tell nobody.
    #[error(
        "this Redis cannot carry streams: its maxmemory-policy is {0} (set `maxmemory-policy \
         noeviction`)"
    )]
    Policy(String),
    /// A delivery that is refused once would be acknowledged and gone.
    #[error(
        "this sidecar has no resiliency `{RESILIENCY}`, so what is refused once may be gone (add \
         components/resiliency.yaml to its --resources-path)"
    )]
    NoRetries,
}

/// The name in `components/resiliency.yaml`.
const RESILIENCY: &str = "syncline";
/// What the sidecar counts for each resiliency file that it has read.
const LOADED: &str = "dapr_resiliency_loaded{";
/// Between two looks at one that does not answer yet.
pub(crate) const LOOK_PAUSE: Duration = Duration::from_millis(500);

/// Judges a Redis by its answer to `INFO memory`; one that does not tell its policy passes.
pub(crate) fn streams(info: &str) -> Result<(), Unfit> {
    let policy = info.lines().find_map(|line| line.trim_end().strip_prefix("maxmemory_policy:"));
    // The others touch only keys that expire, and streams do not.
    match policy.filter(|policy| policy.starts_with("allkeys-")) {
        Some(policy) => Err(Unfit::Policy(policy.to_owned())),
        None => Ok(()),
    }
}

/// Judges a sidecar by its metrics.
pub(crate) fn sidecar(metrics: &str) -> Result<(), Unfit> {
    let name = format!("name=\"{RESILIENCY}\"");
    let mut loaded = metrics.lines().filter(|line| line.starts_with(LOADED));
    if loaded.any(|line| line.contains(&name)) { Ok(()) } else { Err(Unfit::NoRetries) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redis_that_evicts_streams_is_refused_with_what_mends_it() {
        let info = |policy| format!("# Memory\r\nmaxmemory:9\r\nmaxmemory_policy:{policy}\r\n");
        for policy in ["noeviction", "volatile-lru", "volatile-ttl"] {
            assert_eq!(streams(&info(policy)), Ok(()), "{policy}");
        }
        for policy in ["allkeys-lru", "allkeys-lfu", "allkeys-random"] {
            let said = streams(&info(policy)).unwrap_err().to_string();
            assert!(said.contains(policy) && said.contains("noeviction"), "{said}");
        }
        assert_eq!(streams(""), Ok(()));
    }

    #[test]
    fn a_sidecar_without_our_retries_is_refused_with_what_mends_it() {
        let line = |name| format!("{LOADED}app_id=\"a\",name=\"{name}\",namespace=\"\"}} 1");
        assert_eq!(sidecar(&line(RESILIENCY)), Ok(()));
        for metrics in [String::new(), line("other"), format!("# HELP {RESILIENCY}")] {
            let said = sidecar(&metrics).unwrap_err().to_string();
            assert!(said.contains("components/resiliency.yaml"), "{said}");
        }
    }
}
