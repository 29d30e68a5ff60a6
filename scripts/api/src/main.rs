//! Holds the public API of the libraries against `docs/public-api/`, and their documentation against what docs.rs
//! makes of it.
//!
//! `cargo run -p api` fails if they differ; `cargo run -p api -- renew` writes the API anew: a change of it is then a
//! change of a file, to be read with the rest.
//!
//! rustdoc describes a crate as JSON only for those who ask for what is not stable yet, and the form of that differs
//! from version to version. So one stable version is named here, which may do it (`RUSTC_BOOTSTRAP`) for these
//! documents alone, in a target directory of their own. Whatever other toolchain builds the rest, this says the same.

mod badges;
mod surface;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// What [`surface`] reads is what this version writes. Both change together: see `public-api` in Cargo.toml.
const TOOLCHAIN: &str = "1.95.0";
/// The libraries that others build on.
const CRATES: [&str; 2] = ["tidegate-control", "tidegate"];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let renew = match (arguments.next().as_deref(), arguments.next()) {
        (None, None) => false,
        (Some("renew"), None) => true,
        _ => {
            eprintln!("usage: cargo run -p api [-- renew]");
            return ExitCode::from(2);
        }
    };
    match run(renew) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn run(renew: bool) -> Result<(), String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from).join("api");
    for name in CRATES {
        let mut json = cargo(&root, &target)?;
        json.args(["rustdoc", "--quiet", "--lib", "--all-features", "-p", name]);
        json.args(["--", "-Zunstable-options", "--output-format=json", "--cap-lints=allow"]);
        done(json)?;
        let found = surface::of(&target.join("doc").join(format!("{}.json", name.replace('-', "_"))))?;
        let kept = root.join("docs/public-api").join(format!("{name}.txt"));
        if renew {
            std::fs::write(&kept, found).map_err(|error| format!("{}: {error}", kept.display()))?;
        } else {
            surface::compare(name, &std::fs::read_to_string(&kept).unwrap_or_default(), &found)?;
        }
    }
    let mut html = cargo(&root, &target)?;
    html.args(["doc", "--quiet", "--no-deps", "--all-features", "-p", "tidegate"]);
    html.env("RUSTDOCFLAGS", "--cfg docsrs -D warnings");
    done(html)?;
    badges::check(&root.join("crates/tidegate/Cargo.toml"), &target.join("doc/tidegate"))
}

/// Cargo of [`TOOLCHAIN`], also where another one is in use.
fn cargo(root: &Path, target: &Path) -> Result<Command, String> {
    let named = format!("+{TOOLCHAIN}");
    let is_it = |arguments: &[&str]| {
        let output = Command::new("cargo").args(arguments).arg("--version").current_dir(root).output();
        output.is_ok_and(|output| output.stdout.starts_with(format!("cargo {TOOLCHAIN} ").as_bytes()))
    };
    let mut cargo = Command::new("cargo");
    if !is_it(&[]) {
        if !is_it(&[&named]) {
            return Err(format!(
                "Rust {TOOLCHAIN} is needed to read the public API: \
                 rustup toolchain install {TOOLCHAIN} --profile minimal --no-self-update"
            ));
        }
        cargo.arg(named);
    }
    cargo.current_dir(root).env("CARGO_TARGET_DIR", target).env("RUSTC_BOOTSTRAP", "1");
    cargo.env_remove("RUSTFLAGS").env_remove("RUSTDOCFLAGS");
    Ok(cargo)
}

fn done(mut command: Command) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?}: {status}")),
        Err(error) => Err(format!("{command:?}: {error}")),
    }
}
