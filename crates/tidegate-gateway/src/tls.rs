//! TLS: the one place that chooses a provider (aws-lc-rs) and reads certificates.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read, or is not what it should be.
    #[error("{file}: {problem}")]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// Certificate and key do not belong together, or the protocol refuses them.
    #[error("the certificate cannot be used: {0}")]
    Certificate(#[from] rustls::Error),
    /// A host that no certificate can name.
    #[error("`{0}` is not a name that a certificate can have")]
    NoName(String),
    /// The system has no root certificates.
    #[error(
        "no root certificates were found on this system: install ca-certificates, or name a file in SSL_CERT_FILE"
    )]
    NoRoots,
}

/// What a listener needs to speak TLS with HTTP/2 and HTTP/1.1 by ALPN.
///
/// # Errors
/// If a file cannot be read or is not PEM, or the key is not the certificate's.
pub fn server(certificates: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let problem = |file: &Path, problem: String| TlsError::File { file: file.to_owned(), problem };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificates)
        .and_then(Iterator::collect)
        .map_err(|error| problem(certificates, format!("cannot be read as PEM certificates: {error}")))?;
    if chain.is_empty() {
        return Err(problem(certificates, "holds no certificate: give the PEM chain, leaf first".to_owned()));
    }
    let secret = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| problem(key, format!("cannot be read as a PEM private key: {error}")))?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, secret)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// What a dial to an `https` origin needs: the system's root certificates, and `alpn` as the protocol.
///
/// # Errors
/// If the system has no root certificates.
pub fn client(alpn: &[u8]) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(TlsError::NoRoots);
    }
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    Ok(Arc::new(config))
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
