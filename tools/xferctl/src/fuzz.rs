//! What the fuzz targets ask of this crate: configuration files, and words of a command line that have a grammar of their own.

use crate::{settings, units};

/// Takes `input` as a configuration file.
///
/// # Panics
/// A file of the working directory may set what protects content.
pub fn settings(input: &[u8]) {
    if let Ok(text) = std::str::from_utf8(input) {
        settings::fuzz::layer(text);
    }
}

/// Takes `input` as sizes, rates, times and lists of cores.
///
/// # Panics
/// What is shown of a size does not read as one.
pub fn quantities(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(bytes) = units::size(text) {
        assert!(!units::show_size(bytes).is_empty());
    }
    if let Ok(bits_a_second) = units::rate(text) {
        assert!(!units::show_rate(bits_a_second as f64).is_empty());
    }
    for time in [units::duration(text), units::seconds(text)].into_iter().flatten() {
        assert!(
            !units::show_duration(time).is_empty() && !units::show_seconds(time.as_secs_f64()).is_empty()
        );
    }
    if let Ok(log2) = units::chunk_log2(text) {
        assert!((16..=26).contains(&log2));
    }
    // A list of cores names each, so it must not be able to name too many.
    if let Ok(cores) = units::cores(text) {
        assert!(cores.len() <= 4_096 * text.len().max(1));
    }
}
