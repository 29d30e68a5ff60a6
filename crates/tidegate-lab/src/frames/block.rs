//! [`Block`]: header blocks without compression, and the one field that is read back.

/// Entries of the static table (RFC 7541, appendix A) whose name is `:status`, and their values.
const STATUS: [(u8, u16); 7] = [(8, 200), (9, 204), (10, 206), (11, 304), (12, 400), (13, 404), (14, 500)];

/// A header block that is being written: every field as a literal that no table keeps.
#[derive(Clone, Debug, Default)]
pub struct Block(Vec<u8>);

impl Block {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The head of a GET of `path`.
    #[must_use]
    pub fn get(path: &str) -> Self {
        Self::request("GET", path)
    }

    /// The head of a request.
    #[must_use]
    pub fn request(method: &str, path: &str) -> Self {
        Self::new()
            .field(":method", method)
            .field(":scheme", "http")
            .field(":path", path)
            .field(":authority", "a.example")
    }

    /// One field more, with its name as it is.
    #[must_use]
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.0.push(0); // literal, not indexed, new name (RFC 7541 §6.2.2)
        self.text(name);
        self.text(value);
        self
    }

    /// Whatever bytes.
    #[must_use]
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// The block.
    #[must_use]
    pub fn bytes(self) -> Vec<u8> {
        self.0
    }

    fn text(&mut self, text: &str) {
        self.integer(text.len(), 7, 0);
        self.0.extend_from_slice(text.as_bytes());
    }

    /// An integer with a prefix of so many bits (RFC 7541 §5.1).
    fn integer(&mut self, number: usize, prefix: u32, first: u8) {
        let most = (1usize << prefix) - 1;
        if number < most {
            self.0.push(first | number as u8); // less than 2^prefix
            return;
        }
        self.0.push(first | most as u8);
        let mut rest = number - most;
        while rest >= 128 {
            self.0.push(rest as u8 | 128); // its low seven bits
            rest >>= 7;
        }
        self.0.push(rest as u8);
    }
}

/// The `:status` of a block whose first field it is, as it must be (RFC 9113 §8.3), of a server that was told to use
/// no table (`HEADER_TABLE_SIZE` 0).
#[must_use]
pub fn status(mut block: &[u8]) -> Option<u16> {
    // The table's size may be said first.
    while block.first()? & 0xe0 == 0x20 {
        let more = |byte: &&u8| **byte >= 128;
        let length =
            if block.first()? & 0x1f == 0x1f { 2 + block.iter().skip(1).take_while(more).count() } else { 1 };
        block = block.get(length..)?;
    }
    let (first, rest) = block.split_first()?;
    if first & 0x80 != 0 {
        return STATUS.iter().find(|(index, _)| *index == first & 0x7f).map(|(_, status)| *status);
    }
    // A literal, indexed or not; its name is one of the entries.
    let name = if first & 0x40 != 0 { first & 0x3f } else { first & 0x0f };
    if !(8..=14).contains(&name) {
        return None;
    }
    let (length, value) = rest.split_first()?;
    let value = value.get(..usize::from(length & 0x7f))?;
    if length & 0x80 == 0 {
        return std::str::from_utf8(value).ok()?.parse().ok();
    }
    three_digits(value)
}

/// Three digits in the code of RFC 7541, appendix B: 0 to 2 have five bits, 3 to 9 six.
fn three_digits(value: &[u8]) -> Option<u16> {
    let bits = value.iter().take(3).fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
    let mut left = 8 * value.len().min(3);
    let mut number = 0;
    for _ in 0..3 {
        let five = bits >> left.checked_sub(5)? & 0x1f;
        let digit = if five <= 2 {
            left -= 5;
            five
        } else {
            left = left.checked_sub(6)?;
            (bits >> left & 0x3f).checked_sub(0x16).filter(|digit| (3..=9).contains(digit))?
        };
        number = number * 10 + u16::try_from(digit).ok()?;
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_value_has_a_long_length() {
        let block = Block::new().field("a", &"b".repeat(300)).bytes();
        assert_eq!(block[..5], [0, 1, b'a', 127, 173]); // 300 = 127 + 45 + 1 * 128
        assert_eq!((block[5], block.len()), (1, 306));
    }

    #[test]
    fn a_status_is_read_however_it_is_written() {
        assert_eq!(status(&[0x88]), Some(200));
        assert_eq!(status(&[0x20, 0x8d]), Some(404));
        assert_eq!(status(&[0x3f, 0xe1, 0x1f, 0x8e]), Some(500));
        assert_eq!(status(b"\x08\x03503"), Some(503));
        // RFC 7541 C.6.1: 302, indexed, in Huffman's code.
        assert_eq!(status(&[0x48, 0x82, 0x64, 0x02]), Some(302));
        // 0x08 0x83: 431 = 011010 011001 00001 and padding; 503 = 011011 00000 011001.
        assert_eq!(status(&[0x08, 0x83, 0b0110_1001, 0b1001_0000, 0b1111_1111]), Some(431));
        assert_eq!(status(&[0x08, 0x82, 0b0110_1100, 0b0000_1100, 0x7f]), None);
        assert_eq!(status(&[0x08, 0x83, 0b0110_1100, 0b0000_1100, 0x7f]), None);
        for junk in [&[][..], &[0x82], &[0x20], &[0x08, 0x85, 1], &[0x0f, 1, b'1']] {
            assert_eq!(status(junk), None, "{junk:?}");
        }
    }
}
