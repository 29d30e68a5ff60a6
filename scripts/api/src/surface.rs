//! The public API of a crate as text: one item a line, sorted.

use std::collections::BTreeSet;
use std::path::Path;

/// Of the traits that a type has by what it is made of, these two are promised: who loses one breaks those who spawn.
const PROMISED: [&str; 2] = ["core::marker::Send", "core::marker::Sync"];
/// And these are said, but not by us.
const UNSAID: [&str; 6] = [
    "core::marker::Freeze",
    "core::marker::StructuralPartialEq",
    "core::marker::Unpin",
    "core::marker::UnsafeUnpin",
    "core::panic::unwind_safe::RefUnwindSafe",
    "core::panic::unwind_safe::UnwindSafe",
];

/// Reads what rustdoc wrote.
pub(crate) fn of(json: &Path) -> Result<String, String> {
    let api = public_api::Builder::from_rustdoc_json(json)
        .omit_blanket_impls(true)
        .build()
        .map_err(|error| format!("{}: {error}", json.display()))?;
    Ok(lines(&api.to_string()))
}

fn lines(api: &str) -> String {
    let mut text = String::new();
    for line in api.lines().filter(|line| !is_unsaid(line)) {
        text.push_str(line);
        text.push('\n');
    }
    text
}

/// `impl<T> !core::marker::Unpin for …` and the like.
fn is_unsaid(line: &str) -> bool {
    let Some((left, _)) = line.split_once(" for ") else { return false };
    let Some(name) = left.strip_prefix("impl").and_then(|rest| rest.rsplit([' ', '!']).next()) else {
        return false;
    };
    debug_assert!(!PROMISED.iter().any(|promised| UNSAID.contains(promised)));
    UNSAID.contains(&name)
}

/// Says what was taken away and what was added, and what to do about it.
pub(crate) fn compare(name: &str, kept: &str, found: &str) -> Result<(), String> {
    if kept == found {
        return Ok(());
    }
    let (kept, found): (BTreeSet<_>, BTreeSet<_>) = (kept.lines().collect(), found.lines().collect());
    let mut said = format!("The public API of {name} is not what docs/public-api/{name}.txt says:\n");
    for gone in kept.difference(&found) {
        said += &format!("- {gone}\n");
    }
    for new in found.difference(&kept) {
        said += &format!("+ {new}\n");
    }
    said += "If that is meant: `cargo run -p api -- renew`, and commit the file. A line that goes breaks somebody's program.";
    Err(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named_with_the_way_out() {
        assert_eq!(compare("a", "x\ny\n", "x\ny\n"), Ok(()));
        let said = compare("a", "x\ny\n", "x\nz\n").unwrap_err();
        assert!(said.contains("- y\n+ z\n") && said.contains("cargo run -p api -- renew"), "{said}");
        assert!(compare("a", "", "x\n").is_err(), "a file that is not there is not a file that agrees");
    }

    #[test]
    fn what_a_type_is_by_itself_is_said_only_where_it_is_promised() {
        let api = "impl core::marker::Freeze for a::A\nimpl core::marker::Send for a::A\n\
                   impl<T> !core::marker::Unpin for a::A<T>\npub struct a::A\n";
        assert_eq!(lines(api), "impl core::marker::Send for a::A\npub struct a::A\n");
    }
}
