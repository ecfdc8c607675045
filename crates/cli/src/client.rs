//! Questions to services over HTTP: one JSON answer, or why there is none.

use std::time::Duration;

use contracts::Problem;
use serde::de::DeserializeOwned;

use crate::services::Place;

const CONNECT_LIMIT: Duration = Duration::from_secs(2);
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Asks services.
#[derive(Debug, Clone)]
pub(crate) struct Client(ureq::Agent);

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoAnswer {
    /// Nobody is there, or it broke off.
    #[error("no answer from {url}: {reason}")]
    Away {
        /// Where it should be.
        url: String,
        /// What went wrong.
        reason: String,
    },
    /// It said no.
    #[error("{}", told(.0))]
    Refused(Box<Problem>),
    /// What it said is not what was expected of it.
    #[error("{url} answers something else: {reason}; is another program at this port?")]
    Other {
        /// Who answered.
        url: String,
        /// What is odd about it.
        reason: String,
    },
}

/// A problem in one line.
pub(crate) fn told(problem: &Problem) -> String {
    match &problem.detail {
        Some(detail) => format!("{}: {detail}", problem.title),
        None => problem.title.clone(),
    }
}

impl Client {
    /// Dials nobody yet.
    pub(crate) fn new() -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_LIMIT))
            .timeout_global(Some(ANSWER_LIMIT));
        Self(config.build().into())
    }

    /// Asks a service; none if it has no such route.
    pub(crate) fn get<T: DeserializeOwned>(
        &self,
        place: &Place,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Option<T>, NoAnswer> {
        let url = &place.url;
        let away = |error: ureq::Error| NoAnswer::Away { url: url.clone(), reason: reason(&error) };
        let request = self.0.get(format!("{url}{path}"));
        let request = request.query_pairs(query.iter().copied());
        let mut answer = request.call().map_err(away)?;
        let status = answer.status();
        let body = answer.body_mut().read_to_vec().map_err(away)?;
        let other = |reason: String| NoAnswer::Other { url: url.clone(), reason };
        if status.is_success() {
            return serde_json::from_slice(&body)
                .map(Some)
                .map_err(|error| other(error.to_string()));
        }
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) if problem.code == "not-found" => Ok(None),
            Ok(problem) => Err(NoAnswer::Refused(problem.into())),
            Err(_) if status.as_u16() == 404 => Ok(None),
            Err(_) => Err(other(format!("status {}", status.as_u16()))),
        }
    }
}

/// What went wrong, in words for a person.
pub(crate) fn reason(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            "connection refused; is it running?".to_owned()
        }
        ureq::Error::Timeout(_) => "it took too long".to_owned(),
        error => error.to_string(),
    }
}
