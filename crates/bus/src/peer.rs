//! Another service, as somebody who can be asked over HTTP.

use std::time::Duration;

use http::Method;
use http::header::HeaderName;
use reqwest::RequestBuilder;
use secrecy::{ExposeSecret as _, SecretString};

use crate::trace;

pub(crate) const TOKEN_HEADER: HeaderName = HeaderName::from_static("dapr-api-token");
const TRACE_HEADER: HeaderName = HeaderName::from_static("traceparent");
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// For a whole answer; a caller that knows better sets its own on the request.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Below the time after which servers close idle connections.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// Another service: asked through the sidecar, or directly where no sidecar runs.
#[derive(Debug, Clone)]
pub struct Peer {
    name: String,
    base: String,
    token: Option<SecretString>,
    http: reqwest::Client,
}

impl Peer {
    /// A service at its base URL, which expects this app token.
    pub fn direct(base_url: &str, app_token: SecretString) -> Self {
        Self::new(base_url, base_url, Some(app_token), &client())
    }

    pub(crate) fn new(
        name: &str,
        base: &str,
        token: Option<SecretString>,
        http: &reqwest::Client,
    ) -> Self {
        let base = base.trim_end_matches('/').to_owned();
        Self { name: name.to_owned(), base, token, http: http.clone() }
    }

    /// Whom one asks, in words for logs and problems.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A request with the right token, the trace of the current span, and a time limit of 10 s,
    /// which the caller may replace. The path starts with `/`.
    ///
    /// The sidecar decodes the path and resolves dots in it: never pass on a segment unchecked.
    pub fn request(&self, method: Method, path_and_query: &str) -> RequestBuilder {
        let mut request = self.http.request(method, format!("{}{path_and_query}", self.base));
        if let Some(token) = &self.token {
            request = request.header(TOKEN_HEADER, token.expose_secret());
        }
        if let Some(trace) = trace::current() {
            request = request.header(TRACE_HEADER, trace.as_str());
        }
        request
    }
}

pub(crate) fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(ANSWER_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .expect("a client without TLS and proxy needs nothing that could be missing")
}

/// Fit to be shown in a header; an empty one would be no secret.
pub(crate) fn is_token(token: &SecretString) -> bool {
    let token = token.expose_secret();
    !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing_opentelemetry::OpenTelemetrySpanExt as _;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    fn ask() -> reqwest::Request {
        let peer = Peer::direct("http://127.0.0.1:1/", SecretString::from("secret"));
        peer.request(Method::GET, "/api?q=1").build().unwrap()
    }

    #[test]
    fn a_question_shows_the_token_and_goes_where_it_should() {
        let request = ask();
        assert_eq!(request.url().as_str(), "http://127.0.0.1:1/api?q=1");
        assert_eq!(request.headers()[TOKEN_HEADER], "secret");
        assert!(!request.headers().contains_key(TRACE_HEADER));
        assert_eq!(request.timeout(), None, "the client's own holds");
    }

    #[test]
    fn a_question_continues_the_trace_of_the_current_span() {
        let provider = SdkTracerProvider::builder().build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let subscriber = tracing_subscriber::registry().with(layer);
        let (trace, request) = tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("asks");
            let trace = span.context().span().span_context().trace_id();
            (trace, span.in_scope(ask))
        });
        let shown = request.headers()[TRACE_HEADER].to_str().unwrap();
        assert!(shown.starts_with(&format!("00-{trace}-")), "{shown}");
        contracts::TraceContext::parse(shown).unwrap();
    }

    #[test]
    fn what_cannot_be_shown_in_a_header_is_no_token() {
        for raw in ["", "two words", "line\nbreak", "ä"] {
            assert!(!is_token(&SecretString::from(raw)), "{raw:?}");
        }
        assert!(is_token(&SecretString::from("0a-_.~")));
    }
}
