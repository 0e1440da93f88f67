//! Reaches AWS through proxies, and trusts what the user trusts.
//!
//! The variables are those of the AWS CLI. What is on this machine or its link, such as a local
//! stack and the metadata of an EC2 instance, is always called directly.

use std::{fs, net::IpAddr};

use aws_smithy_http_client::{
    Builder, Connector,
    proxy::ProxyConfig,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
        SharedHttpConnector,
    },
    orchestrator::HttpRequest,
    runtime_components::RuntimeComponents,
};
use reqwest::Url;
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use crate::advice::InputError;

const END_OF_CERTIFICATE: &str = "-----END CERTIFICATE-----";

/// Creates the HTTP client for AWS. `bundle` is the profile's `ca_bundle`.
pub(super) fn http_client(
    variable: impl Fn(&str) -> Option<String>,
    bundle: Option<&str>,
) -> Result<SharedHttpClient, InputError> {
    let tls = tls_context(variable("AWS_CA_BUNDLE"), bundle)?;
    let proxy = |scheme| proxy(scheme, &variable);
    Ok(SharedHttpClient::new(RoutedClient {
        direct: client(&tls, None),
        http: proxy(UrlScheme::Http)?.map(|proxy| client(&tls, Some(proxy))),
        https: proxy(UrlScheme::Https)?.map(|proxy| client(&tls, Some(proxy))),
    }))
}

fn client(tls: &TlsContext, proxy: Option<ProxyConfig>) -> SharedHttpClient {
    let tls = tls.clone();
    Builder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = Connector::builder()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .tls_context(tls.clone());
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        connector.set_proxy_config(proxy.clone());
        connector.build()
    })
}

/// What a proxy is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UrlScheme {
    Http,
    Https,
}

impl UrlScheme {
    /// The variables that name the proxy. Upper case first, as in the client of Alexa.
    fn variables(self) -> [&'static str; 4] {
        match self {
            Self::Http => ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"],
            Self::Https => ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"],
        }
    }
}

/// Reads which proxy requests of a scheme go through.
fn proxy(
    scheme: UrlScheme,
    variable: &impl Fn(&str) -> Option<String>,
) -> Result<Option<ProxyConfig>, InputError> {
    let exempt = variable("NO_PROXY").or_else(|| variable("no_proxy"));
    for name in scheme.variables() {
        let Some(url) = variable(name) else {
            continue;
        };
        if name.eq_ignore_ascii_case("ALL_PROXY") && url.starts_with("socks") {
            continue;
        }
        let url = if url.contains("://") {
            url
        } else {
            format!("http://{url}")
        };
        let proxy = match scheme {
            UrlScheme::Http => ProxyConfig::http(url),
            UrlScheme::Https => ProxyConfig::https(url),
        };
        // The cause is not shown: the URL may have a password in it.
        let proxy = proxy.map_err(|_| {
            let advice = "Set it to a URL such as http://proxy.example:3128";
            InputError::new(name, "is not the URL of an HTTP proxy", advice)
        })?;
        return Ok(Some(proxy.no_proxy(exempt.unwrap_or_default())));
    }
    Ok(None)
}

/// Trusts the certificates of a bundle instead of this machine's, as the AWS CLI does.
fn tls_context(variable: Option<String>, setting: Option<&str>) -> Result<TlsContext, InputError> {
    let bundle = match (variable, setting) {
        (Some(path), _) => Some(("AWS_CA_BUNDLE", path)),
        (None, Some(path)) => Some(("ca_bundle of the AWS profile", path.to_owned())),
        (None, None) => None,
    };
    let mut store = TrustStore::default();
    if let Some((place, path)) = bundle {
        store = TrustStore::empty();
        for certificate in read_bundle(place, &path)? {
            store.add_pem_certificate(certificate);
        }
    }
    let context = TlsContext::builder().with_trust_store(store).build();
    context.map_err(|error| {
        let advice = "Name a file of certificates in PEM format";
        InputError::new("AWS_CA_BUNDLE", "cannot be used", advice).because(error)
    })
}

/// Reads the certificates that the TLS library accepts: the HTTP client panics over any other.
fn read_bundle(place: &str, path: &str) -> Result<Vec<String>, InputError> {
    let advice = "Name a file of certificates in PEM format";
    let text = fs::read(path).map_err(|error| {
        InputError::new(place, format_args!("{path} cannot be read"), advice).because(error)
    })?;
    let text = String::from_utf8_lossy(&text);
    let mut certificates = Vec::new();
    for block in text.split_inclusive(END_OF_CERTIFICATE) {
        if is_usable(block) {
            certificates.push(block.to_owned());
        }
    }
    if certificates.is_empty() {
        let problem = format!("{path} has no usable certificate");
        return Err(InputError::new(place, problem, advice));
    }
    Ok(certificates)
}

fn is_usable(block: &str) -> bool {
    let certificate = CertificateDer::from_pem_slice(block.as_bytes());
    certificate.is_ok_and(|certificate| RootCertStore::empty().add(certificate).is_ok())
}

/// Calls each endpoint directly or through the proxy of its scheme.
#[derive(Debug)]
struct RoutedClient {
    direct: SharedHttpClient,
    http: Option<SharedHttpClient>,
    https: Option<SharedHttpClient>,
}

impl HttpClient for RoutedClient {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let connector = |client: &SharedHttpClient| client.http_connector(settings, components);
        SharedHttpConnector::new(RoutedConnector {
            direct: connector(&self.direct),
            http: self.http.as_ref().map(connector),
            https: self.https.as_ref().map(connector),
        })
    }
}

/// The connectors of a [`RoutedClient`].
#[derive(Debug)]
struct RoutedConnector {
    direct: SharedHttpConnector,
    http: Option<SharedHttpConnector>,
    https: Option<SharedHttpConnector>,
}

impl HttpConnector for RoutedConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let proxied = match proxied_scheme(request.uri()) {
            Some(UrlScheme::Http) => self.http.as_ref(),
            Some(UrlScheme::Https) => self.https.as_ref(),
            None => None,
        };
        proxied.unwrap_or(&self.direct).call(request)
    }
}

/// Returns the scheme whose proxy a request goes through; `None` if it goes through none.
fn proxied_scheme(url: &str) -> Option<UrlScheme> {
    let url = Url::parse(url).ok()?;
    if is_local(url.host_str()?) {
        return None;
    }
    match url.scheme() {
        "http" => Some(UrlScheme::Http),
        "https" => Some(UrlScheme::Https),
        _ => None,
    }
}

/// Whether a host is this machine, or reachable from its link only.
fn is_local(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    match host.parse() {
        Ok(IpAddr::V4(address)) => address.is_loopback() || address.is_link_local(),
        // fd00:ec2::/32 has the metadata of EC2 instances and EKS pods.
        Ok(IpAddr::V6(address)) => {
            address.is_loopback() || matches!(address.segments(), [0xfd00, 0x0ec2, ..])
        }
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(scheme: UrlScheme, set: &[(&str, &str)]) -> Result<bool, String> {
        let variable = |name: &str| {
            let found = set.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let found = proxy(scheme, &variable);
        found
            .map(|proxy| proxy.is_some())
            .map_err(|error| error.explain().to_string())
    }

    #[test]
    fn each_scheme_has_its_proxy() {
        let set = [("HTTPS_PROXY", "http://p:3128")];
        assert_eq!(configured(UrlScheme::Https, &set), Ok(true));
        assert_eq!(configured(UrlScheme::Http, &set), Ok(false));
        let set = [("http_proxy", "p:3128")];
        assert_eq!(configured(UrlScheme::Https, &set), Ok(false));
        assert_eq!(configured(UrlScheme::Http, &set), Ok(true));
        for (value, used) in [("http://p", true), ("socks5://p", false)] {
            let set = [("ALL_PROXY", value)];
            assert_eq!(configured(UrlScheme::Https, &set), Ok(used), "{value}");
        }
    }

    #[test]
    fn an_unusable_proxy_is_an_error_that_does_not_show_its_password() {
        for value in [
            "socks5://me:secret@p",
            "http://me:secret@",
            "http://a b:secret",
        ] {
            let error = configured(UrlScheme::Https, &[("https_proxy", value)]).unwrap_err();
            assert!(error.starts_with("https_proxy: is not the URL"), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn this_machine_and_its_link_are_called_directly() {
        for url in [
            "http://localhost:4566/",
            "https://sns.localhost/",
            "http://127.1.2.3:1/",
            "http://[::1]:4566/",
            "http://169.254.169.254/latest",
            "http://[fd00:ec2::254]/latest",
            "ftp://example.com/",
        ] {
            assert_eq!(proxied_scheme(url), None, "{url}");
        }
        assert_eq!(
            proxied_scheme("https://sns.us-east-1.amazonaws.com/"),
            Some(UrlScheme::Https)
        );
        assert_eq!(proxied_scheme("http://10.0.0.1/"), Some(UrlScheme::Http));
    }

    #[test]
    fn a_file_without_certificates_is_refused() {
        let error = read_bundle("AWS_CA_BUNDLE", "Cargo.toml").unwrap_err();
        assert!(
            error.to_string().contains("no usable certificate"),
            "{error}"
        );
        let error = read_bundle("AWS_CA_BUNDLE", "nowhere").unwrap_err();
        assert!(error.to_string().contains("cannot be read"), "{error}");
    }
}
