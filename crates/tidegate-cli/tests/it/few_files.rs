//! The gateway where few files may be open: clients never take those with which the origin is spoken to.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::program::{Folder, Program, curl, eventually};
use crate::text;

/// What the operating system allows.
const FEW: usize = 200;

/// `tidegate`, to be started where so many files may be open.
fn with_files(most: usize) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -n {most} && exec \"$0\" \"$@\"")]);
    command.arg(env!("CARGO_BIN_EXE_tidegate"));
    command
}

fn status(admin: &str) -> Value {
    serde_json::from_str(&curl(&[admin])).unwrap()
}

fn number(status: &Value, word: &str) -> usize {
    usize::try_from(status[word].as_u64().unwrap()).unwrap()
}

/// Files that it has open.
fn open_files(program: &Program) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", program.id())).unwrap().count()
}

/// Every sample of a metric, as it is written.
fn metric(admin: &str, name: &str) -> f64 {
    let page = curl(&[&admin.replace("/status", "/metrics")]);
    page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok()).unwrap_or(0.0)
}

/// A client that stays.
struct Client(TcpStream);

impl Client {
    fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address.trim_start_matches("http://")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        Self(stream)
    }

    fn send(&mut self, head: &str) {
        self.0.write_all(format!("{head} HTTP/1.1\r\nHost: a.example\r\n\r\n").as_bytes()).unwrap();
    }

    /// An upload that the origin reads when it is released.
    fn upload(&mut self) {
        let head = "POST /.lab/unread HTTP/1.1\r\nHost: a.example\r\nContent-Length: 4\r\n\r\nfour";
        self.0.write_all(head.as_bytes()).unwrap();
    }

    /// The answer, up to what the origin says in it.
    fn hears(&mut self, said: &str) {
        let mut answer = String::new();
        let mut bytes = [0; 1024];
        while !(answer.contains("\r\n\r\n") && answer.ends_with(said)) {
            let read = self.0.read(&mut bytes).unwrap();
            assert!(read > 0, "closed after {answer:?}");
            answer.push_str(&text(&bytes[..read]));
        }
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}

/// Everybody asks at once, and everybody is answered by the origin.
fn all_are_served(clients: &mut [Client]) {
    for client in &mut *clients {
        client.send("GET /work");
    }
    for client in &mut *clients {
        client.hears("done\n");
    }
}

#[test]
fn clients_without_end_leave_the_origin_its_connections_and_the_rest_come_in_when_they_leave() {
    let (_origin, origin) = Program::origin(&["--mean", "1ms"]);
    let patient = ["--max-wait", "1h", "--client-timeout", "10h", "--stall-timeout", "1h"];
    let unlimited = ["--limit", "10000", "--connect-timeout", "60s", "--head-timeout", "1h"];
    let arguments = [&[&*origin], &patient[..], &unlimited[..]].concat();
    let mut gate = Program::gate_by(with_files(FEW), &arguments);
    let (address, admin) = (gate.address("http://"), gate.address("http://"));
    let warning = gate.line();
    for words in ["of 200 open files max-connections is ", ", limit is ", ", not 10000: raise ulimit -n"] {
        assert!(warning.contains(words), "no {words:?} in {warning:?}");
    }
    let first = status(&admin);
    let (most, limit) = (number(&first, "connections_limit"), number(&first, "limit"));
    assert!(limit >= 20 && most >= 3 * limit && most < FEW - 3 * limit / 2, "{first}");
    assert_eq!(first["why"]["bound_by"], "open files");

    // More than there are files, of which each takes one at the gateway if it is let in.
    let mut clients: Vec<_> = (0..FEW + most).map(|_| Client::connect(&address)).collect();
    eventually("as many as may are let in", || number(&status(&admin), "connections") == most);
    let (inside, outside) = clients.split_at_mut(most);
    all_are_served(inside);

    // Some take an answer without end and do not read it; those leave the limit, and their connections to the origin stay.
    let (unread, rest) = inside.split_at_mut(limit);
    for client in unread.iter_mut() {
        client.send("GET /.lab/endless");
    }
    eventually("they are streams", || number(&status(&admin), "streams") == limit);
    // All others have a request that takes its time: as many as the limit says are at the origin, beside those.
    rest.iter_mut().for_each(Client::upload);
    eventually("the limit is used up", || {
        let now = status(&admin);
        number(&now, "in_flight") == limit && number(&now, "waiting") == rest.len() - limit
    });
    assert!(open_files(&gate) <= FEW);
    assert_eq!(curl(&["--data", "", &format!("{origin}/.lab/release")]), "released\n");
    for client in rest.iter_mut() {
        client.hears("4\n");
    }
    all_are_served(rest);
    assert_eq!(metric(&admin, "tidegate_origin_dials_failed_total"), 0.0);
    assert_eq!(number(&status(&admin), "connections"), most);

    // Nobody of the others was let in meanwhile; each is as soon as somebody leaves.
    let rounds = outside.len().div_ceil(most);
    for _ in 0..rounds {
        clients.drain(..most);
        let inside = most.min(clients.len());
        all_are_served(&mut clients[..inside]);
    }
    gate.signal("TERM");
    drop(clients);
    assert!(gate.wait().success());
    let rest: Vec<_> = std::iter::from_fn(|| Some(gate.line()).filter(|line| !line.is_empty())).collect();
    assert!(rest.len() == 1 && rest[0].contains("finishing"), "{rest:?}");
}

#[test]
fn an_adaptive_limit_says_when_it_rests_at_the_open_files() {
    let (_origin, origin) = Program::origin(&["--workers", "300", "--mean", "50ms", "--dist", "fixed"]);
    let patient = ["--max-wait", "1h", "--client-timeout", "10h", "--connect-timeout", "60s"];
    for shared in [&[][..], &["--shared"]] {
        let arguments = [&[&*origin], &patient[..], shared].concat();
        let mut gate = Program::gate_by(with_files(FEW), &arguments);
        let (address, admin) = (gate.address("http://"), gate.address("http://"));
        let first = status(&admin);
        assert!(number(&first, "limit") < 20 && first["why"]["bound_by"].is_null(), "{first}");
        let load = ["lab", "load", &address, "--closed", "90", "--duration", "60m", "--timeout", "60m"];
        let mut load =
            Command::new(env!("CARGO_BIN_EXE_tidegate")).args(load).stdout(Stdio::null()).spawn().unwrap();
        let mut highest = 0;
        eventually("it rests there", || {
            let now = status(&admin);
            highest = highest.max(number(&now, "limit"));
            now["why"]["bound_by"] == "open files"
        });
        load.kill().unwrap();
        load.wait().unwrap();
        assert!((20..50).contains(&highest), "{highest}");
        assert!(open_files(&gate) <= FEW);
        assert_eq!(metric(&admin, "tidegate_origin_dials_failed_total"), 0.0);
    }
}

#[test]
fn check_says_what_holds_and_why() {
    let folder = Folder::new();
    let file = folder.path("valid.toml");
    std::fs::write(&file, "origin = 'http://127.0.0.1:1'\nlimit = 100\n").unwrap();
    let check = |most| with_files(most).arg("check").arg(&file).output().unwrap();
    let output = check(256);
    let said = text(&output.stdout);
    for line in [
        "max-connections = 130 # of 256 open files; 10000 would be\n",
        "limit = 43 # of 256 open files; 100 would be\n",
        "# Of 256 open files, at most:\n",
    ] {
        assert!(output.status.success() && said.contains(line), "no {line:?} in {output:?}");
    }
    let output = check(40);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("open files: 40 are too few") && said.contains("raise ulimit -n"), "{said}");
}
