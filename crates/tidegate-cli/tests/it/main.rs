//! The program as a person runs it: arguments, messages, exit codes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod attacked;
mod documents;
mod few_files;
mod gateway;
#[cfg(target_os = "linux")]
mod older;
mod program;

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use program::Folder;

fn tidegate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidegate")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn load_meets_origin() {
    let mut origin = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["lab", "origin", "--listen", "127.0.0.1:0", "--mean", "1ms"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(origin.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let target = line.split_whitespace().find(|word| word.starts_with("http://")).unwrap();
    let load = [
        "lab",
        "load",
        target,
        "--rate",
        "100",
        "--arrivals",
        "constant",
        "--duration",
        "1s",
        "--timeout",
        "20s",
    ];
    let plain = tidegate(&load);
    let json = tidegate(&[&load[..], &["--json"]].concat());
    origin.kill().unwrap();
    origin.wait().unwrap();
    assert!(
        plain.status.success() && text(&plain.stdout).contains("ok                99   100.0 %"),
        "{plain:?}"
    );
    let report: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((report["offered"].as_u64(), report["ok"].as_u64()), (Some(99), Some(99)));
}

#[test]
fn mistakes_are_explained_with_their_exit_code() {
    for (arguments, code, word) in [
        (&["lab", "load", "http://127.0.0.1:1/", "--rate", "x"][..], 2, "arrivals per second"),
        (&["lab", "load", "http://127.0.0.1:1/", "--timeout", "5"], 2, "unit"),
        (&["lab", "origin", "--dist", "pareto"], 2, "lognormal:CV"),
        (&["lab", "origin", "--workers", "0"], 2, "1..=1000000"),
        (&["lab", "load", "https://127.0.0.1:1/"], 1, "http://HOST:PORT/PATH"),
        (&["lab", "origin", "--listen", "192.0.2.1:80"], 1, "--listen"),
    ] {
        let output = tidegate(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
        assert!(text(&output.stderr).contains(word), "{arguments:?}: {}", text(&output.stderr));
    }
}

/// With a gate that is none: it says that it listens where the origin does. It is not written here: a program that is just
/// being started elsewhere may have the file open for writing, and then it cannot be run.
#[cfg(unix)]
#[test]
fn the_demo_tells_both_halves_and_writes_its_page() {
    let (gate, folder) = (concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/no-gate"), Folder::new());
    let page = folder.path("demo.html");
    let out = page.to_str().unwrap();
    let output = tidegate(&["demo", "--seconds", "3", "--gate", gate, "--out", out]);
    let said = text(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(said.matches("   3 s  5x  ").count(), 2, "{said}");
    assert!(said.contains("work done for nobody") && said.contains("the curves are in"), "{said}");
    assert!(std::fs::read_to_string(&page).unwrap().ends_with("</html>\n"));

    let output = tidegate(&["demo", "--seconds", "3", "--gate", "/bin/false", "--out", out]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("the gate did not start"), "{output:?}");
}
