//! TLS, and the certificates that it trusts.

use std::{
    env,
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
    sync::{Arc, LazyLock},
};

use aws_smithy_types::base64;
use rustls::{ClientConfig, Error, RootCertStore, crypto::ring, pki_types::CertificateDer};
use rustls_native_certs::{CertificateResult, load_certs_from_paths, load_native_certs};

/// The file with all certificates that Lambda's Amazon Linux trusts. Source: the package
/// ca-certificates of Amazon Linux 2023.
const BUNDLE: &str = "/etc/pki/tls/certs/ca-bundle.crt";

/// The variable that names a file with other certificates, as for OpenSSL.
const FILE: &str = "SSL_CERT_FILE";

/// The variable that names folders with other certificates, as for OpenSSL.
const FOLDERS: &str = "SSL_CERT_DIR";

/// Returns the settings of TLS. The first call reads the certificates.
pub(super) fn config() -> Result<Arc<ClientConfig>, Error> {
    static CONFIG: LazyLock<Result<Arc<ClientConfig>, Error>> = LazyLock::new(|| {
        let file = env::var_os(FILE);
        let has_folders = env::var_os(FOLDERS).is_some();
        let roots = trusted_roots(file.as_ref().map(Path::new), has_folders, Path::new(BUNDLE));
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
fn trusted_roots(file: Option<&Path>, has_folders: bool, bundle: &Path) -> RootCertStore {
    let in_file = |file: &Path| {
        let plain = File::open(file).ok().map(BufReader::new);
        plain.and_then(plain_roots).or_else(|| {
            let found = load_certs_from_paths(Some(file), None);
            usable(&file.display().to_string(), found)
        })
    };
    let bundled = || bundle.exists().then(|| in_file(bundle))?;
    let native = || {
        let source = format!("{FILE}, {FOLDERS} or the system's folders");
        usable(&source, load_native_certs())
    };
    let roots = match file {
        _ if has_folders => native().or_else(bundled),
        Some(file) => in_file(file).or_else(bundled),
        None => bundled().or_else(native),
    };
    roots.unwrap_or_else(RootCertStore::empty)
}

/// Reads certificates as bundles have them: between text, each in base64. If anything else is
/// there, or none is usable, there is no answer: [`load_certs_from_paths`] then decides, and says
/// what it cannot read. It decodes base64 in constant time, as secrets need it, with four times as
/// many instructions.
fn plain_roots(mut pem: impl BufRead) -> Option<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let (mut line, mut base64) = (String::new(), String::new());
    let mut is_inside = false;
    loop {
        line.clear();
        if pem.read_line(&mut line).ok()? == 0 {
            return (!is_inside && !roots.is_empty()).then_some(roots);
        }
        match (line.trim_ascii_end(), is_inside) {
            ("-----BEGIN CERTIFICATE-----", false) => is_inside = true,
            ("-----END CERTIFICATE-----", true) => {
                let der = base64::decode(&base64).ok()?;
                roots.add_parsable_certificates([CertificateDer::from(der)]);
                base64.clear();
                is_inside = false;
            }
            (text, true) => base64.push_str(text),
            (text, false) if text.starts_with("-----") => return None,
            (_, false) => {}
        }
    }
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
    fn trusted_in(name: &str, text: &[u8]) -> usize {
        let bundle = env::temp_dir().join(format!("asp-events-{}-{name}.pem", std::process::id()));
        fs::write(&bundle, text).unwrap();
        let roots = trusted_roots(None, false, &bundle);
        fs::remove_file(bundle).unwrap();
        roots.len()
    }

    /// What a system without the bundle trusts.
    fn trusted_by_the_system() -> usize {
        trusted_roots(None, false, Path::new("/no/such/bundle")).len()
    }

    /// How many certificates are read without the parser of rustls.
    fn read_plainly(text: &[u8]) -> Option<usize> {
        plain_roots(text).map(|roots| roots.len())
    }

    #[test]
    fn a_bundle_is_read_plainly() {
        for text in [
            CERTIFICATE.to_owned(),
            CERTIFICATE.trim_end().to_owned(),
            CERTIFICATE.replace('\n', "\r\n"),
            CERTIFICATE.replace('\n', " \n"),
            format!("# Főtanúsítvány\n\n{CERTIFICATE}\n# the end\n"),
            format!("{UNPARSABLE}{CERTIFICATE}"),
        ] {
            assert_eq!(read_plainly(text.as_bytes()), Some(1), "{text}");
        }
        assert_eq!(read_plainly(CERTIFICATE.repeat(145).as_bytes()), Some(145));
    }

    #[test]
    fn what_is_not_as_bundles_have_it_is_left_to_the_parser_of_rustls() {
        let unfinished = "-----BEGIN CERTIFICATE-----\nAAAA\n";
        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let damaged = UNPARSABLE.replacen("-----\n", "----\n", 1);
        let beside_latin_1 = [b"# F\xf5tan\n", CERTIFICATE.as_bytes()].concat();
        for (name, text) in [
            (
                "unfinished",
                format!("{CERTIFICATE}{unfinished}").as_bytes(),
            ),
            ("broken", format!("{CERTIFICATE}{unfinished}!\n").as_bytes()),
            ("latin-1", &beside_latin_1),
            ("key", format!("{key}{CERTIFICATE}").as_bytes()),
            ("damaged", format!("{damaged}{CERTIFICATE}").as_bytes()),
        ] {
            assert_eq!(read_plainly(text), None, "{name}");
            assert_eq!(trusted_in(name, text), 1, "{name}");
        }
        let within = format!("{unfinished}{CERTIFICATE}");
        assert_eq!(read_plainly(within.as_bytes()), None);
    }

    #[test]
    fn the_bundle_alone_is_read() {
        assert_eq!(trusted_in("one", CERTIFICATE.as_bytes()), 1);
    }

    #[test]
    fn an_unusable_bundle_is_replaced_by_what_the_system_trusts() {
        for (name, text) in [("empty", ""), ("text", "text"), ("bad", UNPARSABLE)] {
            let trusted = trusted_in(name, text.as_bytes());
            assert_eq!(trusted, trusted_by_the_system(), "{name}");
        }
        let trusted = trusted_roots(None, false, &env::temp_dir()).len();
        assert_eq!(trusted, trusted_by_the_system());
    }

    #[test]
    fn what_the_environment_names_goes_first() {
        let bundle = env::temp_dir().join(format!("asp-events-{}-n.pem", std::process::id()));
        fs::write(&bundle, CERTIFICATE).unwrap();
        let nowhere = Path::new("/no/such/bundle");
        assert_eq!(trusted_roots(Some(&bundle), false, nowhere).len(), 1);
        assert_eq!(trusted_roots(Some(nowhere), false, &bundle).len(), 1);
        let expected = trusted_by_the_system().max(1);
        assert_eq!(trusted_roots(None, true, &bundle).len(), expected);
        fs::remove_file(bundle).unwrap();
    }
}
