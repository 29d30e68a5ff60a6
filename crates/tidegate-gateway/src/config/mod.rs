//! One set of settings, from flags and one TOML file.
