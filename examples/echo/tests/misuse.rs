//! The echo servers that cannot be written on `tidegate::writer`: what is wrong with each is in its name, and what the compiler
//! says of it is kept beside it. `TRYBUILD=overwrite cargo test -p example-echo --test misuse` writes that anew.

/// The one version whose words are kept; others say the same in other words.
const RUST: &str = "rustc 1.95.";

#[test]
fn misuse_does_not_compile() {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = std::process::Command::new(rustc).arg("--version").output().unwrap();
    if !version.stdout.starts_with(RUST.as_bytes()) {
        println!("not looked at: {}", String::from_utf8_lossy(&version.stdout));
        return;
    }
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/misuse/*.rs");
    cases.pass("tests/misuse/right/*.rs");
}
