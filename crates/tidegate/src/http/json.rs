//! Strings in JSON.

use std::fmt::{self, Write};

/// Shows a text as a JSON string (RFC 8259 §7).
pub(super) struct Quoted<'a>(pub(super) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for char in self.0.chars() {
            match char {
                '"' | '\\' => write!(f, "\\{char}")?,
                char if u32::from(char) < 0x20 => write!(f, "\\u{:04x}", u32::from(char))?,
                char => f.write_char(char)?,
            }
        }
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
