//! Numbers of bytes as people write them, and as Kubernetes does.

/// What is understood, for whoever wrote something else.
const UNDERSTOOD: &str = "write a number, alone or with k, M, G, T or P (thousands: 500M, 16GB) or Ki, Mi, Gi, Ti or Pi (1024s: \
                          16Gi, 16GiB), from one byte to 8 EiB";

/// The letters of the units, each a thousand or 1024 times the one before it.
const LETTERS: [&str; 6] = ["", "K", "M", "G", "T", "P"];

/// Above this, it is no number of bytes that a file system has.
const BYTES_END: f64 = 9e18;

/// Reads `16GiB`, `500 MB`, `1000000`, and quantities of Kubernetes: `16Gi`, `16G`, `500M`, `1e9`. There, `m` is a thousandth, which
/// no one means here.
///
/// # Errors
/// It is none of these; what would be right.
pub fn read_bytes(text: &str) -> Result<u64, String> {
    let bytes = read(text.trim()).filter(|bytes| (1.0..BYTES_END).contains(bytes));
    bytes.map(|bytes| bytes as u64).ok_or_else(|| format!("{text:?} is no number of bytes; {UNDERSTOOD}"))
}

fn read(text: &str) -> Option<f64> {
    if !text.starts_with(|sign: char| sign.is_ascii_digit() || sign == '.') {
        return None;
    }
    if let Ok(bytes) = text.parse() {
        return Some(bytes);
    }
    let end = text.find(|sign: char| !sign.is_ascii_digit() && sign != '.')?;
    let (number, unit) = text.split_at(end);
    Some(number.parse::<f64>().ok()? * factor(unit.trim_start())?)
}

/// How many bytes a unit has.
fn factor(unit: &str) -> Option<f64> {
    if unit == "m" {
        return None;
    }
    let unit = unit.to_ascii_uppercase();
    let unit = unit.strip_suffix('B').unwrap_or(&unit);
    let (letter, base) = match unit.strip_suffix('I') {
        // An `i` needs its letter.
        Some("") => return None,
        Some(letter) => (letter, 1024_f64),
        None => (unit, 1000_f64),
    };
    let power = LETTERS.iter().position(|known| *known == letter)?;
    Some(base.powi(power as i32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_write_bytes_in_many_ways() {
        for (text, bytes) in [
            ("1000", 1_000),
            ("7B", 7),
            ("16GiB", 16 << 30),
            ("1.5 GiB", 3 << 29),
            ("500MB", 500_000_000),
            ("64 kb", 64_000),
            ("64KiB", 64 << 10),
            ("2 tb", 2_000_000_000_000),
        ] {
            assert_eq!(read_bytes(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn quantities_of_kubernetes_are_what_they_are_there() {
        for (text, bytes) in [
            ("16Gi", 16 << 30),
            ("16G", 16_000_000_000),
            ("500M", 500_000_000),
            ("500Mi", 500 << 20),
            ("64k", 64_000),
            ("64Ki", 64 << 10),
            ("1.5T", 1_500_000_000_000),
            ("2Pi", 2 << 50),
            ("12e6", 12_000_000),
        ] {
            assert_eq!(read_bytes(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn whatever_else_is_refused_with_what_is_understood() {
        let wrong =
            ["", "GiB", "-1", "+1", "16 apples", "0", "1e400", "99999999TiB", "1.2.3GB", "nan", "inf"];
        for text in wrong.into_iter().chain(["500m", "16i", "16iB", "16Gii", "16BB", "é"]) {
            let told = read_bytes(text).unwrap_err();
            assert!(told.contains("500M") && told.contains("16Gi"), "{text}: {told}");
        }
    }
}
