//! The echo servers that cannot be written on `tidegate::writer`: what is wrong with each is in its name, and what the compiler
//! says of it is kept beside it. `TRYBUILD=overwrite cargo test -p example-echo --test misuse` writes that anew.

use std::process::Command;

/// The one version whose words are kept; others say the same in other words.
const RUST: &str = "1.95.0";
/// Set for the run under that version.
const AGAIN: &str = "TIDEGATE_MISUSE_AGAIN";

/// Under another version it runs itself again under that one, and fails where that is not installed: what was not looked
/// at has not passed.
#[test]
fn misuse_does_not_compile() {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output().unwrap();
    if version.stdout.starts_with(format!("rustc {RUST} ").as_bytes()) {
        let cases = trybuild::TestCases::new();
        cases.compile_fail("tests/misuse/*.rs");
        cases.pass("tests/misuse/right/*.rs");
        return;
    }
    let version = String::from_utf8_lossy(&version.stdout);
    assert!(std::env::var_os(AGAIN).is_none(), "still {version}");
    let again = Command::new("rustup")
        .args(["run", RUST, "cargo", "test", "--package", "example-echo", "--test", "misuse"])
        .args(["--target-dir", concat!(env!("CARGO_TARGET_TMPDIR"), "/misuse")])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env(AGAIN, "yes")
        .env_remove("CARGO")
        .env_remove("RUSTC")
        .env_remove("RUSTUP_TOOLCHAIN")
        .status();
    assert!(
        again.as_ref().is_ok_and(std::process::ExitStatus::success),
        "{again:?}: this is {version}, and the words are those of {RUST}: rustup toolchain install {RUST} --profile minimal"
    );
}
