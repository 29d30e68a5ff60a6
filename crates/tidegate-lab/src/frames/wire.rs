//! [`Wire`]: a connection that frames go over, both ways.

use std::io;
use std::net::SocketAddr;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Frame;

/// What a client sends first (RFC 9113 §3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes asked of the socket at a time.
const READ: usize = 64 * 1024;

/// An HTTP/2 connection whose every byte its user decides.
#[derive(Debug)]
pub struct Wire<S = TcpStream> {
    stream: S,
    read: BytesMut,
}

impl Wire {
    /// Connects; sends nothing. **When cancelled:** there is no connection.
    ///
    /// # Errors
    /// The system's.
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self::over(stream))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Over a stream that is open already.
    pub fn over(stream: S) -> Self {
        Self { stream, read: BytesMut::new() }
    }

    /// What it goes over.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// Sends bytes as they are. **When full:** waits for the peer to read, without bound. **When cancelled:** some of
    /// the bytes may have been sent.
    ///
    /// # Errors
    /// The connection's.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Sends frames. **When full** and **when cancelled:** as [`send`](Self::send).
    ///
    /// # Errors
    /// The connection's.
    pub async fn frames(&mut self, frames: impl IntoIterator<Item = Frame>) -> io::Result<()> {
        let mut bytes = Vec::new();
        bytes.extend(frames);
        self.send(&bytes).await
    }

    /// The next frame; `None` when the peer has closed. Waits without bound. **When cancelled:** nothing is lost, ask
    /// again.
    ///
    /// # Errors
    /// The connection's.
    pub async fn next(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if let Some(frame) = Frame::take(&mut self.read) {
                return Ok(Some(frame));
            }
            self.read.reserve(READ);
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Ok(None);
            }
        }
    }
}
