//! [`Sight`]: what the kernel says of a TCP connection when it is looked at.

use std::os::fd::AsFd;

/// What the kernel says of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sight {
    /// Bytes that it has not sent.
    pub(crate) unsent: usize,
    /// These, and those that were sent and are not acknowledged.
    pub(crate) unacknowledged: u64,
    /// The end of the peer's window, in bytes since the connection began.
    pub(crate) reach: u64,
    /// The quickest round trip of the last minutes, in microseconds.
    pub(crate) round_trip: u32,
    /// Bytes more that it may send now: the peer's window and the congestion window have room for them.
    pub(crate) room: usize,
    /// The largest segment that it sends.
    pub(crate) segment_sent: usize,
    /// The largest segment that its peer was told it may send.
    pub(crate) segment: usize,
    /// The most bytes of it that were read in one round trip.
    pub(crate) round: usize,
}

/// Looks at a TCP connection; `None` if the kernel does not tell (Linux does since 5.4).
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn look(socket: impl AsFd) -> Option<Sight> {
    use std::os::fd::AsRawFd;

    let mut info = TcpInfo::default();
    let mut length = size_of::<TcpInfo>() as libc::socklen_t;
    // SAFETY: the descriptor is borrowed, so it is open. The kernel writes at most `length` bytes, which is the size of
    // `info`, whose fields are integers in the kernel's layout: any bytes are valid, also if it writes fewer.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        )
    };
    if result != 0 || usize::try_from(length).is_ok_and(|length| length < size_of::<TcpInfo>()) {
        return None;
    }
    let on_the_way =
        info.bytes_sent.saturating_sub(info.bytes_retransmitted).saturating_sub(info.bytes_acked);
    let peer = u64::from(info.send_window).saturating_sub(on_the_way);
    let path = u64::from(info.congestion_window.saturating_sub(info.unacked)) * u64::from(info.send_mss);
    let room = usize::try_from(peer.min(path)).unwrap_or(usize::MAX);
    let bytes = |field: u32| usize::try_from(field).unwrap_or(usize::MAX);
    Some(Sight {
        unsent: bytes(info.unsent),
        unacknowledged: on_the_way.saturating_add(u64::from(info.unsent)),
        reach: info.bytes_acked.saturating_add(u64::from(info.send_window)),
        round_trip: info.least_round_trip,
        room,
        segment_sent: bytes(info.send_mss),
        segment: bytes(info.largest_segment),
        round: bytes(info.round),
    })
}

/// Elsewhere the kernel does not tell.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn look(_: impl AsFd) -> Option<Sight> {
    None
}

/// `struct tcp_info` up to the last word that matters (linux/tcp.h); the others between are not looked at.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[repr(C)]
#[derive(Default)]
struct TcpInfo {
    /// `tcpi_state` and seven other bytes, `tcpi_rto`, `tcpi_ato`.
    state: [u32; 4],
    send_mss: u32,
    receive_mss: u32,
    /// In segments.
    unacked: u32,
    /// `tcpi_sacked` to `tcpi_snd_ssthresh`.
    metrics: [u32; 13],
    /// In segments.
    congestion_window: u32,
    largest_segment: u32,
    /// `tcpi_reordering` and `tcpi_rcv_rtt`.
    more_metrics: [u32; 2],
    /// `tcpi_rcv_space`.
    round: u32,
    total_retransmitted: u32,
    pacing: [u64; 2],
    bytes_acked: u64,
    bytes_received: u64,
    segments: [u32; 2],
    unsent: u32,
    /// In microseconds.
    least_round_trip: u32,
    /// `tcpi_data_segs_in`, `tcpi_data_segs_out`.
    data: [u32; 2],
    /// `tcpi_delivery_rate` to `tcpi_sndbuf_limited`.
    rates: [u64; 4],
    delivered: [u32; 2],
    bytes_sent: u64,
    bytes_retransmitted: u64,
    /// `tcpi_dsack_dups`, `tcpi_reord_seen`, `tcpi_rcv_ooopack`.
    disorder: [u32; 3],
    send_window: u32,
}
