//! TLS, and the certificates that it trusts.

use std::{
    env,
    path::Path,
    sync::{Arc, LazyLock},
};

use rustls::{ClientConfig, Error, RootCertStore, crypto::ring};
use rustls_native_certs::{CertificateResult, load_certs_from_paths, load_native_certs};

/// The file with all certificates that Lambda's Amazon Linux trusts. Source: the package
/// ca-certificates of Amazon Linux 2023.
const BUNDLE: &str = "/etc/pki/tls/certs/ca-bundle.crt";

/// The variables that name other certificates, as for OpenSSL: a file, and folders.
const VARIABLES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// Returns the settings of TLS. The first call reads the certificates.
pub(super) fn config() -> Result<Arc<ClientConfig>, Error> {
    static CONFIG: LazyLock<Result<Arc<ClientConfig>, Error>> = LazyLock::new(|| {
        let are_named = VARIABLES.iter().any(|name| env::var_os(name).is_some());
        let roots = trusted_roots(are_named, Path::new(BUNDLE));
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider);
        let config = config.with_safe_default_protocol_versions()?;
        let config = config.with_root_certificates(roots);
        Ok(Arc::new(config.with_no_client_auth()))
    });
    CONFIG.clone()
}

/// Reads the trusted certificates: those that the environment names; otherwise the bundle, because
/// a search of the folders where systems keep certificates reads hundreds of files. If none of them
/// is usable, the others are tried.
fn trusted_roots(are_named: bool, bundle: &Path) -> RootCertStore {
    let bundled = || {
        let is_there = bundle.exists();
        let found = is_there.then(|| load_certs_from_paths(Some(bundle), None));
        usable(&bundle.display().to_string(), found?)
    };
    let native = || {
        let [file, folders] = VARIABLES;
        usable(
            &format!("{file}, {folders} or the system's folders"),
            load_native_certs(),
        )
    };
    let roots = if are_named {
        native().or_else(bundled)
    } else {
        bundled().or_else(native)
    };
    roots.unwrap_or_else(RootCertStore::empty)
}

/// Parses certificates. One that cannot be read or parsed costs no other its trust.
fn usable(source: &str, found: CertificateResult) -> Option<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let (_, unparsable) = roots.add_parsable_certificates(found.certs);
    if let Some(error) = found.errors.first() {
        let errors = found.errors.len();
        tracing::warn!(source, %error, errors, "certificates cannot be read");
    }
    if roots.is_empty() {
        tracing::warn!(
            source,
            unparsable,
            "no certificate is usable: trying others"
        );
        return None;
    }
    Some(roots)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----
MIIBezCCASGgAwIBAgIURm63BRNTaZrODAmOMowtQcL4TUMwCgYIKoZIzj0EAwIw
EjEQMA4GA1UEAwwHRXhhbXBsZTAgFw0yNjExMjYxMDEwNTlaGA8yMTI2MTEwMjEw
MTA1OVowEjEQMA4GA1UEAwwHRXhhbXBsZTBZMBMGByqGSM49AgEGCCqGSM49AwEH
A0IABD84Z55cOJ3uY7DFWtzeSnsN4s8HAMm+fFKhs4O8J+tl8UOeOWmsJGG4TjaB
mVcHy4NTQ2Ck+XqQdCB/P0m/ZzqjUzBRMB0GA1UdDgQWBBTZBLBwylSVs60aD01S
6bOOLH6yTjAfBgNVHSMEGDAWgBTZBLBwylSVs60aD01S6bOOLH6yTjAPBgNVHRMB
Af8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCIQC1/e4JMdJLrpKSoNcjiAepvrJ8
5ro96eg/po073k7aLgIgMoL0tAsIE3xpYnZNmId7lIed4K6MrERFhmth9ig7Cnc=
-----END CERTIFICATE-----
";
    /// A block that is no certificate, although its base64 is valid.
    const UNPARSABLE: &str = "-----BEGIN CERTIFICATE-----
AAAA
-----END CERTIFICATE-----
";

    /// How many certificates of a bundle with this text are trusted.
    fn trusted_in(name: &str, text: &str) -> usize {
        let bundle = env::temp_dir().join(format!("asp-events-{}-{name}.pem", std::process::id()));
        fs::write(&bundle, text).unwrap();
        let roots = trusted_roots(false, &bundle);
        fs::remove_file(bundle).unwrap();
        roots.len()
    }

    /// What a system without the bundle trusts.
    fn trusted_by_the_system() -> usize {
        trusted_roots(false, Path::new("/no/such/bundle")).len()
    }

    #[test]
    fn the_bundle_alone_is_read() {
        assert_eq!(trusted_in("one", CERTIFICATE), 1);
        assert_eq!(trusted_in("same", &CERTIFICATE.repeat(2)), 1);
    }

    #[test]
    fn a_certificate_that_cannot_be_parsed_costs_no_other_its_trust() {
        let mixed = format!("{UNPARSABLE}text\n{CERTIFICATE}");
        assert_eq!(trusted_in("mixed", &mixed), 1);
        let broken = format!("{CERTIFICATE}-----BEGIN CERTIFICATE-----\n!\n");
        assert_eq!(trusted_in("broken", &broken), 1);
    }

    #[test]
    fn an_unusable_bundle_is_replaced_by_what_the_system_trusts() {
        for (name, text) in [("empty", ""), ("text", "text"), ("bad", UNPARSABLE)] {
            assert_eq!(trusted_in(name, text), trusted_by_the_system(), "{name}");
        }
        let folder = env::temp_dir();
        assert_eq!(trusted_roots(false, &folder).len(), trusted_by_the_system());
    }

    #[test]
    fn what_the_environment_names_goes_first() {
        let bundle = env::temp_dir().join(format!("asp-events-{}-n.pem", std::process::id()));
        fs::write(&bundle, CERTIFICATE).unwrap();
        let expected = trusted_by_the_system().max(1);
        assert_eq!(trusted_roots(true, &bundle).len(), expected);
        fs::remove_file(bundle).unwrap();
    }
}
