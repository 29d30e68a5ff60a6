//! A PostgreSQL server of our own, in a temporary directory: a Unix socket, no port, gone when dropped.

use std::error::Error;
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::{CancelToken, Client, Config, NoTls};

/// The server's superuser.
const USER: &str = "tidegate";
/// Longest time to come up: it takes less than a second, on a machine that does nothing else.
const UP_WITHIN: Duration = Duration::from_secs(60);

/// Longest time for a statement: one that cannot be stopped keeps its connection at most so long.
const STATEMENT: Duration = Duration::from_secs(5);

/// What a request asks: its client's number, when that was asked (microseconds of unix time), what it takes on average.
pub(crate) const WORK: &str = "SELECT work($1, $2, $3)";

/// It takes between half and one and a half times the mean, and leaves its mark with the time by the database's own clock,
/// also when it is stopped before its end.
const SCHEMA: &str = "
    CREATE UNLOGGED TABLE statements
        (client bigint, sent bigint, began timestamptz, ended timestamptz, stopped boolean);
    CREATE FUNCTION work(client bigint, sent bigint, mean float8) RETURNS bigint LANGUAGE plpgsql AS $$
    DECLARE began timestamptz := clock_timestamp();
    BEGIN
        PERFORM pg_sleep(mean * (0.5 + random()));
        INSERT INTO statements VALUES (client, sent, began, clock_timestamp(), false);
        RETURN client;
    EXCEPTION WHEN query_canceled THEN
        INSERT INTO statements VALUES (client, sent, began, clock_timestamp(), true);
        RETURN NULL;
    END $$;";

/// A running server.
#[derive(Debug)]
pub(crate) struct Cluster {
    directory: PathBuf,
    server: Child,
}

impl Cluster {
    /// Makes a cluster and starts its server, for so many connections.
    pub(crate) async fn start(connections: u32) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let cluster = tokio::task::spawn_blocking(move || Self::launch(connections)).await??;
        let begun = Instant::now();
        loop {
            match connect(cluster.directory()).await {
                Ok(client) => {
                    client.batch_execute(SCHEMA).await?;
                    return Ok(cluster);
                }
                Err(error) if begun.elapsed() > UP_WITHIN => return Err(error.into()),
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// Stops the server, without a checkpoint. What is done to it later fails.
    pub(crate) fn stop(&mut self) {
        // A kill would leave its shared memory behind.
        let _ = kill_process(Pid::from_child(&self.server), Signal::QUIT);
        let _ = self.server.wait();
    }

    /// Where its socket is.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    fn launch(connections: u32) -> io::Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let programs = programs()?;
        let name = format!("tidegate-pg-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let directory = std::env::temp_dir().join(name);
        fs::create_dir(&directory)?;
        fs::set_permissions(&directory, Permissions::from_mode(0o700))?;
        // PostgreSQL refuses to run as root.
        let owner = if geteuid().is_root() { Some(unprivileged()?) } else { None };
        if let Some((user, group)) = owner {
            chown(&directory, Some(user), Some(group))?;
        }
        let program = |name: &str, arguments: &[&OsStr]| -> io::Result<Command> {
            let mut command = Command::new(programs.join(name));
            let log = File::options().append(true).create(true).open(directory.join("log"))?;
            command.args(arguments).current_dir(&directory).stdin(Stdio::null());
            command.stdout(log.try_clone()?).stderr(log);
            if let Some((user, group)) = owner {
                command.uid(user).gid(group);
            }
            Ok(command)
        };
        let data = directory.join("data");
        let flags = ["--no-sync", "--auth=trust", "--locale=C", "--encoding=UTF8", "--username", USER, "-D"];
        let mut arguments: Vec<&OsStr> = flags.iter().map(OsStr::new).collect();
        arguments.push(data.as_os_str());
        if !program("initdb", &arguments)?.status()?.success() {
            let said = fs::read_to_string(directory.join("log")).unwrap_or_default();
            let _ = fs::remove_dir_all(&directory);
            return Err(io::Error::other(format!("initdb failed: {said}")));
        }
        // Two for those who look at it from outside, three that PostgreSQL keeps for superusers.
        let connections = format!("max_connections={}", connections.saturating_add(5));
        let mut arguments: Vec<&OsStr> =
            vec!["-D".as_ref(), data.as_ref(), "-k".as_ref(), directory.as_ref()];
        for setting in [connections.as_str(), "listen_addresses=", "fsync=off", "autovacuum=off", "jit=off"] {
            arguments.extend([OsStr::new("-c"), OsStr::new(setting)]);
        }
        let server = program("postgres", &arguments)?.spawn()?;
        Ok(Self { directory, server })
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if matches!(self.server.try_wait(), Ok(None)) {
            self.stop();
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// How to reach the server whose socket is in `directory`.
pub(crate) fn config(directory: &Path) -> Config {
    let mut config = Config::new();
    config.host_path(directory).user(USER).dbname("postgres");
    config.options(format!("-c statement_timeout={}", STATEMENT.as_millis()));
    config
}

/// A connection beside the pool.
pub(crate) async fn connect(directory: &Path) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = config(directory).connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Has the server stop what it does for a connection, if it still does. When this returns the server has sent the signal,
/// so that no statement after the next one can be met by it: `CancelToken::cancel_query` returns when the request has
/// been written.
pub(crate) async fn stop(
    directory: &Path,
    connection: &CancelToken,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut socket = UnixStream::connect(directory.join(".s.PGSQL.5432")).await?;
    connection.cancel_query_raw(&mut socket, NoTls).await?;
    // It answers nothing, and closes when it has done it.
    timeout(STATEMENT, socket.read(&mut [0])).await??;
    Ok(())
}

/// The newest version's programs, as Debian and its kin install them.
fn programs() -> io::Result<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    versions
        .map(|version| version.path().join("bin"))
        .filter(|programs| programs.join("initdb").exists())
        .max_by_key(|programs| {
            let version = programs.parent().and_then(Path::file_name).and_then(OsStr::to_str);
            version.and_then(|version| version.parse::<u32>().ok())
        })
        .ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, "no PostgreSQL here: apt-get install postgresql")
        })
}

/// User and group to run it under: the package's own.
fn unprivileged() -> io::Result<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd")?;
    users
        .lines()
        .find_map(|line| {
            let mut fields = line.strip_prefix("postgres:")?.split(':').skip(1);
            Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
        })
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no user `postgres` to run the server under"))
}
