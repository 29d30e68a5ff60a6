//! What a connection hears that has lost its place among the parked, or found none: that there is no memory.
//!
//! Which words it understands is told by a glance at what the kernel has of it. Nothing of it is read but to be dropped,
//! nothing is waited for, and nothing is left when it is said. In TLS nothing can be said without a handshake.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH};
use http::{HeaderValue, Response};
use http_body::Body;

use super::connection::PREFACE;
use super::listener::Accepted;
use super::screen::may_be_http1;
use super::{Client, Fault, ListenSettings, Protocol, Serve};

/// So much of the preface is a method that nobody has.
const PRI: usize = 4;
/// What it has sent is dropped up to here: what parked clients leave in the kernel is a first window at worst.
const UNHEARD: usize = 64 * 1024;

/// Empty SETTINGS, which every server sends first (RFC 9113 §3.4).
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
const GOAWAY: u8 = 7;

/// Tells it, and closes it.
pub(super) fn send_away<S: Serve>(
    accepted: Accepted,
    local: SocketAddr,
    service: &S,
    settings: &ListenSettings,
) {
    let Accepted { tcp, peer, permit, account } = accepted;
    if settings.tls.is_some() {
        return;
    }
    // Not asked through the runtime, which may not have heard of it yet. It still does not block.
    let Ok(mut tcp) = tcp.into_std() else { return };
    let mut begin = [0; PREFACE.len()];
    let Some((protocol, begin)) = glance(&tcp, &mut begin) else { return };
    let Ok(forwarded_for) = HeaderValue::try_from(peer.ip().to_canonical().to_string()) else { return };
    let _connection = Arc::new(permit);
    let client = Client { peer, local, tls: false, protocol, forwarded_for, account, _connection };
    if let Some(memory) = &settings.memory {
        memory.refused();
    }
    let refusal = service.refuse(Fault::Memory, &client, None).map(first_piece);
    let words = match protocol {
        Protocol::Http1 => http1(refusal, begin.trim_ascii_start().starts_with(b"HEAD ")),
        Protocol::Http2 => http2(refusal.body()),
    };
    // An empty send buffer takes it whole. If it fails, there is nobody to tell.
    let _ = tcp.write(&words);
    let _ = tcp.shutdown(Shutdown::Write);
    drop_unread(&mut tcp);
    // Before its permit goes back.
    drop(tcp);
    drop(client);
}

/// What it speaks, as far as it has spoken: `None` if that is neither, or it has gone.
fn glance<'a>(tcp: &TcpStream, begin: &'a mut [u8]) -> Option<(Protocol, &'a [u8])> {
    let there = match tcp.peek(begin) {
        Ok(0) => return None,
        Ok(there) => there,
        Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
        Err(_) => return None,
    };
    let begin = begin.get(..there)?;
    if there >= PRI && PREFACE.starts_with(begin) {
        return Some((Protocol::Http2, begin));
    }
    may_be_http1(begin).then_some((Protocol::Http1, begin))
}

/// All of a body that is ready in one piece, as refusals are.
fn first_piece<B: Body<Data = Bytes> + Unpin>(mut body: B) -> Bytes {
    match Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
        _ => Bytes::new(),
    }
}

/// The answer in HTTP/1.1, without its body for a HEAD request.
fn http1(mut refusal: Response<Bytes>, head_only: bool) -> Vec<u8> {
    let length = HeaderValue::from(refusal.body().len());
    refusal.headers_mut().insert(CONTENT_LENGTH, length);
    refusal.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    let status = refusal.status();
    let mut words = Vec::with_capacity(1024);
    words.extend_from_slice(b"HTTP/1.1 ");
    words.extend_from_slice(status.as_str().as_bytes());
    words.push(b' ');
    words.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    for (name, value) in refusal.headers() {
        words.extend_from_slice(b"\r\n");
        words.extend_from_slice(name.as_str().as_bytes());
        words.extend_from_slice(b": ");
        words.extend_from_slice(value.as_bytes());
    }
    words.extend_from_slice(b"\r\n\r\n");
    if !head_only {
        words.extend_from_slice(refusal.body());
    }
    words
}

/// GOAWAY without an error, for the client has made none, and with no stream that was looked at: whatever it has begun may be
/// sent again elsewhere or later (RFC 9113 §6.8, §8.7). The refusal's body is its debug data.
fn http2(said: &[u8]) -> Vec<u8> {
    /// A frame of any peer's size.
    const MOST: usize = 4096;
    let said = said.get(..MOST).unwrap_or(said);
    let mut words = SETTINGS.to_vec();
    // The last stream and the error, both zero, come first.
    let length = u32::try_from(8 + said.len()).unwrap_or_default();
    words.extend_from_slice(length.to_be_bytes().get(1..).unwrap_or_default());
    words.extend_from_slice(&[GOAWAY, 0, 0, 0, 0, 0]);
    words.extend_from_slice(&[0; 8]);
    words.extend_from_slice(said);
    words
}

/// Drops what is there: closed with unread bytes, the kernel would send a reset, which can overtake the answer (RFC 9112
/// §9.6). What comes later finds nobody.
fn drop_unread(tcp: &mut TcpStream) {
    let (mut room, mut left) = ([0; 4096], UNHEARD);
    while left > 0 {
        match tcp.read(&mut room) {
            Ok(read @ 1..) => left = left.saturating_sub(read),
            _ => return,
        }
    }
}
