//! Clients that speak TLS.

use std::path::PathBuf;
use std::sync::Arc;

use h2::client::Builder;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::stand::{Stand, bounded, eventually, get, post};
use crate::wire::Wire;
use crate::wire2::Wire2;

pub(crate) struct Secure {
    pub(crate) stand: Stand,
    certificate: CertificateDer<'static>,
    files: [PathBuf; 2],
}

impl Secure {
    async fn new(name: &str) -> Self {
        Self::with(name, "limit = 2").await
    }

    pub(crate) async fn with(name: &str, words: &str) -> Self {
        let made = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
        let file = |kind| std::env::temp_dir().join(format!("tidegate-{name}-{}.{kind}", std::process::id()));
        let files = [file("crt"), file("key")];
        std::fs::write(&files[0], made.cert.pem()).unwrap();
        std::fs::write(&files[1], made.signing_key.serialize_pem()).unwrap();
        let words =
            format!("{words}\ntls-cert = '{}'\ntls-key = '{}'", files[0].display(), files[1].display());
        Self { stand: Stand::new(&words).await, certificate: made.cert.der().clone(), files }
    }

    async fn connect(&self, alpn: &[&str]) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let tcp = TcpStream::connect(self.stand.address).await.unwrap();
        let name = ServerName::try_from("a.example").unwrap();
        bounded("a handshake", TlsConnector::from(Arc::new(config)).connect(name, tcp)).await.unwrap()
    }
}

impl Drop for Secure {
    fn drop(&mut self) {
        for file in &self.files {
            let _ = std::fs::remove_file(file);
        }
    }
}

#[tokio::test]
async fn both_protocols_are_offered() {
    let secure = Secure::new("both").await;
    for alpn in [&["http/1.1"][..], &[]] {
        let mut wire = Wire::over(secure.connect(alpn).await);
        wire.send(post("/echo", "sized")).await;
        assert_eq!(wire.answer().await.text(), "sized");
        wire.send("GET / HTTP/1.1\r\n\r\n").await;
        assert_eq!(wire.answer().await.reason(), "malformed");
    }
    assert_eq!(secure.stand.origin.last().header("x-forwarded-proto"), "https");
    let stream = secure.connect(&["h2", "http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let mut client = Wire2::over(stream, &Builder::new()).await;
    assert_eq!(client.get("/big/300000").await.body.len(), 300_000);
    secure.stand.origin.release(2);
}

#[tokio::test]
async fn who_leaves_is_noticed_through_tls() {
    let secure = Secure::new("leaves").await;
    let stand = &secure.stand;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut wire = Wire::over(secure.connect(&[]).await);
        wire.send(get("/hold")).await;
        held.push(wire);
    }
    eventually("the limit is taken", || stand.origin.now() == 2).await;
    let mut wire = Wire::over(secure.connect(&[]).await);
    wire.send(get("/gone")).await;
    eventually("it waits", || stand.waiting() == 1).await;
    drop(wire);
    eventually("it has left", || stand.waiting() == 0).await;
    stand.origin.release(2);
    for wire in &mut held {
        assert_eq!(wire.answer().await.status, 200);
    }
    assert_eq!(stand.origin.count(), 2);
}

#[tokio::test]
async fn an_origin_that_nobody_vouches_for_is_not_spoken_to() {
    let secure = Secure::new("origin").await;
    let stand =
        Stand::facing(format!("https://localhost:{}", secure.stand.address.port()), "limit = 2").await;
    let answer = stand.get("/x").await;
    assert_eq!((answer.status, answer.reason().as_str()), (502, "origin_down"));
    assert_eq!((stand.in_flight(), secure.stand.origin.count()), (0, 0));
}

#[tokio::test]
async fn what_is_not_tls_ends_the_connection() {
    let secure = Secure::with("junk", "limit = 2\nhead-timeout = '1s'").await;
    for junk in [get("/x").as_bytes(), &[0x16, 3, 1, 0xff, 0xff], &[0; 5000], b"\x16\x03\x01"] {
        let mut wire = secure.stand.connect().await;
        wire.send(junk).await;
        let rest = wire.rest().await;
        assert!(!rest.starts_with(b"HTTP"), "{rest:?}");
    }
    eventually("nobody is left", || secure.stand.metric("tidegate_connections") == 0.0).await;
    assert_eq!(secure.stand.origin.count(), 0);
}
