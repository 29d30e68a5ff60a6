//! The program as a person runs it: flags, messages, exit codes, signals.
