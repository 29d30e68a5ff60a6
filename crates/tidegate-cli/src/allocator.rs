//! The program's allocator, and how it is told to give back what is free.

/// It keeps its pages from one moment of overload to the next smaller than the system's allocator does.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What jemalloc reads when it starts. `--memory` bounds what is charged; what is free and not given back to the system comes on
/// top of it. By default pages that became free are kept for ten seconds, in four arenas for each processor: when a crowd goes
/// and another comes in their place, what was the one's lies in other arenas than where the other allocates, and both
/// are resident (93 and 101 MiB of 64 in ten minutes of `scripts/bench-memory random`).
///
/// - `dirty_decay_ms:100`: a tenth of a second is long beside a request, so pages that are used again and again stay. With a
///   second it was 84 MiB on a machine that built other things meanwhile.
/// - `narenas:2`: threads allocate from caches of their own, and seldom meet at an arena.
///
/// What `_RJEM_MALLOC_CONF` says in the environment comes after it.
// SAFETY: the symbol is jemalloc's own, of this type (`const char *`), declared weak there for a program to define. It points to
// bytes that end with a zero, and live as long as the program; nobody writes to them.
#[unsafe(export_name = "_rjem_malloc_conf")]
static MALLOC_CONF: &[u8; 29] = b"dirty_decay_ms:100,narenas:2\0";
