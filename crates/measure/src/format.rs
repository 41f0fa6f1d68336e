//! Numbers as people read them, the same in every table and report.

/// The character, or U+FFFD for one that would do more than show: control characters, which move a terminal's cursor and
/// which HTML forbids, and those that turn the direction of the text around them. Names come from files.
pub(crate) fn harmless(c: char) -> char {
    match c {
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}

/// A count with thousands separated: `421,642`.
#[must_use]
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A size in decimal units, with three significant digits: `433 kB`, `1.69 MB`, `812 B`.
#[must_use]
pub fn bytes(value: u64) -> String {
    if value < 1000 { format!("{value} B") } else { scaled(value as f64, &["B", "kB", "MB", "GB", "TB", "PB", "EB"]) }
}

/// How small a file packs, to follow its size: `, 2.66 kB with gzip, 2.51 kB with zstd`; nothing where that was not looked at.
#[must_use]
pub fn packed(packed: litesmith_tflite::Packed) -> String {
    let part = |size: Option<u64>, by| size.map_or_else(String::new, |size| format!(", {} with {by}", bytes(size)));
    part(packed.gzip, "gzip") + &part(packed.zstd, "zstd")
}

/// A large count with three significant digits: `5.33 M`.
#[must_use]
pub fn quantity(value: u64) -> String {
    if value < 1000 { value.to_string() } else { scaled(value as f64, &["", "k", "M", "G", "T", "P", "E"]) }
}

/// A duration given in nanoseconds, with three significant digits: `85.0 ns`, `412 µs`, `1.25 ms`, `93.0 s`, `2 min 5 s`.
#[must_use]
pub fn duration_ns(value: u64) -> String {
    let seconds = value / 1_000_000_000;
    if seconds >= 3600 {
        format!("{} h {} min", seconds / 3600, seconds % 3600 / 60)
    } else if seconds >= 120 {
        format!("{} min {} s", seconds / 60, seconds % 60)
    } else {
        scaled(value as f64, &["ns", "µs", "ms", "s"])
    }
}

/// A fraction as percent: `99.12 %`. A dash when it is not finite.
#[must_use]
pub fn percent(fraction: f64) -> String {
    if fraction.is_finite() { format!("{:.2} %", fraction * 100.0) } else { "–".into() }
}

/// A difference of two fractions in percentage points, with a sign: `+0.03`, `−0.10`, `0.00`.
#[must_use]
pub fn points(difference: f64) -> String {
    if !difference.is_finite() {
        return "–".into();
    }
    let digits = format!("{:.2}", (difference * 100.0).abs());
    match difference {
        _ if digits == "0.00" => digits,
        d if d < 0.0 => format!("−{digits}"),
        _ => format!("+{digits}"),
    }
}

/// A real number with about four significant digits: `0.03127`, `2.301`, `1.2e-5`. A dash when it is not finite.
#[must_use]
pub fn number(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if !value.is_finite() => "–".into(),
        0.0 => "0".into(),
        _ if !(1e-4..1e7).contains(&size) => format!("{value:.3e}"),
        _ => {
            let decimals = (3 - size.log10().floor() as i32).clamp(0, 7) as usize;
            format!("{value:.decimals$}")
        }
    }
}

/// A name of at most `most` characters: the middle of a longer one becomes `…`, as its end tells more than what it starts
/// with, and converters join the names of fused ops.
#[must_use]
pub fn shortened(name: &str, most: usize) -> String {
    let length = name.chars().count();
    if length <= most {
        return name.to_owned();
    }
    let (start, end) = (most.saturating_sub(1) / 3, most.saturating_sub(1) - most.saturating_sub(1) / 3);
    name.chars().take(start).chain(['…']).chain(name.chars().skip(length - end)).collect()
}

/// `1 image`, `2 images`.
#[must_use]
pub fn plural(value: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(value), if value == 1 { "" } else { "s" })
}

fn scaled(mut value: f64, units: &[&str]) -> String {
    let mut unit = 0;
    // 999.5 would round to four digits; it belongs to the next unit.
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    let decimals = match value {
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {}", units[unit]).trim_end().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!((count(0), count(999), count(421_642)), ("0".into(), "999".into(), "421,642".into()));
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(433_200), "433 kB");
        assert_eq!(bytes(999_600), "1.00 MB");
        assert_eq!(bytes(u64::MAX), "18.4 EB");
        assert_eq!(quantity(5_326_000), "5.33 M");
        assert_eq!(duration_ns(0), "0.00 ns");
        assert_eq!(duration_ns(412_345), "412 µs");
        assert_eq!(duration_ns(119_000_000_000), "119 s");
        assert_eq!(duration_ns(125_000_000_000), "2 min 5 s");
        assert_eq!(duration_ns(u64::MAX), "5124095 h 34 min");
        assert_eq!(percent(0.99123), "99.12 %");
        assert_eq!(percent(f64::NAN), "–");
        assert_eq!(
            (points(0.0003), points(-0.001), points(-0.000_01)),
            ("+0.03".into(), "−0.10".into(), "0.00".into())
        );
        assert_eq!(
            (number(0.031_271), number(2.301), number(f64::NAN)),
            ("0.03127".into(), "2.301".into(), "–".into())
        );
        assert_eq!((shortened("conv", 4), shortened("a/b/c/conv", 7)), ("conv".into(), "a/…conv".into()));
        assert_eq!((plural(1, "image"), plural(2000, "image")), ("1 image".into(), "2,000 images".into()));
    }
}
