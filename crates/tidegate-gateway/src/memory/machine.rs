//! How much memory there is: the container's limit, or the machine's.

use std::fs;
use std::path::Path;

/// What is assumed where nothing says how much there is.
const UNKNOWN: u64 = 1024 * 1024 * 1024;

/// Bytes that the container or the machine has: the least of what the machine has and what any control group that this
/// process is in allows (cgroups 2: `memory.max`; 1: `memory.limit_in_bytes`).
pub(crate) fn bytes() -> u64 {
    let read = |path: &Path| fs::read_to_string(path).ok();
    found(read).unwrap_or(UNKNOWN)
}

fn found(read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let machine = read(Path::new("/proc/meminfo")).and_then(|text| total(&text));
    let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    let limits = groups.lines().filter_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => return None,
        };
        // What allows less may stand at any level above.
        let own = Path::new(path.trim_start_matches('/'));
        own.ancestors()
            .filter_map(|level| read(&Path::new(root).join(level).join(file))?.trim().parse().ok())
            .min()
    });
    limits.chain(machine).min()
}

/// `MemTotal:       24683044 kB`
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(files: &[(&str, &str)]) -> Option<u64> {
        found(|path| {
            files.iter().find(|(name, _)| Path::new(name) == path).map(|(_, text)| (*text).to_owned())
        })
    }

    const MACHINE: (&str, &str) = ("/proc/meminfo", "MemTotal:        1000 kB\nMemFree: 1 kB\n");

    #[test]
    fn the_least_that_anybody_allows_counts() {
        assert_eq!(with(&[MACHINE]), Some(1_024_000));
        let two = ("/proc/self/cgroup", "0::/a/b\n");
        assert_eq!(with(&[MACHINE, two, ("/sys/fs/cgroup/a/b/memory.max", "max\n")]), Some(1_024_000));
        let above = ("/sys/fs/cgroup/a/memory.max", "5000\n");
        assert_eq!(with(&[MACHINE, two, above, ("/sys/fs/cgroup/a/b/memory.max", "6000\n")]), Some(5000));
        assert_eq!(with(&[MACHINE, two, ("/sys/fs/cgroup/memory.max", "70\n")]), Some(70));
        let one = ("/proc/self/cgroup", "3:cpu:/x\n2:hugetlb,memory:/docker/1\n");
        assert_eq!(
            with(&[MACHINE, one, ("/sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes", "9\n")]),
            Some(9)
        );
        assert_eq!(with(&[]), None);
    }

    #[test]
    fn this_machine_has_some() {
        assert!(bytes() > 0);
    }
}
