//! [`rate_limit`]: the field of the RateLimit draft.

use std::time::Duration;

use http::{HeaderMap, HeaderName};

use super::LONGEST;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// The time for which a quota is used up, from `RateLimit: "policy";r=0;t=30`
/// (draft-ietf-httpapi-ratelimit-headers-11 §4, a list in the sense of RFC 9651).
///
/// `None` where something is left of every quota, where a used-up one names no window, and where the field is malformed:
/// the draft wants it ignored entirely then. Of several quotas used up the longest window counts, at most a day. The
/// three fields of drafts up to -06 (`RateLimit-Reset` and its kin) are not read: servers disagree on whether they hold
/// seconds or a date.
///
/// ```
/// use std::time::Duration;
/// use http::{HeaderMap, HeaderValue};
/// use tidegate::http::rate_limit;
///
/// let mut headers = HeaderMap::new();
/// headers.insert("ratelimit", HeaderValue::from_static(r#""burst";r=12;t=1, "daily";r=0;t=30"#));
/// assert_eq!(rate_limit(&headers), Some(Duration::from_secs(30)));
/// ```
#[must_use]
pub fn rate_limit(headers: &HeaderMap) -> Option<Duration> {
    let mut fields = headers.get_all(RATE_LIMIT).iter();
    let first = fields.next()?.to_str().ok()?;
    let mut list = first.to_owned();
    for field in fields {
        list.push(',');
        list.push_str(field.to_str().ok()?);
    }
    used_up(&list)?.map(|seconds| Duration::from_secs(seconds).min(LONGEST))
}

/// The longest window of a quota of which nothing is left; the outer `None` for a malformed list.
fn used_up(list: &str) -> Option<Option<u64>> {
    let mut rest = Rest(list.trim_start_matches(' ').trim_end_matches(' '));
    let mut longest = None;
    loop {
        rest.string()?;
        // Of a parameter that is there twice the last one counts (RFC 9651 §3.1.2).
        let (mut left, mut window) = (None, None);
        while rest.takes(';') {
            rest.skip(&[' ']);
            let key = rest.key()?;
            let value = if rest.takes('=') { rest.value()? } else { Value::Other };
            match key {
                "r" => left = Some(value),
                "t" => window = Some(value),
                _ => {}
            }
        }
        let window = window.map(Value::count).map_or(Some(None), |count| count.map(Some))?;
        if left?.count()? == 0 {
            longest = longest.max(window);
        }
        rest.skip(&[' ', '\t']);
        if rest.0.is_empty() {
            return Some(longest.filter(|&seconds| seconds > 0));
        }
        if !rest.takes(',') {
            return None;
        }
        rest.skip(&[' ', '\t']);
    }
}

#[derive(Clone, Copy, Debug)]
enum Value {
    /// An integer that is not negative.
    Count(u64),
    /// Anything else that is well formed.
    Other,
}

impl Value {
    const fn count(self) -> Option<u64> {
        match self {
            Self::Count(count) => Some(count),
            Self::Other => None,
        }
    }
}

/// What is still to be read of a structured field.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn takes(&mut self, char: char) -> bool {
        let rest = self.0.strip_prefix(char);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn skip(&mut self, chars: &[char]) {
        self.0 = self.0.trim_start_matches(chars);
    }

    fn run(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let end = self.0.find(|char| !belongs(char)).unwrap_or(self.0.len());
        let (run, rest) = self.0.split_at_checked(end).unwrap_or((self.0, ""));
        self.0 = rest;
        run
    }

    fn string(&mut self) -> Option<()> {
        if !self.takes('"') {
            return None;
        }
        let mut chars = self.0.chars();
        loop {
            match chars.next()? {
                '"' => break,
                '\\' => drop(chars.next().filter(|char| matches!(char, '"' | '\\'))?),
                ' '..='~' => {}
                _ => return None,
            }
        }
        self.0 = chars.as_str();
        Some(())
    }

    fn key(&mut self) -> Option<&'a str> {
        let begins = self.0.starts_with(|char: char| char.is_ascii_lowercase() || char == '*');
        begins.then(|| {
            self.run(|char| {
                char.is_ascii_lowercase() || char.is_ascii_digit() || matches!(char, '_' | '-' | '.' | '*')
            })
        })
    }

    fn value(&mut self) -> Option<Value> {
        match self.0.chars().next()? {
            '"' => self.string()?,
            '-' | '0'..='9' => return self.number(),
            '@' => {
                self.takes('@');
                self.integer()?;
            }
            '?' => {
                self.takes('?');
                if !self.takes('0') && !self.takes('1') {
                    return None;
                }
            }
            ':' => {
                self.takes(':');
                self.run(|char| char.is_ascii_alphanumeric() || matches!(char, '+' | '/' | '='));
                if !self.takes(':') {
                    return None;
                }
            }
            'a'..='z' | 'A'..='Z' | '*' => {
                self.run(|char| char.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~:/".contains(char));
            }
            _ => return None,
        }
        Some(Value::Other)
    }

    /// At most 15 digits, and whether it is negative.
    fn integer(&mut self) -> Option<(u64, bool)> {
        let negative = self.takes('-');
        let digits = self.run(|char| char.is_ascii_digit());
        if digits.is_empty() || digits.len() > 15 {
            return None;
        }
        Some((digits.parse().ok()?, negative))
    }

    fn number(&mut self) -> Option<Value> {
        let (whole, negative) = self.integer()?;
        if self.takes('.') {
            let digits = self.run(|char| char.is_ascii_digit()).len();
            return ((1..=3).contains(&digits) && whole < 1_000_000_000_000).then_some(Value::Other);
        }
        Some(if negative && whole > 0 { Value::Other } else { Value::Count(whole) })
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_drafts_examples() {
        for (field, expected) in [
            (r#""default";r=50;t=30"#, None),
            (r#""default";r=0;t=30"#, Some(30)),
            (r#""default";r=999;pk=:dHJpYWwxMjEzMjM=:"#, None),
            (r#""default";r=0;t=60;pk=:QXBwLTk5OQ==:"#, Some(60)),
            (r#""problemPolicy";r=0;t=10"#, Some(10)),
            (r#""a";r=0;t=5 , "b";r=0;t=9;acme-x=wo/rd,"c";r=1;t=99"#, Some(9)),
            (r#""a";r=0"#, None),
            (r#""a";r=0;t=0"#, None),
            (r#""a\"b";r=0;t=999999999999999"#, Some(999_999_999_999_999)),
        ] {
            assert_eq!(used_up(field), Some(expected), "{field}");
        }
        for field in
            ["", "a;r=0;t=1", r#""a""#, r#""a";t=3"#, r#""a";r=0;t=-3"#, r#""a";r=0;t=1,"#, "(\"a\");r=0"]
        {
            assert_eq!(used_up(field), None, "{field}");
        }
    }

    #[test]
    fn fields_that_were_split_are_one_list() {
        let mut headers = HeaderMap::new();
        headers.append(RATE_LIMIT, HeaderValue::from_static(r#""a";r=0;t=5"#));
        headers.append(RATE_LIMIT, HeaderValue::from_static(r#""b";r=0;t=999999"#));
        assert_eq!(rate_limit(&headers), Some(LONGEST));
        headers.append(RATE_LIMIT, HeaderValue::from_static("nonsense"));
        assert_eq!(rate_limit(&headers), None);
    }

    /// By another parser of structured fields, then by the draft's words.
    fn model(list: &str) -> Option<Option<u64>> {
        use sfv::{BareItem, ListEntry};
        let list: sfv::List = sfv::Parser::new(list).parse().ok()?;
        let mut longest = None;
        for entry in &list {
            let ListEntry::Item(item) = entry else { return None };
            let BareItem::String(_) = item.bare_item else { return None };
            let count = |name: &str| match item.params.get(name) {
                None => Some(None),
                Some(BareItem::Integer(value)) => u64::try_from(i64::from(*value)).ok().map(Some),
                Some(_) => None,
            };
            let (left, window) = (count("r")??, count("t")?);
            if left == 0 {
                longest = longest.max(window);
            }
        }
        (!list.is_empty()).then_some(longest.filter(|&seconds| seconds > 0))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn lists_are_the_models(pieces in prop::collection::vec(prop::sample::select(vec![
            r#""a""#, r#""b \" c""#, ";r=0", ";r=0;t=7", ";r=5", ";t=30", "; t=3", " ;t=4", ";t=-1", ";t=-0", ";t=1.5", ";t=007",
            ";t=999999999999999", ";t=9999999999999999", ";pk=:YWJj:", ",", ", ", " ,\t", " ", ";x", ";x=?1", ";x=?2",
            ";x=@12", ";x=wo/r:d", ";R=0", "\"", "\\", "(", ")", ";r", ";t", ";x=\"\\\"\"", ";x=1.", ";*a=1", "ü",
        ]), 0..10)) {
            let list = format!(r#""p";r=0{}"#, pieces.concat());
            prop_assert_eq!(used_up(&list), model(&list), "{}", list);
            let list = pieces.concat();
            prop_assert_eq!(used_up(&list), model(&list), "{}", list);
        }

        #[test]
        fn whatever_it_says_nothing_breaks(list in "\\PC{0,60}") {
            let _ = used_up(&list);
        }
    }
}
