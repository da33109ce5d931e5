//! The grammar of rates, sizes, durations and fractions on the command line.
//!
//! A rate needs its unit: `1Gbit` is decimal bits a second, `50MiB` binary bytes a second. Sizes are
//! binary (`10MiB`, `1G`). Durations are sums of parts (`25ms`, `1m30s`). Fractions are percent (`1%`).

/// The number that `text` starts with, as thousandths-exact decimal, and what follows it.
fn number(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    digits.parse().ok().map(|value| (value, unit))
}

fn scaled(value: f64, scale: f64, text: &str) -> Result<u64, String> {
    let result = (value * scale).round();
    if result <= u64::MAX as f64 / 2.0 { Ok(result as u64) } else { Err(format!("{text} is too large")) }
}

/// A rate, in bits per second.
///
/// # Errors
/// A sentence for the user.
pub fn rate(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a rate; write it with its unit, as 1Gbit or 50MiB");
    let (value, unit) = number(text).ok_or_else(wrong)?;
    let scale = match unit.to_ascii_lowercase().as_str() {
        "bit" => 1.0,
        "kbit" => 1e3,
        "mbit" => 1e6,
        "gbit" => 1e9,
        "tbit" => 1e12,
        "kib" => 8.0 * 1024.0,
        "mib" => 8.0 * 1024.0 * 1024.0,
        "gib" => 8.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return Err(wrong()),
    };
    match scaled(value, scale, text)? {
        0 => Err(format!("{text:?} is no rate; leave the option out, or use --blackhole")),
        bits => Ok(bits),
    }
}

/// A size, in bytes.
///
/// # Errors
/// A sentence for the user.
pub fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a size; write it as 65536, 256KiB or 4M");
    let (value, unit) = number(text).ok_or_else(wrong)?;
    let scale = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kib" => 1024.0,
        "m" | "mib" => 1024.0 * 1024.0,
        "g" | "gib" => 1024.0 * 1024.0 * 1024.0,
        _ => return Err(wrong()),
    };
    scaled(value, scale, text)
}

/// A duration, in nanoseconds.
///
/// # Errors
/// A sentence for the user.
pub fn duration(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a duration; write it with its unit, as 25ms or 1m30s");
    if text == "0" {
        return Ok(0);
    }
    let (mut rest, mut total) = (text, 0u64);
    while !rest.is_empty() {
        let (value, tail) = number(rest).ok_or_else(wrong)?;
        let end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, next) = tail.split_at(end);
        let scale = match unit {
            "ns" => 1.0,
            "us" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return Err(wrong()),
        };
        total = total.checked_add(scaled(value, scale, text)?).ok_or_else(wrong)?;
        rest = next;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(total) }
}

/// A fraction between 0 and 1, written in percent.
///
/// # Errors
/// A sentence for the user.
pub fn percent(text: &str) -> Result<f64, String> {
    let wrong = || format!("{text:?} is not a share; write it in percent from 0% to 100%, as 1%");
    let (value, unit) = number(text).ok_or_else(wrong)?;
    let fits = (unit == "%" || text == "0") && value <= 100.0;
    if fits { Ok(value / 100.0) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_need_their_unit() {
        assert_eq!(rate("1Gbit"), Ok(1_000_000_000));
        assert_eq!(rate("2.5gbit"), Ok(2_500_000_000));
        assert_eq!(rate("50MiB"), Ok(50 * 1024 * 1024 * 8));
        for bad in ["", "1", "1000", "Gbit", "1G", "1.2.3Gbit", "-1Gbit", "0bit", "1 Gbit", "99999999999Tbit"]
        {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_binary() {
        assert_eq!(size("0"), Ok(0));
        assert_eq!(size("65536"), Ok(65_536));
        assert_eq!(size("256KiB"), Ok(256 << 10));
        assert_eq!(size("1.5M"), Ok(3 << 19));
        assert!(size("1Gbit").is_err() && size("").is_err() && size("x").is_err());
    }

    #[test]
    fn durations_add_up() {
        assert_eq!(duration("25ms"), Ok(25_000_000));
        assert_eq!(duration("0.5us"), Ok(500));
        assert_eq!(duration("1m30s"), Ok(90_000_000_000));
        assert_eq!(duration("0"), Ok(0));
        for bad in ["", "25", "ms", "25ms3", "1d", "1m 30s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn shares_are_percent() {
        assert_eq!(percent("1%"), Ok(0.01));
        assert_eq!(percent("0"), Ok(0.0));
        assert_eq!(percent("100%"), Ok(1.0));
        for bad in ["", "1", "100.1%", "%", "-1%", "1%%"] {
            assert!(percent(bad).is_err(), "{bad}");
        }
    }
}
