//! One HTTP request and its response, as far as this client needs it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::{
    Certificate, Client, RequestBuilder, StatusCode, Url,
    header::{self, HeaderMap, HeaderName},
    redirect,
};

use super::error::AlexaError;
use crate::advice::ShownCause;

/// The time-out of one request.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// A response, whatever its status.
#[derive(Debug)]
pub(super) struct HttpAnswer {
    pub(super) status: StatusCode,
    pub(super) text: String,
    pub(super) request_id: Option<String>,
    /// The header `Location`.
    pub(super) location: Option<String>,
    /// How long to wait before the next attempt.
    pub(super) retry_after: Option<Duration>,
    /// The time at the server.
    pub(super) date: Option<DateTime<Utc>>,
}

impl HttpAnswer {
    /// Sends a request, and reads the whole response.
    pub(super) async fn receive(call: &str, request: RequestBuilder) -> Result<Self, AlexaError> {
        let unreachable = |error: reqwest::Error| AlexaError::unreachable(call, &error);
        let response = request.send().await.map_err(unreachable)?;
        let (status, headers) = (response.status(), response.headers());
        let date = read_header(headers, &header::DATE);
        let date = date.and_then(|date| parse_date(&date));
        let retry_after = read_header(headers, &header::RETRY_AFTER);
        let now = date.unwrap_or_else(Utc::now);
        Ok(Self {
            status,
            request_id: read_header(headers, &HeaderName::from_static("x-amzn-requestid")),
            location: read_header(headers, &header::LOCATION),
            retry_after: retry_after.and_then(|value| parse_retry_after(&value, now)),
            date,
            text: response.text().await.map_err(unreachable)?,
        })
    }

    /// The error for a redirect. Only its host is shown: the rest may contain secrets.
    pub(super) fn as_redirect(&self, call: &str) -> Option<AlexaError> {
        if !self.status.is_redirection() {
            return None;
        }
        let target = self.location.as_deref().map(Url::parse);
        let target = target.and_then(Result::ok);
        let host = target.as_ref().and_then(Url::host_str);
        Some(AlexaError::Redirected {
            call: call.to_owned(),
            status: self.status,
            host: host.map(str::to_owned),
        })
    }
}

fn read_header(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    Some(value.trim().to_owned())
}

/// Parses seconds, or a date. Source: RFC 9110, section 10.2.3.
fn parse_retry_after(value: &str, now: DateTime<Utc>) -> Option<Duration> {
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let wait = parse_date(value)? - now;
    Some(wait.to_std().unwrap_or_default())
}

fn parse_date(value: &str) -> Option<DateTime<Utc>> {
    let date = DateTime::parse_from_rfc2822(value).ok()?;
    Some(date.to_utc())
}

/// Builds the HTTP client. It follows no redirects, which could leak a token to another host.
pub(super) fn http_client(root_certificates: Option<&[u8]>) -> Result<Client, AlexaError> {
    // Fails only if a provider is installed already, which is just as good.
    drop(rustls::crypto::ring::default_provider().install_default());
    let setup = |error: reqwest::Error| AlexaError::setup(&error);
    let pem = root_certificates.unwrap_or_default();
    let certificates = Certificate::from_pem_bundle(pem).map_err(setup)?;
    if certificates.is_empty() && root_certificates.is_some() {
        let cause = "the file with root certificates has none";
        return Err(AlexaError::Setup(ShownCause(cause.to_owned())));
    }
    let agent = concat!("aspctl/", env!("CARGO_PKG_VERSION"));
    let client = Client::builder()
        .user_agent(agent)
        .timeout(REQUEST_TIMEOUT)
        .redirect(redirect::Policy::none())
        .tls_certs_merge(certificates);
    client.build().map_err(setup)
}

/// Rejects URLs that would send a token over a network without TLS. A stand-in for Alexa on this
/// machine needs no TLS.
pub(super) fn require_tls(place: &'static str, url: &Url) -> Result<(), AlexaError> {
    let loopback = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    if url.scheme() == "https" || (url.scheme() == "http" && loopback) {
        return Ok(());
    }
    Err(AlexaError::WithoutTls {
        place,
        url: url.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_a_number_or_a_date() {
        let now = DateTime::parse_from_rfc3339("1994-11-06T08:49:37Z")
            .unwrap()
            .to_utc();
        assert_eq!(parse_retry_after("7", now), Some(Duration::from_secs(7)));
        assert_eq!(
            parse_retry_after("Sun, 06 Nov 1994 08:50:07 GMT", now),
            Some(Duration::from_secs(30))
        );
        assert_eq!(
            parse_retry_after("Sun, 06 Nov 1994 08:00:00 GMT", now),
            Some(Duration::ZERO)
        );
        assert_eq!(parse_retry_after("soon", now), None);
    }

    #[test]
    fn tokens_are_not_sent_without_tls() {
        let check = |url: &str| require_tls("--alexa-url", &Url::parse(url).unwrap()).is_ok();
        assert!(
            check("https://api.amazonalexa.com")
                && check("http://127.0.0.1:8080")
                && check("http://[::1]:80")
        );
        assert!(
            !check("http://api.amazonalexa.com")
                && !check("ftp://localhost")
                && !check("http://127.0.0.1.example.com")
        );
    }

    #[test]
    fn root_certificates_must_be_readable() {
        assert!(http_client(None).is_ok());
        let broken = "-----BEGIN CERTIFICATE-----\nnothing\n-----END CERTIFICATE-----\n";
        for (pem, problem) in [(broken, "invalid"), ("none", "has none"), ("", "has none")] {
            let error = http_client(Some(pem.as_bytes())).unwrap_err();
            let error = error.explain().to_string().to_lowercase();
            assert!(
                error.contains(problem) && error.contains("aws_ca_bundle"),
                "{error}"
            );
        }
    }
}
