//! Quantities as people write them: sizes, rates, durations, chunk sizes, lists of cores.
//!
//! In: words of a command line. Out: numbers in base units. Sizes are binary as in rclone (`10MiB`, `1G`), a bare number is bytes. A rate
//! needs its unit: decimal bits a second (`1Gbit`) or binary bytes a second (`50MiB`).

use crate::limits::{CHUNK_LOG2_MAX, CHUNK_LOG2_MIN, CORES_MAX};
use std::time::Duration;

const POWERS: [char; 6] = ['k', 'm', 'g', 't', 'p', 'e'];

/// Reads a size in bytes.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text)?;
    let multiplier =
        binary(unit).ok_or_else(|| format!("`{unit}` is no unit of bytes; write 10MiB or 1G"))?;
    scaled(number, multiplier)
}

/// Reads a rate in bits a second.
pub(crate) fn rate(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text)?;
    if unit.is_empty() {
        return Err("a rate needs its unit: 1Gbit (bits a second) or 50MiB (bytes a second)".to_owned());
    }
    let plain = unit.strip_suffix("/s").unwrap_or(unit);
    let lower = plain.to_ascii_lowercase();
    let bits_a_second = match lower.strip_suffix("bit") {
        Some(prefix) => scaled(number, decimal(prefix).ok_or_else(|| no_rate(unit))?)?,
        None => scaled(number, binary(plain).and_then(|m| m.checked_mul(8)).ok_or_else(|| no_rate(unit))?)?,
    };
    if bits_a_second == 0 { Err("a rate is above 0".to_owned()) } else { Ok(bits_a_second) }
}

fn no_rate(unit: &str) -> String {
    format!("`{unit}` is no unit of a rate; write 1Gbit (bits a second) or 50MiB (bytes a second)")
}

/// Reads a duration: `1h30m`, `10s`, `250ms`, `2d`. A bare number is none.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    let wrong = || format!("`{text}` is no duration; write 1h30m, 10s or 250ms");
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, next) = tail.split_at(letters);
        let unit_seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            "d" => 86_400.0,
            _ => return Err(wrong()),
        };
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let part = Duration::try_from_secs_f64(number * unit_seconds).map_err(|_| wrong())?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = next;
    }
    Ok(total)
}

/// Reads a duration whose unit may be left out: then it is seconds.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let bare = text.ends_with(|c: char| c.is_ascii_digit());
    let read = if bare { duration(&format!("{text}s")) } else { duration(text) };
    match read {
        Ok(time) if time.is_zero() => Err("a time to measure is above 0".to_owned()),
        Err(_) => Err(format!("`{text}` is no time; write 10, 0.5 or 1m30s")),
        read => read,
    }
}

/// Reads the size of a chunk as its log2.
pub(crate) fn chunk_log2(text: &str) -> Result<u8, String> {
    let bytes = size(text)?;
    let log2 = bytes.checked_ilog2().unwrap_or(0);
    if !bytes.is_power_of_two() || !(CHUNK_LOG2_MIN..=CHUNK_LOG2_MAX).contains(&log2) {
        return Err("a chunk is a power of two from 64KiB to 64MiB".to_owned());
    }
    u8::try_from(log2).map_err(|e| e.to_string())
}

/// Reads a list of cores as `taskset -c` takes it: `0,2-4`.
pub(crate) fn cores(text: &str) -> Result<Vec<usize>, String> {
    let wrong = || format!("`{text}` is no list of cores; write 0,2-4");
    let mut cores = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: usize = first.trim().parse().map_err(|_| wrong())?;
        let last: usize = last.trim().parse().map_err(|_| wrong())?;
        if last < first || last >= CORES_MAX {
            return Err(wrong());
        }
        cores.extend(first..=last);
    }
    cores.sort_unstable();
    cores.dedup();
    Ok(cores)
}

/// `1.5 GiB`.
pub(crate) fn show_size(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] {
        if value < 1_024.0 {
            break;
        }
        value /= 1_024.0;
        unit = next;
    }
    if unit == "B" || value.fract() == 0.0 {
        format!("{value:.0} {unit}")
    } else {
        format!("{value:.1} {unit}")
    }
}

/// `2.4 Gbit/s`.
pub(crate) fn show_rate(bits_a_second: f64) -> String {
    let mut value = bits_a_second;
    let mut unit = "bit/s";
    for next in ["kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"] {
        if value < 1_000.0 {
            break;
        }
        value /= 1_000.0;
        unit = next;
    }
    if value < 10.0 && unit != "bit/s" { format!("{value:.2} {unit}") } else { format!("{value:.0} {unit}") }
}

/// `1h02m`, `3m20s`, `12s`.
pub(crate) fn show_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, s) => format!("{s}s"),
        (0, 0, m, s) => format!("{m}m{s:02}s"),
        (0, h, m, _) => format!("{h}h{m:02}m"),
        (d, h, _, _) => format!("{d}d{h:02}h"),
    }
}

/// `0.04s`, `1.2s`, and as [`show_duration`] from 10 s on.
pub(crate) fn show_seconds(seconds: f64) -> String {
    match seconds.max(0.0) {
        seconds if seconds < 0.1 => format!("{seconds:.3}s"),
        seconds if seconds < 9.95 => format!("{seconds:.1}s"),
        seconds => show_duration(Duration::try_from_secs_f64(seconds.round()).unwrap_or(Duration::MAX)),
    }
}

/// Number and unit.
fn split(text: &str) -> Result<(f64, &str), String> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..end].parse().map_err(|_| format!("`{text}` does not begin with a number"))?;
    Ok((number, text[end..].trim_start()))
}

/// Bytes of a unit: `KiB`, `K`, `B` or none, whatever the case.
fn binary(unit: &str) -> Option<u64> {
    let lower = unit.to_ascii_lowercase();
    let prefix = match lower.as_str() {
        "" | "b" => return Some(1),
        other => other.strip_suffix("ib").unwrap_or(other),
    };
    power(prefix).map(|power| 1 << (10 * power))
}

/// Bits of a decimal prefix: none, `k`, `m`, `g`, ...
fn decimal(prefix: &str) -> Option<u64> {
    if prefix.is_empty() { Some(1) } else { power(prefix).map(|power| 1_000_u64.pow(power)) }
}

fn power(prefix: &str) -> Option<u32> {
    let mut letters = prefix.chars();
    let (Some(letter), None) = (letters.next(), letters.next()) else { return None };
    POWERS.iter().zip(1..).find(|(p, _)| **p == letter).map(|(_, power)| power)
}

fn scaled(number: f64, multiplier: u64) -> Result<u64, String> {
    let value = (number * multiplier as f64).round();
    // 2^64 itself is the first float beyond.
    if value < u64::MAX as f64 { Ok(value as u64) } else { Err("the number is too large".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_binary() {
        let cases = [
            ("0", 0),
            ("7", 7),
            ("1B", 1),
            ("1k", 1_024),
            ("1KiB", 1_024),
            ("1.5K", 1_536),
            ("10MiB", 10 << 20),
            ("1G", 1 << 30),
            ("2 TiB", 2 << 40),
            ("15E", 15 << 60),
        ];
        for (text, bytes) in cases {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for wrong in ["", "x", "G", "1X", "1GB5", "-1", "1Gbit", "16E", "1..2", "1KB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn rates_need_their_unit() {
        let cases = [
            ("1bit", 1),
            ("1kbit", 1_000),
            ("1Gbit", 1_000_000_000),
            ("1Gbit/s", 1_000_000_000),
            ("2.5Gbit", 2_500_000_000),
            ("50MiB", 400 << 20),
            ("50MiB/s", 400 << 20),
            ("1G", 8 << 30),
            ("1B", 8),
        ];
        for (text, bits) in cases {
            assert_eq!(rate(text), Ok(bits), "{text}");
        }
        for wrong in ["", "0", "1", "1000000", "Gbit", "1Gbps", "1Gibit", "0Gbit", "1E5", "3EiB"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_need_their_unit() {
        let cases = [
            ("10s", 10_000),
            ("1h30m", 5_400_000),
            ("250ms", 250),
            ("1m1s1ms", 61_001),
            ("2d", 172_800_000),
            ("1.5s", 1_500),
            ("0s", 0),
        ];
        for (text, ms) in cases {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for wrong in ["", "10", "s", "1h30", "1x", "-1s", "1 s", "99999999999999999999d"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn chunks_are_powers_of_two_in_bounds() {
        assert_eq!(chunk_log2("64KiB"), Ok(16));
        assert_eq!(chunk_log2("1M"), Ok(20));
        assert_eq!(chunk_log2("64MiB"), Ok(26));
        for wrong in ["0", "32KiB", "65537", "65535", "100KiB", "128MiB", "1"] {
            assert!(chunk_log2(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn lists_of_cores() {
        assert_eq!(cores("0"), Ok(vec![0]));
        assert_eq!(cores("3,0-1,1"), Ok(vec![0, 1, 3]));
        for wrong in ["", "a", "1-", "2-1", "0-9999", "-1", "1,,2"] {
            assert!(cores(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn quantities_are_shown_short() {
        let sizes = [0, 1_023, 1_024, 1_536, 4 << 20, (1 << 30) - 1].map(show_size);
        assert_eq!(sizes, ["0 B", "1023 B", "1 KiB", "1.5 KiB", "4 MiB", "1024.0 MiB"]);
        assert_eq!(
            [0.0, 999.0, 1_000.0, 2.44e9, 1e10].map(show_rate),
            ["0 bit/s", "999 bit/s", "1.00 kbit/s", "2.44 Gbit/s", "10 Gbit/s"]
        );
        let durations = [0, 59, 60, 3_599, 3_600, 90_000].map(|s| show_duration(Duration::from_secs(s)));
        assert_eq!(durations, ["0s", "59s", "1m00s", "59m59s", "1h00m", "1d01h"]);
    }
}
