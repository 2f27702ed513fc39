//! Texts for people: of bounded length whatever was sent, and numbers without digits that no one reads.

/// What stands where a piece was cut out.
const CUT: &str = " … ";

/// `text` with at most `bytes_max` bytes, which are at least 16. Of a longer text the beginning and the end are kept,
/// as a message about a long text ends with what would be right.
pub fn shortened(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let room = bytes_max.saturating_sub(CUT.len());
    let is_boundary = |at: &usize| text.is_char_boundary(*at);
    let start = (0..=room / 2).rev().find(is_boundary).unwrap_or(0);
    let end = (text.len() - room / 2..=text.len()).find(is_boundary).unwrap_or(text.len());
    format!("{}{CUT}{}", &text[..start], &text[end..])
}

/// A number with at most six significant digits.
pub fn significant(value: f64) -> String {
    let rounded = format!("{value:.5e}").parse().unwrap_or(value);
    // Beyond these, most digits would be zeros.
    let is_plain = value == 0.0 || !value.is_finite() || (1e-5..1e15).contains(&f64::abs(value));
    if is_plain { format!("{rounded}") } else { format!("{rounded:e}") }
}

/// Two numbers that are compared: with as few digits, unless they would look equal.
pub fn told_apart(values: [f64; 2]) -> [String; 2] {
    let short = values.map(significant);
    if short[0] == short[1] { values.map(|value| value.to_string()) } else { short }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_six_digits_and_more_only_where_they_would_look_equal() {
        for (value, text) in [
            (1.0 / 3.0, "0.333333"),
            (0.4, "0.4"),
            (0.0, "0"),
            (-1234567.0, "-1234570"),
            (1.234_567_89e-7, "1.23457e-7"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(significant(value), text);
        }
        assert_eq!(told_apart([1.0 / 3.0, 0.5]), ["0.333333", "0.5"]);
        assert_eq!(told_apart([0.123_456_781, 0.123_456_782]), ["0.123456781", "0.123456782"]);
    }

    #[test]
    fn a_long_text_keeps_its_beginning_and_its_end() {
        assert_eq!(shortened("short", 16), "short");
        let long = format!("--set {}: expected KEY=VALUE", "語".repeat(10_000));
        for bytes_max in [60, 61, 62, 63] {
            let cut = shortened(&long, bytes_max);
            assert!(cut.len() <= bytes_max && cut.len() > bytes_max - 8, "{cut}");
            assert!(cut.starts_with("--set 語") && cut.ends_with(": expected KEY=VALUE"), "{cut}");
        }
    }
}
