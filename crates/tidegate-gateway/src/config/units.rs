//! How values are written: `250ms`, `64MiB`, `adaptive`, `logfmt`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

/// A value is not written as it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {what}: write {example}")]
pub struct UnitError {
    text: String,
    what: &'static str,
    example: &'static str,
}

/// A duration: `250ms`, `5s`, `2m`, `1h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Span(pub Duration);

/// An amount of bytes: `512`, `64KiB`, `1MiB`, `2GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Number")]
pub struct Size(pub u64);

/// `adaptive`, or how much may be at the origin at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Number")]
pub enum LimitWord {
    /// The gateway finds it.
    Adaptive,
    /// This many.
    Fixed(u64),
}

/// How the access log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum LogWord {
    /// Not at all.
    Off,
    /// One JSON object a line.
    Json,
    /// `key=value` pairs.
    Logfmt,
}

/// TOML has numbers where flags have text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Plain(u64),
    Text(String),
}

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let wrong = || UnitError {
            text: text.to_owned(),
            what: "a duration",
            example: "a number with ms, s, m or h, such as 250ms or 5s",
        };
        let (number, unit) = split(text).ok_or_else(wrong)?;
        let millis = match unit {
            "ms" => 1.0,
            "s" => 1e3,
            "m" => 60e3,
            "h" => 3600e3,
            _ => return Err(wrong()),
        };
        let seconds = number * millis / 1e3;
        // A year is longer than anything that waits here, and far from overflow.
        if seconds > 366.0 * 86400.0 {
            return Err(wrong());
        }
        Duration::try_from_secs_f64(seconds).map(Self).map_err(|_| wrong())
    }
}

impl FromStr for Size {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let wrong = || UnitError {
            text: text.to_owned(),
            what: "an amount of bytes",
            example: "a number, or one with KiB, MiB or GiB, such as 64MiB",
        };
        let (number, unit) = split(text).ok_or_else(wrong)?;
        let factor = match unit {
            "" | "B" => 1.0,
            "KiB" => 1024.0,
            "MiB" => 1024.0 * 1024.0,
            "GiB" => 1024.0 * 1024.0 * 1024.0,
            _ => return Err(wrong()),
        };
        let bytes = number * factor;
        if bytes > 2f64.powi(50) { Err(wrong()) } else { Ok(Self(bytes as u64)) }
    }
}

impl FromStr for LimitWord {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        if text == "adaptive" {
            return Ok(Self::Adaptive);
        }
        match text.parse() {
            Ok(limit) if limit > 0 => Ok(Self::Fixed(limit)),
            _ => Err(UnitError {
                text: text.to_owned(),
                what: "a limit",
                example: "adaptive, or a number of at least 1",
            }),
        }
    }
}

impl FromStr for LogWord {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        match text {
            "off" => Ok(Self::Off),
            "json" => Ok(Self::Json),
            "logfmt" => Ok(Self::Logfmt),
            _ => Err(UnitError {
                text: text.to_owned(),
                what: "a format of the access log",
                example: "off, json or logfmt",
            }),
        }
    }
}

/// A number that is not negative, and what follows it.
fn split(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim()))
}

impl TryFrom<String> for Span {
    type Error = UnitError;
    fn try_from(text: String) -> Result<Self, UnitError> {
        text.parse()
    }
}

impl TryFrom<String> for LogWord {
    type Error = UnitError;
    fn try_from(text: String) -> Result<Self, UnitError> {
        text.parse()
    }
}

impl TryFrom<Number> for Size {
    type Error = UnitError;
    fn try_from(number: Number) -> Result<Self, UnitError> {
        match number {
            Number::Plain(bytes) => Ok(Self(bytes)),
            Number::Text(text) => text.parse(),
        }
    }
}

impl TryFrom<Number> for LimitWord {
    type Error = UnitError;
    fn try_from(number: Number) -> Result<Self, UnitError> {
        match number {
            Number::Plain(limit) => limit.to_string().parse(),
            Number::Text(text) => text.parse(),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        if millis % 1000 == 0 { write!(f, "{}s", millis / 1000) } else { write!(f, "{millis}ms") }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, factor) in [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
            if self.0 >= factor && self.0 % factor == 0 {
                return write!(f, "{}{unit}", self.0 / factor);
            }
        }
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for LimitWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Adaptive => f.write_str("adaptive"),
            Self::Fixed(limit) => write!(f, "{limit}"),
        }
    }
}

impl fmt::Display for LogWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Json => "json",
            Self::Logfmt => "logfmt",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_and_written_back() {
        for text in ["250ms", "5s", "90s", "0s"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        assert_eq!("1.5s".parse::<Span>().unwrap().0, Duration::from_millis(1500));
        for text in ["512", "64KiB", "64MiB", "3GiB"] {
            assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
        }
        for text in ["adaptive", "10"] {
            assert_eq!(text.parse::<LimitWord>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn nonsense_is_named_with_an_example() {
        for text in ["", "5", "s", "-5s", "5 years", "1e9h", "9999999h"] {
            assert!(text.parse::<Span>().unwrap_err().to_string().contains("250ms"), "{text}");
        }
        for text in ["", "MiB", "5MB", "99999999GiB"] {
            assert!(text.parse::<Size>().unwrap_err().to_string().contains("64MiB"), "{text}");
        }
        for text in ["", "0", "-1", "many"] {
            assert!(text.parse::<LimitWord>().unwrap_err().to_string().contains("adaptive"), "{text}");
        }
    }
}
