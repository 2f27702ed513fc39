//! Numbers of bytes as people write them.

/// The units and how many bytes each has; those of Kubernetes, too.
const UNITS: [(&str, u64); 9] = [
    ("", 1),
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("MI", 1 << 20),
    ("GI", 1 << 30),
    ("TI", 1 << 40),
];

/// Reads `16GiB`, `500 MB`, `16Gi` or `1000000`.
///
/// # Errors
/// It is none of these; what would be right.
pub fn read_bytes(text: &str) -> Result<u64, String> {
    let refused = || format!("{text:?} is no number of bytes; write one such as 16GiB or 500MB");
    let text = text.trim();
    let end = text.find(|sign: char| !sign.is_ascii_digit() && sign != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim().to_ascii_uppercase();
    let unit = unit.strip_suffix("IB").map(|unit| format!("{unit}I")).unwrap_or(unit);
    let (_, bytes) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(refused)?;
    let number: f64 = number.parse().map_err(|_| refused())?;
    let bytes = number * *bytes as f64;
    if (1.0..9e18).contains(&bytes) { Ok(bytes as u64) } else { Err(refused()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_write_bytes_in_many_ways() {
        for (text, bytes) in [
            ("1000", 1_000),
            ("16GiB", 16 << 30),
            ("16Gi", 16 << 30),
            ("1.5 GiB", 3 << 29),
            ("500MB", 500_000_000),
            ("2 tb", 2_000_000_000_000),
        ] {
            assert_eq!(read_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["", "GiB", "-1", "16 apples", "0", "1e400", "99999999TiB", "1.2.3GB"] {
            assert!(read_bytes(text).unwrap_err().contains("such as 16GiB"), "{text}");
        }
    }
}
