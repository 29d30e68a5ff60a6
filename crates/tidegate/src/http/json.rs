//! Strings in JSON.

use std::fmt::{self, Write};

/// Shows a text as a JSON string (RFC 8259 §7).
pub(super) struct Quoted<'a>(pub(super) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        let mut rest = self.0;
        // All of these are single bytes, so that a text may be cut beside them.
        while let Some(at) = rest.bytes().position(|byte| matches!(byte, b'"' | b'\\' | ..0x20)) {
            let (plain, tail) = rest.split_at(at);
            let (special, tail) = tail.split_at(1);
            f.write_str(plain)?;
            match special {
                "\"" | "\\" => write!(f, "\\{special}")?,
                _ => special.bytes().try_for_each(|byte| write!(f, "\\u{byte:04x}"))?,
            }
            rest = tail;
        }
        f.write_str(rest)?;
        f.write_char('"')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_comes_back_as_it_was() {
        let text = "a \"quoted\" \\ line\nand \u{1f} ü €";
        let read: String = serde_json::from_str(&Quoted(text).to_string()).unwrap();
        assert_eq!(read, text);
    }
}
