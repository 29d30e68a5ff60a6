//! A writer that cannot skip back pressure, bounded lines, and broadcast.
