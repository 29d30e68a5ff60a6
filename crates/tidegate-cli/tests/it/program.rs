//! Programs that a test starts and that end with it.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

/// A folder of its own, removed at the end: tests run beside each other, and beside other runs of themselves.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let name = format!("{}-{}", std::process::id(), NUMBER.fetch_add(1, Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A running `tidegate`.
pub(crate) struct Program {
    child: Child,
    said: BufReader<Box<dyn Read + Send>>,
}

impl Program {
    /// Starts it; what it says on standard error is read by [`line`](Self::line).
    pub(crate) fn gate(arguments: &[&str]) -> Self {
        Self::gate_in(arguments, &[])
    }

    /// The same in an environment with these variables.
    pub(crate) fn gate_in(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command.envs(variables.iter().copied());
        Self::gate_by(command, arguments)
    }

    /// The same by a command that somebody has prepared.
    pub(crate) fn gate_by(mut command: Command, arguments: &[&str]) -> Self {
        let mut child = command
            .args(arguments)
            .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(Box::new(child.stderr.take().unwrap()) as Box<dyn Read + Send>);
        Self { child, said }
    }

    /// A lab origin, and its address as `http://…`.
    pub(crate) fn origin(arguments: &[&str]) -> (Self, String) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["lab", "origin", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(Box::new(child.stdout.take().unwrap()) as Box<dyn Read + Send>);
        let mut program = Self { child, said };
        let address = program.address("http://");
        (program, address)
    }

    /// The next line it says.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line
    }

    /// The word that begins with `scheme` in the next line, without a slash at its end.
    pub(crate) fn address(&mut self, scheme: &str) -> String {
        let line = self.line();
        let word = line.split_whitespace().find(|word| word.starts_with(scheme));
        word.unwrap_or_else(|| panic!("no {scheme} in {line:?}")).trim_end_matches('/').to_owned()
    }

    /// Everything it has written to standard output until now and will until it ends.
    pub(crate) fn output(&mut self) -> String {
        let mut text = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Looks until it holds.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let late = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < late, "never: {what}");
    }
}

/// What curl prints with these arguments; it must succeed.
pub(crate) fn curl(arguments: &[&str]) -> String {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "60"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "curl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Else it would keep what is free for ten seconds, on top of what is charged.
#[test]
fn the_allocator_is_told_to_give_back_what_is_free() {
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .arg("--version")
        .env("_RJEM_MALLOC_CONF", "confirm_conf:true")
        .output()
        .unwrap();
    let said = crate::text(&output.stderr);
    assert!(said.contains("\"dirty_decay_ms:100,narenas:2\""), "{said}");
}
