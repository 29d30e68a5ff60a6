//! A file, flags over it: every word arrives.

use std::path::{Path, PathBuf};

use clap::Parser;

use crate::Arguments;

/// Every word but those of TLS: what a file says, and what flags say over it. Neither is the default.
const WORDS: [(&str, &str, &str); 23] = [
    ("origin", "\"http://127.0.0.1:1\"", "\"unix:/run/flag\""),
    ("listen", "\"127.0.0.1:18080\"", "\"127.0.0.1:28080\""),
    ("admin", "\"127.0.0.1:19900\"", "\"127.0.0.1:29900\""),
    ("probe", "\"127.0.0.1:19901\"", "\"127.0.0.1:29901\""),
    ("limit", "7", "8"),
    ("bypass", "[\"/file\"]", "[\"/flag\", \"/flags\"]"),
    ("max-wait", "\"1s\"", "\"0.25ms\""),
    ("max-queue", "11", "12"),
    ("max-queue-bytes", "\"1MiB\"", "\"2MiB\""),
    ("client-timeout", "\"3s\"", "\"4s\""),
    ("max-connections", "13", "14"),
    ("max-streams", "15", "16"),
    ("memory", "\"48MiB\"", "\"56MiB\""),
    ("drain", "\"0s\"", "\"6s\""),
    ("origin-http2", "true", "true"),
    ("connect-timeout", "\"7s\"", "\"8s\""),
    ("origin-timeout", "\"9s\"", "\"11s\""),
    ("head-timeout", "\"12s\"", "\"13s\""),
    ("idle-timeout", "\"14s\"", "\"15s\""),
    ("stall-timeout", "\"16s\"", "\"17s\""),
    ("trusted-proxy", "[\"10.0.0.0/8\"]", "[\"10.1.0.0/16\"]"),
    ("dry-run", "true", "true"),
    ("access-log", "\"json\"", "\"logfmt\""),
];

/// What holds with these arguments, line by line, without the memory it implies.
fn holds(arguments: &[String]) -> Vec<String> {
    let arguments = std::iter::once("tidegate".to_owned()).chain(arguments.iter().cloned());
    let effective = Arguments::try_parse_from(arguments).unwrap().run.effective().unwrap();
    let text = effective.describe();
    text.lines().take_while(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("tidegate-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    /// A certificate and its key.
    fn pair(&self, name: &str) -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let of =
            |kind: &str, pem: String| self.write(&format!("{name}-{kind}.pem"), &pem).display().to_string();
        (of("certificate", made.cert.pem()), of("key", made.signing_key.serialize_pem()))
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let file = Path::new(&self.0).join(name);
        std::fs::write(&file, text).unwrap();
        file
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// As flags: lists one by one, what is true without a value, the origin without a name.
fn flags(word: &str, value: &str) -> Vec<String> {
    let values = value.trim_matches(['[', ']']).split(", ").map(|value| value.trim_matches('"').to_owned());
    values
        .flat_map(|value| match (word, &*value) {
            ("origin", _) => vec![value],
            (_, "true") => vec![format!("--{word}")],
            _ => vec![format!("--{word}"), value],
        })
        .collect()
}

#[test]
fn every_word_of_a_file_holds_and_every_flag_over_it() {
    let folder = Folder::new("words");
    let (pair, other) = (folder.pair("file"), folder.pair("flags"));
    let quoted = |text: &str| format!("{text:?}");
    let tls =
        [("tls-cert", quoted(&pair.0), quoted(&other.0)), ("tls-key", quoted(&pair.1), quoted(&other.1))];
    let words = WORDS.map(|(word, file, flag)| (word, file.to_owned(), flag.to_owned()));
    let words: Vec<_> = words.into_iter().chain(tls).collect();
    let in_file: Vec<_> = words.iter().map(|(word, value, _)| format!("{word} = {value}")).collect();
    let file = folder.write("gate.toml", &in_file.join("\n"));
    let config = ["--config".to_owned(), file.display().to_string()];

    let defaults = holds(&["http://a.example".to_owned()]);
    let with_file = holds(&config);
    for line in &in_file {
        assert!(with_file.contains(line), "no {line:?} in {with_file:#?}");
        assert!(!defaults.contains(line), "{line:?} is the default");
    }
    // Nothing holds that is not tried here, but for `shared`, which no fixed limit goes with.
    assert_eq!(with_file.len(), in_file.len() + 1, "{with_file:#?}");
    let shared = folder.write("shared.toml", "origin = 'http://127.0.0.1:1'\nshared = true");
    assert!(
        holds(&["--config".to_owned(), shared.display().to_string()]).contains(&"shared = true".to_owned())
    );
    assert!(
        holds(&["http://a.example".to_owned(), "--shared".to_owned()]).contains(&"shared = true".to_owned())
    );

    // One flag changes its word alone; a certificate goes with its key only.
    for (word, said, over) in words.iter().filter(|(word, ..)| !word.starts_with("tls-")) {
        let now = holds(&[&config[..], &flags(word, over)].concat());
        assert!(now.contains(&format!("{word} = {over}")), "--{word}: {now:#?}");
        let changed = with_file.iter().filter(|line| !now.contains(line)).count();
        assert_eq!(changed, usize::from(said != over), "--{word}: {now:#?}");
    }
    // And without the file.
    let all: Vec<_> = words.iter().flat_map(|(word, _, over)| flags(word, over)).collect();
    let now = holds(&all);
    for (word, _, over) in &words {
        assert!(now.contains(&format!("{word} = {over}")), "--{word}: {now:#?}");
    }
}
