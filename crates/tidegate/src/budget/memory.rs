//! How much memory there is: what the container may use, or the machine has.
//!
//! A control group has its limit in `memory.max` (version 2) or `memory.limit_in_bytes` (version 1), and so has every
//! group around it: the least counts, and never more than the machine has. Where the files are, the kernel says in
//! `/proc/self/cgroup` and `/proc/self/mountinfo` (`man 7 cgroups`, `man 5 proc`).

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// Memory that this process may use, and where that was found.
///
/// ```
/// let memory = tidegate::budget::Memory::here();
/// assert!(memory.bytes > 0);
/// println!("{memory}"); // 536870912 bytes (/sys/fs/cgroup/memory.max)
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Memory {
    /// Bytes.
    pub bytes: u64,
    /// Where the number comes from.
    pub source: MemorySource,
}

/// Where a [`Memory`] was found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemorySource {
    /// In this file of a control group.
    ControlGroup(PathBuf),
    /// It is what the machine has.
    Physical,
    /// Nothing could be read: a guess, small enough for the smallest machines in use.
    Assumed,
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes (", self.bytes)?;
        match &self.source {
            MemorySource::ControlGroup(file) => write!(f, "{}", file.display())?,
            MemorySource::Physical => f.write_str("memory of the machine")?,
            MemorySource::Assumed => f.write_str("assumed: nothing could be read")?,
        }
        f.write_str(")")
    }
}

impl Memory {
    /// What is assumed where nothing can be read: 512 MiB.
    const ASSUMED: u64 = 512 << 20;

    /// What this process may use. Reads some small files; never fails.
    #[must_use]
    pub fn here() -> Self {
        Self::below(Path::new("/"))
    }

    /// The same with `root` in place of `/`.
    fn below(root: &Path) -> Self {
        let machine = physical(root);
        let group = control_group(root).filter(|(bytes, _)| machine.is_none_or(|machine| *bytes < machine));
        match (group, machine) {
            (Some((bytes, file)), _) => Self { bytes, source: MemorySource::ControlGroup(file) },
            (None, Some(bytes)) => Self { bytes, source: MemorySource::Physical },
            (None, None) => Self { bytes: Self::ASSUMED, source: MemorySource::Assumed },
        }
    }
}

/// `MemTotal` of `/proc/meminfo`, bytes.
fn physical(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024).filter(|bytes| *bytes > 0)
}

/// The least limit of the groups that this process is in, and the file it stands in.
fn control_group(root: &Path) -> Option<(u64, PathBuf)> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let mounts = fs::read_to_string(root.join("proc/self/mountinfo")).ok()?;
    let mut least: Option<(u64, PathBuf)> = None;
    for Group { version_2, path } in groups.lines().filter_map(group) {
        let file = if version_2 { "memory.max" } else { "memory.limit_in_bytes" };
        for Mount { of, at, .. } in
            mounts.lines().filter_map(mount).filter(|mount| mount.version_2 == version_2)
        {
            // Inside a container the group's path may be that of the host, which is not to be seen: then the mount itself
            // is what there is.
            let inside = Path::new(&path).strip_prefix(&of).unwrap_or(Path::new(""));
            let folders = inside.ancestors().filter(|folder| folder.components().all(is_name));
            for folder in folders {
                let file = at.join(folder).join(file);
                let text = fs::read_to_string(root.join(file.strip_prefix("/").unwrap_or(&file)));
                let Some(bytes) = text.ok().and_then(|text| limit(&text)) else { continue };
                if least.as_ref().is_none_or(|(other, _)| bytes < *other) {
                    least = Some((bytes, file));
                }
            }
        }
    }
    least
}

fn is_name(part: std::path::Component<'_>) -> bool {
    matches!(part, std::path::Component::Normal(_))
}

/// `max`, and in version 1 a number near 2⁶³, mean that there is none; the latter is more than any machine has.
fn limit(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|bytes| *bytes > 0)
}

/// A group that this process is in.
struct Group {
    version_2: bool,
    path: String,
}

/// `0::/path` (version 2), or `4:memory:/path`.
fn group(line: &str) -> Option<Group> {
    let mut fields = line.splitn(3, ':');
    let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    let version_2 = number == "0" && controllers.is_empty();
    let counts = version_2 || controllers.split(',').any(|controller| controller == "memory");
    counts.then(|| Group { version_2, path: path.to_owned() })
}

/// A place where groups can be seen.
struct Mount {
    version_2: bool,
    /// The group that is seen there.
    of: PathBuf,
    at: PathBuf,
}

/// `31 23 0:28 /of /at options … - type source options`.
fn mount(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(3);
    let (of, at) = (unescape(left.next()?), unescape(left.next()?));
    let mut right = right.split(' ');
    let (kind, options) = (right.next()?, right.nth(1)?);
    let version_2 = kind == "cgroup2";
    let counts = version_2 || kind == "cgroup" && options.split(',').any(|option| option == "memory");
    counts.then(|| Mount { version_2, of: of.into(), at: at.into() })
}

/// Spaces and the like stand as `\040` in the file.
fn unescape(field: &str) -> String {
    let mut parts = field.split('\\');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..3).and_then(|code| u8::from_str_radix(code, 8).ok());
        match code {
            Some(code) => {
                text.push(char::from(code));
                text.push_str(part.get(3..).unwrap_or_default());
            }
            None => {
                text.push('\\');
                text.push_str(part);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests;
