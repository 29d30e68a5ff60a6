//! What a problem body says (RFC 9457, with Tidegate's members).

use std::time::Duration;

use http::HeaderMap;
use http::header::CONTENT_TYPE;

use crate::refused::Reason;

use super::LONGEST;

/// What is of use in a problem body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// Of Tidegate's own problem types.
    pub(super) reason: Option<Reason>,
    pub(super) moment: Option<Duration>,
    pub(super) worth_retrying: Option<bool>,
}

/// Whether a response says that its body is a problem.
pub(super) fn is_problem(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/problem+json"))
}

/// Reads the members of the outermost object; everything inside of others is skipped. Nothing is said by what is not an
/// object, ends early, or is not JSON. A moment that is 0, negative or a fraction is none, one beyond a day is a day.
pub(super) fn said(body: &[u8]) -> Said {
    read(body).unwrap_or_default()
}

fn read(body: &[u8]) -> Option<Said> {
    let mut rest = Rest(std::str::from_utf8(body).ok()?);
    let mut said = Said::default();
    rest.takes('{').then_some(())?;
    if !rest.takes('}') {
        loop {
            let name = rest.string()?;
            rest.takes(':').then_some(())?;
            let value = rest.value()?;
            match name {
                "type" => said.reason = reason(value),
                "worth_retrying" => said.worth_retrying = value.parse().ok(),
                "retry_after_ms" => said.moment = moment(value),
                _ => {}
            }
            if rest.takes('}') {
                break;
            }
            rest.takes(',').then_some(())?;
        }
    }
    rest.ended().then_some(said)
}

fn reason(value: &str) -> Option<Reason> {
    let name = value.strip_prefix("\"urn:tidegate:refused:")?.strip_suffix('"')?;
    Reason::ALL.into_iter().find(|reason| reason.name() == name)
}

fn moment(value: &str) -> Option<Duration> {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let millis = digits.then(|| value.parse().map_or(LONGEST, Duration::from_millis))?;
    (!millis.is_zero()).then_some(millis.min(LONGEST))
}

/// What is still to be read; white space before everything is skipped.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn skip(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t', '\r', '\n']);
    }

    fn takes(&mut self, char: char) -> bool {
        self.skip();
        let rest = self.0.strip_prefix(char);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn ended(&mut self) -> bool {
        self.skip();
        self.0.is_empty()
    }

    /// Splits off what ends before the rest that `end` finds.
    fn split(&mut self, end: usize) -> Option<&'a str> {
        let (taken, rest) = self.0.split_at_checked(end)?;
        self.0 = rest;
        Some(taken)
    }

    /// Between its quotes, as it is written: no member's name that matters needs an escape.
    fn string(&mut self) -> Option<&'a str> {
        self.takes('"').then_some(())?;
        let mut escaped = false;
        let end = self.0.find(|char| {
            let ends = char == '"' && !escaped;
            escaped = char == '\\' && !escaped;
            ends
        })?;
        let text = self.split(end)?;
        self.takes('"').then_some(text)
    }

    /// As it is written, a string with its quotes; of objects and arrays only that they end.
    fn value(&mut self) -> Option<&'a str> {
        self.skip();
        let begin = self.0;
        if begin.starts_with('"') {
            self.string()?;
        } else if begin.starts_with(['{', '[']) {
            let mut depth = 0_u32;
            loop {
                let next = self.0.find(['{', '[', '}', ']', '"'])?;
                self.split(next)?;
                if self.0.starts_with('"') {
                    self.string()?;
                    continue;
                }
                // Bounded by the length of what was read.
                depth = if self.0.starts_with(['{', '[']) { depth + 1 } else { depth - 1 };
                self.split(1)?;
                if depth == 0 {
                    break;
                }
            }
        } else {
            let end = begin.find([',', '}', ' ', '\t', '\r', '\n'])?;
            return self.split(end).filter(|value| !value.is_empty());
        }
        begin.get(..begin.len() - self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn our_own_bodies_are_understood() {
        let body = br#"{"type":"urn:tidegate:refused:queue_full","title":"Service Unavailable","status":503,
            "reason":"queue_full","worth_retrying":true,"retry_after_ms":2134}"#;
        let expected = Said {
            reason: Some(Reason::QueueFull),
            moment: Some(Duration::from_millis(2134)),
            worth_retrying: Some(true),
        };
        assert_eq!(said(body), expected);
        for (body, moment) in [
            (r#"{"retry_after_ms":99999999999999999999999}"#, Some(LONGEST)),
            (r#"{"retry_after_ms":-5}"#, None),
            (r#"{"retry_after_ms":0}"#, None),
            (r#"{"retry_after_ms":1.5}"#, None),
            (r#"{"retry_after_ms":"7"}"#, None),
            (r#"{"more":{"retry_after_ms":7}}"#, None),
            (r#"{"more":"}\"","retry_after_ms":7}"#, Some(Duration::from_millis(7))),
            (r#"{"retry_after_ms":7"#, None),
            (r#"{"retry_after_ms":7} x"#, None),
            ("[]", None),
            ("{}", None),
            ("", None),
        ] {
            assert_eq!(said(body.as_bytes()).moment, moment, "{body}");
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            (0_u64..100_000_000).prop_map(Value::from),
            "[ -~ü\"\\\\{}\\[\\]]{0,12}".prop_map(Value::from),
            prop::sample::select(vec![
                json!("urn:tidegate:refused:draining"),
                json!("urn:tidegate:refused:x")
            ]),
        ];
        leaf.prop_recursive(3, 24, 5, |inner| {
            let name = prop_oneof![
                Just("type".to_owned()),
                Just("retry_after_ms".to_owned()),
                Just("worth_retrying".to_owned()),
                "[ -~\"\\\\]{0,6}",
            ];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(name, inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn bodies_are_the_models(value in any_json(), pretty in any::<bool>()) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            let text = text.unwrap();
            let millis = value["retry_after_ms"].as_u64().filter(|&millis| millis > 0);
            let draining = value["type"] == "urn:tidegate:refused:draining";
            let expected = Said {
                reason: draining.then_some(Reason::Draining),
                moment: millis.map(|millis| Duration::from_millis(millis).min(LONGEST)),
                worth_retrying: value["worth_retrying"].as_bool(),
            };
            prop_assert_eq!(said(text.as_bytes()), expected, "{}", text);
            // Cut off anywhere, an object says nothing.
            if value.is_object() {
                for end in 0..text.trim_end().len() {
                    prop_assert_eq!(said(&text.as_bytes()[..end]), Said::default(), "{} of {}", end, text);
                }
            }
        }

        #[test]
        fn whatever_it_says_nothing_breaks(body in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = said(&body);
        }
    }
}
