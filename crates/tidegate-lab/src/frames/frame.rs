//! [`Frame`], and the numbers of RFC 9113 §§6, 7.

use bytes::{Buf, Bytes, BytesMut};

/// Types of frames (RFC 9113 §6).
#[allow(missing_docs)] // the RFC's names
pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// Flags of frames (RFC 9113 §6).
#[allow(missing_docs)] // the RFC's names
pub mod flag {
    pub const ACK: u8 = 1;
    pub const END_STREAM: u8 = 1;
    pub const END_HEADERS: u8 = 4;
    pub const PADDED: u8 = 8;
    pub const PRIORITY: u8 = 32;
}

/// Settings (RFC 9113 §6.5.2).
#[allow(missing_docs)] // the RFC's names
pub mod setting {
    pub const HEADER_TABLE_SIZE: u16 = 1;
    pub const ENABLE_PUSH: u16 = 2;
    pub const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub const INITIAL_WINDOW_SIZE: u16 = 4;
    pub const MAX_FRAME_SIZE: u16 = 5;
}

/// Error codes (RFC 9113 §7).
#[allow(missing_docs)] // the RFC's names
pub mod code {
    pub const NO_ERROR: u32 = 0;
    pub const PROTOCOL_ERROR: u32 = 1;
    pub const INTERNAL_ERROR: u32 = 2;
    pub const FLOW_CONTROL_ERROR: u32 = 3;
    pub const SETTINGS_TIMEOUT: u32 = 4;
    pub const STREAM_CLOSED: u32 = 5;
    pub const FRAME_SIZE_ERROR: u32 = 6;
    pub const REFUSED_STREAM: u32 = 7;
    pub const CANCEL: u32 = 8;
    pub const COMPRESSION_ERROR: u32 = 9;
    pub const ENHANCE_YOUR_CALM: u32 = 11;
}

/// Bytes before every payload.
const HEAD: usize = 9;

/// One frame: any numbers, also such as no peer should send.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream, with the reserved bit.
    pub stream: u32,
    /// What follows its head; its length is written with 24 bits.
    pub payload: Bytes,
}

impl Frame {
    /// Any frame.
    #[must_use]
    pub fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Bytes>) -> Self {
        Self { kind, flags, stream, payload: payload.into() }
    }

    /// DATA.
    #[must_use]
    pub fn data(stream: u32, flags: u8, bytes: impl Into<Bytes>) -> Self {
        Self::new(kind::DATA, flags, stream, bytes)
    }

    /// HEADERS.
    #[must_use]
    pub fn headers(stream: u32, flags: u8, block: impl Into<Bytes>) -> Self {
        Self::new(kind::HEADERS, flags, stream, block)
    }

    /// CONTINUATION.
    #[must_use]
    pub fn continuation(stream: u32, flags: u8, block: impl Into<Bytes>) -> Self {
        Self::new(kind::CONTINUATION, flags, stream, block)
    }

    /// RST_STREAM.
    #[must_use]
    pub fn reset(stream: u32, code: u32) -> Self {
        Self::new(kind::RST_STREAM, 0, stream, code.to_be_bytes().to_vec())
    }

    /// SETTINGS.
    #[must_use]
    pub fn settings(settings: &[(u16, u32)]) -> Self {
        let mut payload = Vec::with_capacity(settings.len() * 6);
        for (name, value) in settings {
            payload.extend_from_slice(&name.to_be_bytes());
            payload.extend_from_slice(&value.to_be_bytes());
        }
        Self::new(kind::SETTINGS, 0, 0, payload)
    }

    /// The acknowledgement of SETTINGS.
    #[must_use]
    pub fn settings_ack() -> Self {
        Self::new(kind::SETTINGS, flag::ACK, 0, Bytes::new())
    }

    /// PING.
    #[must_use]
    pub fn ping(opaque: [u8; 8]) -> Self {
        Self::new(kind::PING, 0, 0, opaque.to_vec())
    }

    /// WINDOW_UPDATE; of the connection with stream 0.
    #[must_use]
    pub fn window_update(stream: u32, increment: u32) -> Self {
        Self::new(kind::WINDOW_UPDATE, 0, stream, increment.to_be_bytes().to_vec())
    }

    /// PRIORITY (deprecated, still allowed: RFC 9113 §5.3.2).
    #[must_use]
    pub fn priority(stream: u32, depends_on: u32, weight: u8) -> Self {
        Self::new(kind::PRIORITY, 0, stream, [&depends_on.to_be_bytes()[..], &[weight]].concat())
    }

    /// Has it this flag?
    #[must_use]
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The 32 bits at `at` of the payload, such as the code of RST_STREAM (0) and of GOAWAY (4).
    #[must_use]
    pub fn number(&self, at: usize) -> Option<u32> {
        let bytes = self.payload.get(at..at.checked_add(4)?)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    }

    /// Writes it as it goes over the wire.
    pub fn put(&self, bytes: &mut Vec<u8>) {
        let length = u32::try_from(self.payload.len()).unwrap_or(u32::MAX).to_be_bytes();
        bytes.extend_from_slice(&[length[1], length[2], length[3], self.kind, self.flags]);
        bytes.extend_from_slice(&self.stream.to_be_bytes());
        bytes.extend_from_slice(&self.payload);
    }

    /// Takes the next frame from the front of `bytes`, when it is whole.
    pub fn take(bytes: &mut BytesMut) -> Option<Self> {
        let head = bytes.get(..HEAD)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize; // 24 bits
        let (kind, flags) = (head[3], head[4]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        if bytes.len() < HEAD + length {
            bytes.reserve(HEAD + length - bytes.len());
            return None;
        }
        bytes.advance(HEAD);
        Some(Self { kind, flags, stream, payload: bytes.split_to(length).freeze() })
    }
}

/// The frames one after the other, as bytes.
impl Extend<Frame> for Vec<u8> {
    fn extend<T: IntoIterator<Item = Frame>>(&mut self, frames: T) {
        for frame in frames {
            frame.put(self);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_comes_out_as_it_went_in() {
        let frames = [
            Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, 1), (0x1234, u32::MAX)]),
            Frame::data(3, flag::END_STREAM, vec![7; 70_000]),
            Frame::reset(u32::MAX, code::CANCEL),
        ];
        let mut bytes = Vec::new();
        bytes.extend(frames.clone());
        let (mut read, mut back) = (BytesMut::new(), Vec::new());
        for piece in bytes.chunks(1000) {
            read.extend_from_slice(piece);
            while let Some(frame) = Frame::take(&mut read) {
                back.push(frame);
            }
        }
        assert_eq!((&back[..], read.len()), (&frames[..], 0));
        assert_eq!((back[2].number(0), back[2].number(1)), (Some(code::CANCEL), None));
    }
}
