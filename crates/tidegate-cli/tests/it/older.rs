//! The gateway on a kernel that takes a receive size and not its lock off again (Linux before 5.14): on this one, which says
//! to the gateway alone that it does not know the option.

use std::io;
use std::mem::offset_of;
use std::os::unix::process::CommandExt;
use std::process::Command;

use libc::{
    BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, ENOPROTOOPT, PR_SET_NO_NEW_PRIVS,
    PR_SET_SECCOMP, SECCOMP_MODE_FILTER, SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, SO_BUF_LOCK, SOL_SOCKET,
    SYS_setsockopt, seccomp_data, sock_filter, sock_fprog,
};

use crate::program::{Folder, Program, curl};
use crate::text;

/// `tidegate`, to be started as if the kernel were older.
fn older() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    // SAFETY: `forget` makes two system calls and neither allocates nor takes a lock, as is asked of what runs between
    // fork and exec.
    unsafe { command.pre_exec(forget) };
    command
}

/// From now on, in this process, setting `SO_BUF_LOCK` fails as an option does that the kernel does not know (seccomp(2)).
fn forget() -> io::Result<()> {
    const ARGUMENT: usize = size_of::<u64>();
    // Of an argument only the lower half is looked at: options are `int`.
    const HALF: usize = if cfg!(target_endian = "big") { 4 } else { 0 };
    let statement = |code: u32, k: u32| sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let load = |at: usize| statement(BPF_LD | BPF_W | BPF_ABS, at as u32);
    let argument = |number: usize| load(offset_of!(seccomp_data, args) + number * ARGUMENT + HALF);
    let or_skip = |k: u32, jf: u8| sock_filter { jf, ..statement(BPF_JMP | BPF_JEQ | BPF_K, k) };
    let mut filter = [
        load(offset_of!(seccomp_data, nr)),
        or_skip(SYS_setsockopt as u32, 5),
        argument(1),
        or_skip(SOL_SOCKET as u32, 3),
        argument(2),
        or_skip(SO_BUF_LOCK as u32, 1),
        statement(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOPROTOOPT as u32),
        statement(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    ];
    let program = sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the kernel copies the program, whose `len` statements live until the call returns.
    let result = unsafe {
        match libc::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) {
            0 => libc::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &raw const program),
            failed => failed,
        }
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[test]
fn it_says_what_it_cannot_bound_there() {
    let folder = Folder::new();
    let file = folder.path("valid.toml");
    std::fs::write(&file, "origin = 'http://127.0.0.1:1'\n").unwrap();
    let output = older().arg("check").arg(&file).output().unwrap();
    let said = text(&output.stdout);
    assert!(output.status.success() && said.contains("this system bounds by itself"), "{output:?}");
}

#[test]
fn uploads_and_answers_pass_there() {
    let folder = Folder::new();
    let body = folder.path("body");
    std::fs::write(&body, vec![b'x'; 8 << 20]).unwrap();
    let body = format!("@{}", body.display());
    let (_origin, origin) = Program::origin(&["--mean", "1ms"]);
    let mut gate = Program::gate_by(older(), &[&origin]);
    let address = gate.address("http://");
    let admin = gate.address("http://");
    let sent = ["--http1.1", "--data-binary", &body, &format!("{address}/.lab/sink?[1-3]")];
    assert_eq!(curl(&sent), "8388608\n".repeat(3));
    // A small one: with large ones over HTTP/2 curl 7.88 was once seen to send more than it had said. Why is not known.
    let sent = ["--http2-prior-knowledge", "--data", "four", &format!("{address}/.lab/sink")];
    assert_eq!(curl(&sent), "4\n");
    let status: serde_json::Value = serde_json::from_str(&curl(&[&admin])).unwrap();
    assert_eq!(status["admitted"].as_u64(), Some(4), "{status}");
    gate.signal("TERM");
    assert!(gate.wait().success());
}
