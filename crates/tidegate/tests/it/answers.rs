//! The documents: whatever waits says what happens when it is full and when it is cancelled, where it is declared, at its
//! type, or in what its module says of all it holds; and the guide's pages are run.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A public item that waits: an `async fn`, a future, or what makes one.
struct Waits {
    name: String,
    /// The type it belongs to.
    of: String,
    doc: String,
    /// What its module says, and those around it.
    module: String,
}

#[derive(Default)]
struct Sources {
    waits: Vec<Waits>,
    /// What is said of each public type.
    types: BTreeMap<String, String>,
}

impl Sources {
    fn read(&mut self, folder: &Path, above: &str, futures: &[String]) {
        let module = fs::read_to_string(folder.join("mod.rs")).unwrap_or_default();
        let said = module.lines().filter(|line| line.starts_with("//!"));
        let module = said.fold(above.to_owned(), |all, line| all + line);
        let mut paths: Vec<PathBuf> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        for path in paths {
            if path.is_dir() {
                self.read(&path, &module, futures);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                self.scan(&fs::read_to_string(&path).unwrap(), &module, futures);
            }
        }
    }

    fn scan(&mut self, text: &str, module: &str, futures: &[String]) {
        let (mut doc, mut of) = (String::new(), String::new());
        for line in text.lines().take_while(|line| !line.starts_with("mod tests")) {
            let code = line.trim_start();
            if let Some(said) = code.strip_prefix("///") {
                doc += said;
                continue;
            }
            if code.starts_with("#[") {
                continue;
            }
            if line.starts_with("impl") {
                of = type_of_impl(line);
            }
            if let Some(kind) = ["pub struct ", "pub enum "].iter().find(|kind| code.starts_with(**kind)) {
                self.types.insert(word(&code[kind.len()..]), doc.clone());
            }
            let makes_one = |code: &str| {
                let returned = code.rsplit_once("-> ").map(|(_, returned)| word(returned));
                returned.is_some_and(|returned| futures.contains(&returned))
            };
            let name = match code.strip_prefix("pub async fn ").or_else(|| code.strip_prefix("pub fn ")) {
                Some(rest) if code.starts_with("pub async") || makes_one(rest) => Some(word(rest)),
                _ if line.starts_with("impl") && is_a_future(line) => Some("Future".to_owned()),
                _ => None,
            };
            if let Some(name) = name {
                let (doc, module) = (doc.clone(), module.to_owned());
                self.waits.push(Waits { name, of: of.clone(), doc, module });
            }
            doc.clear();
        }
    }
}

fn word(text: &str) -> String {
    text.chars().take_while(|char| char.is_alphanumeric() || *char == '_').collect()
}

fn is_a_future(line: &str) -> bool {
    line.split_once(" for ").is_some_and(|(left, _)| left.ends_with(" Future"))
}

/// `impl<S: Service<R>> Future for Call<S, R>` is about `Call`.
fn type_of_impl(line: &str) -> String {
    let mut rest = line.strip_prefix("impl").unwrap_or_default();
    if rest.starts_with('<') {
        let mut depth = 0;
        let end = rest.char_indices().zip(rest.chars().skip(1)).find_map(|((at, char), next)| {
            depth += i32::from(char == '<') - i32::from(char == '>');
            (depth == 0 && next != '>').then_some(at + 1)
        });
        rest = &rest[end.unwrap_or_default()..];
    }
    let rest = rest.split_once(" for ").map_or(rest, |(_, of)| of);
    word(rest.trim_start())
}

#[test]
fn whatever_waits_says_what_happens_when_full_and_when_cancelled() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut first = Sources::default();
    first.read(&folder, "", &[]);
    let futures: Vec<_> =
        first.waits.iter().filter(|waits| waits.name == "Future").map(|waits| waits.of.clone()).collect();
    let mut sources = Sources::default();
    sources.read(&folder, "", &futures);

    let mut silent = Vec::new();
    for Waits { name, of, doc, module } in &sources.waits {
        let of_type = sources.types.get(of);
        if of_type.is_none() && name == "Future" {
            continue; // It is not public.
        }
        let said = format!("{doc} {} {module}", of_type.map_or("", String::as_str)).to_lowercase();
        if !said.contains("when full") || !said.contains("cancel") {
            silent.push(format!("{of}::{name}"));
        }
    }
    assert!(sources.waits.len() >= 10, "what waits was not found");
    assert!(futures.iter().any(|name| name == "LimitFuture"), "{futures:?}");
    assert!(silent.is_empty(), "these do not say what happens when full and when cancelled: {silent:?}");
}

#[test]
fn every_page_of_the_guide_is_run_and_listed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let run = fs::read_to_string(root.join("src/guide.rs")).unwrap();
    let guide = root.join("../../docs/guide");
    let list = fs::read_to_string(guide.join("README.md")).unwrap();
    let pages = fs::read_dir(&guide).unwrap().map(|page| page.unwrap().file_name().into_string().unwrap());
    for page in pages.filter(|page| page != "README.md") {
        assert!(run.contains(&format!("\"docs/guide/{page}\"")), "{page} is not run");
        assert!(list.contains(&format!("({page})")), "{page} is not in the list");
    }
}
