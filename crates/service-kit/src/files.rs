//! How many files the process may open: each connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::Error;

/// For the database, the sidecar, an index, requests to others and what the runtime itself holds.
const OTHER_FILES: u64 = 1024;

/// Lets the process open as many files as its connections need, up to what it may raise by itself:
/// a service that runs out of files answers nobody, its probes neither.
pub(crate) fn allow(connections_max: usize) -> Result<(), Error> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let needed = needed(connections_max);
    if !is_enough(current, needed) {
        if !is_enough(maximum, needed) {
            let maximum = maximum.unwrap_or(u64::MAX);
            return Err(Error::OpenFiles { connections_max, needed, maximum });
        }
        setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum })
            .map_err(|error| Error::RaiseFiles { needed, source: error.into() })?;
    }
    Ok(())
}

fn needed(connections_max: usize) -> u64 {
    u64::try_from(connections_max).unwrap_or(u64::MAX).saturating_add(OTHER_FILES)
}

/// No limit is enough for anything.
fn is_enough(limit: Option<u64>, needed: u64) -> bool {
    limit.is_none_or(|limit| limit >= needed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_connections_than_files_are_refused_with_what_to_set() {
        let maximum = getrlimit(Resource::Nofile).maximum;
        let Some(maximum) = maximum.and_then(|files| usize::try_from(files).ok()) else { return };
        let said = allow(maximum).unwrap_err().to_string();
        assert!(said.contains("HTTP_CONNECTIONS_MAX") && said.contains("ulimit"), "{said}");
        allow(16).unwrap();
        let current = getrlimit(Resource::Nofile).current;
        assert!(is_enough(current, needed(16)), "{current:?}");
    }
}
