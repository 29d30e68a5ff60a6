//! The documents and the program agree.

use std::path::Path;
use std::process::Command;

use crate::program::Folder;
use crate::{text, tidegate};

fn document(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    std::fs::read_to_string(root.join(name)).unwrap()
}

/// The keys of a complete configuration, as `tidegate check` prints it.
fn words() -> Vec<(String, String)> {
    let folder = Folder::new();
    let file = folder.path("least.toml");
    std::fs::write(&file, "origin = 'http://127.0.0.1:1'\n").unwrap();
    let output = tidegate(&["check", file.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    let text = text(&output.stdout);
    assert!(text.contains("MiB at worst"), "{text}");
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(" = "))
        .map(|(key, value)| (key.to_owned(), default(value).to_owned()))
        .collect()
}

/// What would be, where fewer files may be open than the defaults need (`3969 # of 20000 open files; 10000 would be`).
fn default(value: &str) -> &str {
    let noted = value.split_once(" # ").and_then(|(_, why)| why.split_once("; "));
    noted.map_or(value, |(_, wanted)| wanted.trim_end_matches(" would be"))
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
}

#[test]
fn every_linked_file_of_every_document_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let listed = Command::new("git").args(["ls-files", "*.md"]).current_dir(&root).output().unwrap();
    assert!(listed.status.success(), "{listed:?}");
    let (mut links, mut broken) = (0, Vec::new());
    for name in text(&listed.stdout).lines() {
        let text = document(name);
        // Every second part is between fences, where a bracket is no link.
        let prose = text.split("```").step_by(2);
        for linked in
            prose.flat_map(|prose| prose.split("](").skip(1)).filter_map(|rest| rest.split(')').next())
        {
            let path = linked.split('#').next().unwrap_or(linked);
            if path.is_empty() || path.contains("://") || path.starts_with("mailto:") {
                continue;
            }
            links += 1;
            if !root.join(name).parent().is_some_and(|folder| folder.join(path).exists()) {
                broken.push(format!("{name}: {linked}"));
            }
        }
    }
    assert!(broken.is_empty() && links > 30, "{links} links, not there: {broken:#?}");
}
