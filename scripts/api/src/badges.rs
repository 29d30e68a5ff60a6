//! Does the documentation say which feature an item needs?

use std::path::Path;

/// Every feature of the package must be named on some page, as rustdoc names it.
pub(crate) fn check(manifest: &Path, pages: &Path) -> Result<(), String> {
    let text =
        std::fs::read_to_string(manifest).map_err(|error| format!("{}: {error}", manifest.display()))?;
    let mut left = features(&text);
    if left.is_empty() {
        return Err(format!("{}: no features found", manifest.display()));
    }
    look(pages, &mut left).map_err(|error| format!("{}: {error}", pages.display()))?;
    match left.is_empty() {
        true => Ok(()),
        false => Err(format!("no page of the documentation says what needs the features {left:?}")),
    }
}

/// The names in `[features]`, without `default`.
fn features(manifest: &str) -> Vec<String> {
    let table = manifest.lines().skip_while(|line| *line != "[features]").skip(1);
    let table = table.take_while(|line| !line.starts_with('['));
    let names =
        table.filter(|line| !line.starts_with([' ', '#', ']'])).filter_map(|line| line.split_once('='));
    names.map(|(name, _)| name.trim().to_owned()).filter(|name| name != "default").collect()
}

fn look(folder: &Path, left: &mut Vec<String>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if left.is_empty() {
            break;
        }
        if path.is_dir() {
            look(&path, left)?;
        } else if path.extension().is_some_and(|extension| extension == "html") {
            let page = std::fs::read_to_string(&path)?;
            left.retain(|name| !page.contains(&format!("crate feature <code>{name}</code>")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_read_from_a_manifest() {
        let manifest = "[package]\nname = \"a\"\n\n[features]\n# One.\ntower = [\n    \"dep:x\",\n]\ndefault = []\nhttp = [\"tower\"]\n\n[dependencies]\nx = \"1\"\n";
        assert_eq!(features(manifest), ["tower", "http"]);
    }
}
