//! The documents and the program agree.

use std::path::Path;

use crate::{text, tidegate};

fn document(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    std::fs::read_to_string(root.join(name)).unwrap()
}

/// The keys of a complete configuration, as `tidegate check` prints it.
fn words() -> Vec<(String, String)> {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("least.toml");
    std::fs::write(&file, "origin = 'http://127.0.0.1:1'\n").unwrap();
    let output = tidegate(&["check", file.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    let text = text(&output.stdout);
    assert!(text.contains("MiB at worst"), "{text}");
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(" = "))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn every_word_of_the_configuration_is_a_flag_and_has_its_reason() {
    let help = text(&tidegate(&["run", "--help"]).stdout);
    let reasons = document("docs/defaults.md");
    let words = words();
    assert!(words.len() > 15, "{words:?}");
    for (word, _) in &words {
        if word != "origin" {
            assert!(
                help.contains(&format!("--{word} ")) || help.contains(&format!("--{word}\n")),
                "no --{word}"
            );
        }
        let told_elsewhere = ["origin", "shared", "bypass", "origin-http2", "trusted-proxy", "dry-run"];
        if !told_elsewhere.contains(&word.as_str()) {
            assert!(reasons.contains(&format!("| `{word}` |")), "no reason for `{word}` in docs/defaults.md");
        }
    }
}

#[test]
fn defaults_in_the_help_are_those_that_hold() {
    let help = text(&tidegate(&["run", "--help"]).stdout).split_whitespace().collect::<Vec<_>>().join(" ");
    for (word, value) in words() {
        let Some(place) = help.find(&format!("--{word} ")) else { continue };
        let rest = &help[place..];
        let end = rest.find(" --").unwrap_or(rest.len());
        if let Some((_, default)) = rest[..end].split_once("[default: ") {
            let default = default.split(']').next().unwrap();
            assert_eq!(value.trim_matches('"'), default, "--{word}");
        }
    }
}

#[test]
fn the_readme_says_what_the_program_knows() {
    let readme = document("README.md");
    let help = text(&tidegate(&["--help"]).stdout) + &text(&tidegate(&["run", "--help"]).stdout);
    let load = text(&tidegate(&["lab", "load", "--help"]).stdout);
    let mut flags = 0;
    for word in readme.split(|c: char| c.is_whitespace() || c == '`' || c == ',' || c == ')') {
        let Some(flag) =
            word.strip_prefix("--").filter(|flag| flag.starts_with(|c: char| c.is_ascii_alphabetic()))
        else {
            continue;
        };
        let flag = format!("--{flag}");
        if !["--release", "--path", "--features"].contains(&flag.as_str()) {
            assert!(help.contains(&flag) || load.contains(&flag), "README.md: {flag} is not a flag");
            flags += 1;
        }
    }
    assert!(flags > 8, "{flags}");
    for linked in readme.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        if !linked.starts_with("http") {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(linked);
            assert!(file.exists(), "README.md: {linked} is not there");
        }
    }
}
