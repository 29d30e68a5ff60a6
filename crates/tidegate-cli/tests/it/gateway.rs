//! The gateway as a person runs it, with curl as its client.

use std::process::Command;

use crate::program::{Folder, Program, curl, eventually};
use crate::{text, tidegate};

#[test]
fn what_cannot_be_used_is_explained_with_exit_code_2() {
    let folder = Folder::new();
    let file = folder.path("wrong.toml");
    std::fs::write(&file, "origin = 'http://127.0.0.1:1'\nlimt = 3\n").unwrap();
    let file = file.to_str().unwrap();
    for (arguments, words) in [
        (&["run"][..], vec!["no origin", "tidegate http://"]),
        (&["localhost:9000"], vec!["origin", "http://host:port"]),
        (&["http://127.0.0.1:1", "--limit", "0"], vec!["--limit", "adaptive"]),
        (&["http://127.0.0.1:1", "--max-wait", "5"], vec!["--max-wait", "250ms"]),
        (&["http://127.0.0.1:1", "--admin", "0.0.0.0:9900"], vec!["admin", "probe"]),
        (&["http://127.0.0.1:1", "--config", "/none.toml"], vec!["/none.toml", "cannot be read"]),
        (&["--config", file], vec!["wrong.toml", "line 2", "unknown field `limt`"]),
        (&["check", file], vec!["wrong.toml", "line 2", "unknown field `limt`"]),
        (&["http://127.0.0.1:1", "--tls-cert", "/none"], vec!["tls-key", "missing"]),
        (&["http://127.0.0.1:1", "--head-timeout", "0s"], vec!["head-timeout", "at least 1ms"]),
        (&["http://127.0.0.1:1", "--limit", "2000000000000000000"], vec!["limit", "at most"]),
        (&["http://127.0.0.1:1", "--listen", "127.0.0.1:9900"], vec!["admin", "listen"]),
        (&["http://127.0.0.1:1", "--max-streams", "0"], vec!["max-streams", "at least 1"]),
    ] {
        let output = tidegate(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        for word in words {
            assert!(said.contains(word), "{arguments:?}: no {word:?} in {said}");
        }
    }
}

#[test]
fn a_file_holds_a_variable_counts_more_and_a_flag_most() {
    let folder = Folder::new();
    let file = folder.path("valid.toml");
    std::fs::write(
        &file,
        "origin = 'http://127.0.0.1:1'\nlimit = 7\nmax-queue = 11\nmax-connections = 13\ndry-run = true\n",
    )
    .unwrap();
    let file = ["--config", file.to_str().unwrap()];
    for (flags, variables, limit) in [
        (&[][..], &[][..], 7),
        (&[], &[("TIDEGATE_LIMIT", "8")], 8),
        (&["--limit", "9"], &[("TIDEGATE_LIMIT", "8")], 9),
    ] {
        let mut gate = Program::gate_in(&[&file[..], flags].concat(), variables);
        let _address = gate.address("http://");
        let admin = gate.address("http://");
        let status: serde_json::Value = serde_json::from_str(&curl(&[&admin])).unwrap();
        let held =
            ["limit", "queue_capacity", "connections_limit"].map(|word| status[word].as_u64().unwrap());
        assert_eq!(held, [limit, 11, 13], "{status}");
        assert_eq!(status["dry_run"], true);
    }
}

#[test]
fn an_address_in_use_is_exit_code_1() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = tidegate(&["http://127.0.0.1:1", "--listen", &address, "--admin", "127.0.0.1:0"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&address) && said.contains("choose another address"), "{said}");
}

#[test]
fn curl_gets_its_answers_over_either_protocol_and_the_log_has_them() {
    let (_origin, origin) = Program::origin(&["--mean", "1ms"]);
    let mut gate = Program::gate(&[&origin, "--access-log", "json"]);
    let address = gate.address("http://");
    let admin = gate.address("http://");
    for protocol in ["--http1.0", "--http1.1", "--http2-prior-knowledge", "--http2"] {
        assert_eq!(curl(&[protocol, &format!("{address}/one?x=y")]), "done\n", "{protocol}");
        let head = curl(&[protocol, "--head", &format!("{address}/head")]);
        assert!(head.contains(" 200") && head.contains("via:"), "{protocol}: {head}");
        let long = "x".repeat(100_000);
        assert_eq!(curl(&[protocol, "--data", &long, &format!("{address}/post")]), "done\n", "{protocol}");
    }
    // The last permit comes back a moment after the answer.
    eventually("all permits are back", || curl(&[&admin]).contains("\"in_flight\": 0,"));
    let status: serde_json::Value = serde_json::from_str(&curl(&[&admin])).unwrap();
    assert_eq!((status["admitted"].as_u64(), status["in_flight"].as_u64()), (Some(12), Some(0)));
    gate.signal("TERM");
    assert!(gate.wait().success());
    let log = gate.output();
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 12, "{log}");
    assert!(lines.iter().all(|line| line["status"] == 200 && line["reason"].is_null()), "{log}");
    assert_eq!((&lines[0]["path"], &lines[0]["method"]), (&"/one".into(), &"GET".into()));
}

#[test]
fn the_log_is_written_in_pairs_if_asked_for() {
    let (_origin, origin) = Program::origin(&["--mean", "1ms"]);
    let mut gate = Program::gate(&[&origin, "--access-log", "logfmt"]);
    let address = gate.address("http://");
    assert_eq!(curl(&[&format!("{address}/a%20b?x=y")]), "done\n");
    gate.signal("TERM");
    assert!(gate.wait().success());
    let log = gate.output();
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(log.starts_with("peer=127.0.0.1:"), "{log}");
    for pair in [
        " method=GET ",
        " path=/a%20b ",
        " status=200 ",
        " class=critical ",
        " waited_ms=",
        " origin_ms=",
        " total_ms=",
    ] {
        assert!(log.contains(pair), "{pair:?}: {log}");
    }
}

#[test]
fn a_pipe_that_nobody_reads_stops_neither_the_gateway_nor_its_end() {
    let (_origin, origin) = Program::origin(&["--mean", "1ms"]);
    // Everything that can be said, to standard error and standard output, which nobody reads from here on.
    let mut gate = Program::gate_in(&[&origin, "--access-log", "json"], &[("RUST_LOG", "trace")]);
    let address = gate.address("http://127.0.0.1:");
    let admin = gate.address("http://127.0.0.1:");
    let answers = curl(&[&format!("{address}/[1-2000]")]);
    assert_eq!(answers.matches("done").count(), 2000);
    assert!(curl(&[&admin]).contains("\"admitted\""));
    gate.signal("TERM");
    assert!(gate.wait().success());
}

#[test]
fn tls_offers_both_protocols_and_refuses_what_is_not_tls() {
    let folder = Folder::new();
    let made =
        rcgen::generate_simple_self_signed(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (folder.path("certificate.pem"), folder.path("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let (_origin, origin) = Program::origin(&["--mean", "1ms"]);
    let mut gate = Program::gate(&[&origin, "--tls-cert", certificate, "--tls-key", key]);
    let address = gate.address("https://");
    for (protocol, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let shown = ["--write-out", "%{http_version}", "--cacert", certificate];
        let answer = curl(&[&[protocol, &format!("{address}/x")], &shown[..]].concat());
        assert_eq!(answer, format!("done\n{version}"));
    }
    let clear = address.replace("https://", "http://");
    let output = Command::new("curl").args(["--silent", "--max-time", "20", &clear]).output().unwrap();
    assert!(!output.status.success());
    // And it still serves.
    assert_eq!(curl(&["--cacert", certificate, &format!("{address}/x")]), "done\n");
}

#[test]
fn an_https_origin_is_spoken_to_if_its_certificate_is_trusted() {
    let folder = Folder::new();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificate, key) = (folder.path("origin.pem"), folder.path("origin-key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    // The service with TLS: another gate before it.
    let (_origin, origin) = Program::origin(&["--mean", "1ms"]);
    let mut secure = Program::gate(&[&origin, "--tls-cert", certificate, "--tls-key", key]);
    let named_by_address = secure.address("https://");
    let named = named_by_address.replace("127.0.0.1", "localhost");
    let trusting = [("SSL_CERT_FILE", certificate)];
    for more in [&[][..], &["--origin-http2"]] {
        let mut gate = Program::gate_in(&[&[&*named], more].concat(), &trusting);
        let address = gate.address("http://");
        assert_eq!(curl(&[&format!("{address}/x")]), "done\n", "{more:?}");
        assert_eq!(curl(&["--data", "body", &format!("{address}/x")]), "done\n", "{more:?}");
    }
    // A certificate for another name, or of somebody unknown, is not believed.
    let stranger = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let other = folder.path("stranger.pem");
    std::fs::write(&other, stranger.cert.pem()).unwrap();
    let suspicious = [("SSL_CERT_FILE", other.to_str().unwrap())];
    for (origin, variables) in [(&named_by_address, trusting), (&named, suspicious)] {
        let mut gate = Program::gate_in(&[origin], &variables);
        let address = gate.address("http://");
        let answer = curl(&["--write-out", " %{http_code}", &address]);
        assert!(answer.contains("origin_down") && answer.ends_with(" 502"), "{origin}: {answer}");
    }
}

#[test]
fn a_first_signal_finishes_what_was_begun_and_a_second_stops_at_once() {
    for second in [false, true] {
        // It answers what waits there when it is told to, however long all else takes.
        let (_origin, origin) = Program::origin(&[]);
        let mut gate = Program::gate(&[&origin, "--probe", "127.0.0.1:0"]);
        let address = gate.address("http://");
        let admin = gate.address("http://");
        let probe = gate.address("http://");
        assert_eq!(curl(&[&probe]), "ready\n");
        let slow = format!("{address}/.lab/unread");
        let client = std::thread::spawn(move || {
            Command::new("curl")
                .args(["--silent", "--max-time", "120", "--data", "four", &slow])
                .output()
                .unwrap()
        });
        eventually("it is there", || curl(&[&admin]).contains("\"in_flight\": 1,"));
        gate.signal("INT");
        assert!(gate.line().contains("another signal stops at once"));
        if second {
            gate.signal("TERM");
            assert_eq!(gate.wait().code(), Some(1));
            assert!(gate.line().contains("a second signal"));
        } else {
            assert_eq!(curl(&[&probe]), "draining\n");
            assert_eq!(curl(&["--data", "", &format!("{origin}/.lab/release")]), "released\n");
            assert_eq!(text(&client.join().unwrap().stdout), "4\n");
            assert_eq!(gate.wait().code(), Some(0));
        }
    }
}

#[test]
fn the_demo_runs_with_the_gate_of_this_program() {
    let folder = Folder::new();
    let page = folder.path("own-gate.html");
    let output = tidegate(&["demo", "--seconds", "3", "--out", page.to_str().unwrap()]);
    let said = text(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(said.contains("with the gate, which was told nothing about the service"), "{said}");
}
