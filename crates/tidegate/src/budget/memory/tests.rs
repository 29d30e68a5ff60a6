use super::*;

const GIB: u64 = 1 << 30;
const MEMINFO: &str = "MemTotal:       24684096 kB\nMemFree:         9168660 kB\n";
const V2: &str = "22 1 254:0 / / rw,relatime - ext4 /dev/root rw\n\
                  29 22 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
const V1: &str = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
                  32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n\
                  35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
                  41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

/// Files below a folder of their own, which goes with it.
struct Machine(PathBuf);

impl Machine {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let root = std::env::temp_dir().join(format!("tidegate-memory-{}-{name}", std::process::id()));
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self(root)
    }

    fn memory(&self) -> (u64, String) {
        let memory = Memory::below(&self.0);
        let source = match memory.source {
            MemorySource::ControlGroup(file) => file.display().to_string(),
            other => format!("{other:?}"),
        };
        (memory.bytes, source)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn version_2_the_least_of_all_groups_around_counts() {
    let machine = Machine::new(
        "v2",
        &[
            ("proc/meminfo", MEMINFO),
            ("proc/self/cgroup", "0::/system.slice/web.service\n"),
            ("proc/self/mountinfo", V2),
            ("sys/fs/cgroup/system.slice/memory.max", "1073741824\n"),
            ("sys/fs/cgroup/system.slice/web.service/memory.max", "max\n"),
        ],
    );
    assert_eq!(machine.memory(), (GIB, "/sys/fs/cgroup/system.slice/memory.max".to_owned()));
}

#[test]
fn version_2_in_a_namespace_the_mount_is_the_group() {
    for path in ["0::/\n", "0::/../../docker/abc\n", "0::/docker/abc\n"] {
        let machine = Machine::new(
            &format!("namespace{}", path.len()),
            &[
                ("proc/meminfo", MEMINFO),
                ("proc/self/cgroup", path),
                ("proc/self/mountinfo", V2),
                ("sys/fs/cgroup/memory.max", "536870912"),
            ],
        );
        assert_eq!(machine.memory(), (GIB / 2, "/sys/fs/cgroup/memory.max".to_owned()), "{path}");
    }
}

#[test]
fn version_1_beside_an_empty_version_2() {
    let machine = Machine::new(
        "v1",
        &[
            ("proc/meminfo", MEMINFO),
            ("proc/self/cgroup", "8:pids:/\n4:memory:/docker/abc\n1:cpu:/\n0::/\n"),
            ("proc/self/mountinfo", V1),
            ("sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "2147483648\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ],
    );
    let file = "/sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes";
    assert_eq!(machine.memory(), (2 * GIB, file.to_owned()));
}

#[test]
fn version_1_where_only_the_own_group_is_mounted() {
    let mounts = "35 31 0:32 /docker/abc /sys/fs/cgroup/memory\\040here ro - cgroup cgroup rw,memory\n";
    let machine = Machine::new(
        "bind",
        &[
            ("proc/meminfo", MEMINFO),
            ("proc/self/cgroup", "4:cpu,memory:/docker/abc\n"),
            ("proc/self/mountinfo", mounts),
            ("sys/fs/cgroup/memory here/memory.limit_in_bytes", "2147483648\n"),
        ],
    );
    assert_eq!(machine.memory(), (2 * GIB, "/sys/fs/cgroup/memory here/memory.limit_in_bytes".to_owned()));
}

#[test]
fn without_a_limit_it_is_what_the_machine_has() {
    let machine = Machine::new(
        "none",
        &[
            ("proc/meminfo", MEMINFO),
            ("proc/self/cgroup", "4:memory:/\n"),
            ("proc/self/mountinfo", V1),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ],
    );
    assert_eq!(machine.memory(), (24_684_096 * 1024, "Physical".to_owned()));
}

#[test]
fn nothing_to_read_and_nonsense_are_no_failure() {
    let nothing = Machine::new("nothing", &[]);
    assert_eq!(nothing.memory(), (Memory::ASSUMED, "Assumed".to_owned()));
    let nonsense = Machine::new(
        "nonsense",
        &[
            ("proc/meminfo", "MemTotal: many kB"),
            ("proc/self/cgroup", "0::\n:\n\n4:memory\n0::/..\n"),
            ("proc/self/mountinfo", "- -\n1 2 3 - cgroup2 x\n1 2 3 / \\9 - cgroup2 x rw\n\u{fffd}\n"),
            ("sys/fs/cgroup/memory.max", "-1"),
        ],
    );
    assert_eq!(nonsense.memory(), (Memory::ASSUMED, "Assumed".to_owned()));
    let shown = Memory::below(&nothing.0).to_string();
    assert_eq!(shown, "536870912 bytes (assumed: nothing could be read)");
}
