//! How values are written: `250ms`, `64MiB`, `adaptive`, `logfmt`.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

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
#[serde(try_from = "Written")]
pub struct Span(pub Duration);

/// An amount of bytes: `512`, `64KiB`, `1MiB`, `2GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub struct Size(pub u64);

/// `adaptive`, or how much may be at the origin at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub enum LimitWord {
    /// The gateway finds it.
    Adaptive,
    /// This many.
    Fixed(u64),
}

/// How the access log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub enum LogWord {
    /// Not at all.
    Off,
    /// One JSON object a line.
    Json,
    /// `key=value` pairs.
    Logfmt,
}

/// As it was written. TOML has numbers where flags have text, and what is neither is told how to be written in the same words.
struct Written(String);

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Reads)
    }
}

struct Reads;

impl Visitor<'_> for Reads {
    type Value = Written;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text or a number")
    }

    fn visit_str<E>(self, text: &str) -> Result<Written, E> {
        Ok(Written(text.to_owned()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Written, E> {
        Ok(Written(number.to_string()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Written, E> {
        Ok(Written(number.to_string()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Written, E> {
        Ok(Written(number.to_string()))
    }

    fn visit_bool<E>(self, word: bool) -> Result<Written, E> {
        Ok(Written(word.to_string()))
    }
}

/// An address to listen on.
pub(super) fn address<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SocketAddr>, D::Error> {
    let Written(text) = Written::deserialize(from)?;
    let wrong = || UnitError {
        text: text.clone(),
        what: "an address",
        example: "one with its port, such as 127.0.0.1:8080",
    };
    text.parse().map(Some).map_err(|_| D::Error::custom(wrong()))
}

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let wrong = || UnitError {
            text: text.to_owned(),
            what: "a duration",
            example: "a number with ms, s, m or h, such as 250ms or 5s",
        };
        let (number, unit) = split(text);
        let nanos = match unit {
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60 * 1_000_000_000,
            "h" => 3600 * 1_000_000_000,
            _ => return Err(wrong()),
        };
        // A year is longer than anything that waits here, and far from overflow.
        match times(number, nanos) {
            Some(nanos) if nanos <= YEAR => Ok(Self(Duration::from_nanos(nanos))),
            _ => Err(wrong()),
        }
    }
}

/// In nanoseconds.
const YEAR: u64 = 366 * 86_400 * 1_000_000_000;

impl FromStr for Size {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let wrong = || UnitError {
            text: text.to_owned(),
            what: "an amount of bytes",
            example: "a number, or one with KiB, MiB or GiB, such as 64MiB",
        };
        let (number, unit) = split(text);
        let factor = match unit {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(wrong()),
        };
        match times(number, factor) {
            Some(bytes) if bytes <= MOST_BYTES => Ok(Self(bytes)),
            _ => Err(wrong()),
        }
    }
}

/// A pebibyte: more than any machine has.
const MOST_BYTES: u64 = 1 << 50;

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
fn split(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim())
}

/// Digits beyond so many after the point are less than one of whatever is counted here.
const DIGITS: usize = 20;

/// A decimal number times `unit`, exactly; what is left of a whole one is dropped.
fn times(number: &str, unit: u64) -> Option<u64> {
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && part.is_empty() {
        return None;
    }
    let part = part.get(..DIGITS).unwrap_or(part);
    let digits = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<u128>().ok() };
    let parts = digits(part)? * u128::from(unit) / 10u128.pow(u32::try_from(part.len()).ok()?);
    let whole = digits(whole)?.checked_mul(unit.into())?;
    u64::try_from(whole.checked_add(parts)?).ok()
}

impl TryFrom<Written> for Span {
    type Error = UnitError;
    fn try_from(Written(text): Written) -> Result<Self, UnitError> {
        text.parse()
    }
}

impl TryFrom<Written> for LogWord {
    type Error = UnitError;
    fn try_from(Written(text): Written) -> Result<Self, UnitError> {
        text.parse()
    }
}

impl TryFrom<Written> for Size {
    type Error = UnitError;
    fn try_from(Written(text): Written) -> Result<Self, UnitError> {
        text.parse()
    }
}

impl TryFrom<Written> for LimitWord {
    type Error = UnitError;
    fn try_from(Written(text): Written) -> Result<Self, UnitError> {
        text.parse()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (millis, nanos) = (self.0.as_millis(), self.0.subsec_nanos() % 1_000_000);
        if nanos > 0 {
            let part = format!("{nanos:06}");
            write!(f, "{millis}.{}ms", part.trim_end_matches('0'))
        } else if millis % 1000 == 0 {
            write!(f, "{}s", millis / 1000)
        } else {
            write!(f, "{millis}ms")
        }
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
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back_to_the_last_nanosecond(
            nanos in prop_oneof![0..2_000_000_000u64, 0..=YEAR, (0..=YEAR / 1_000_000).prop_map(|ms| ms * 1_000_000)],
            bytes in prop_oneof![0..=MOST_BYTES, (0..=MOST_BYTES >> 20).prop_map(|mib| mib << 20)],
        ) {
            let (span, size) = (Span(Duration::from_nanos(nanos)), Size(bytes));
            prop_assert_eq!(span.to_string().parse(), Ok(span));
            prop_assert_eq!(size.to_string().parse(), Ok(size));
        }

        #[test]
        fn whatever_is_read_is_written_as_something_that_means_the_same(
            number in "[0-9]{0,12}(\\.[0-9]{0,25})?",
            unit in "ms|s|m|h|KiB|MiB|GiB|",
        ) {
            let text = format!("{number}{unit}");
            if let Ok(span) = text.parse::<Span>() {
                prop_assert_eq!(span.to_string().parse(), Ok(span), "{}", text);
            }
            if let Ok(size) = text.parse::<Size>() {
                prop_assert_eq!(size.to_string().parse(), Ok(size), "{}", text);
            }
        }
    }

    #[test]
    fn values_are_read_and_written_back() {
        for text in ["250ms", "5s", "90s", "0s", "0.4ms", "1500.000001ms"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        for text in ["1.5s", "1500ms", "0.025m", "1.50000000000000000000000001s"] {
            assert_eq!(text.parse::<Span>().unwrap().0, Duration::from_millis(1500), "{text}");
        }
        assert_eq!((".5KiB".parse(), "1.KiB".parse()), (Ok(Size(512)), Ok(Size(1024))));
        for text in ["512", "64KiB", "64MiB", "3GiB"] {
            assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
        }
        for text in ["adaptive", "10"] {
            assert_eq!(text.parse::<LimitWord>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn nonsense_is_named_with_an_example() {
        for text in [
            "",
            "5",
            "s",
            ".s",
            "1.2.3s",
            "-5s",
            "5 years",
            "1e9h",
            "9999999h",
            "99999999999999999999999999999999999999h",
        ] {
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
