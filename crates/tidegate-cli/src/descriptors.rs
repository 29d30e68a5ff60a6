//! Open files: every connection takes one, and the usual soft limit of 1024 is below what a lab run opens.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Asks for as many open files as the system allows this process, and says how many that are, if they are counted. If it is
/// refused, there are as many as before: the gateway divides those there are, and what the lab cannot connect counts as failed.
pub(crate) fn raise_limit() -> Option<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
    getrlimit(Resource::Nofile).current
}
