//! How a number is written in full, and how many there are of something.

/// From this size on, down to that, a number is written with all its digits, as in JavaScript: `0.00005`, not `5e-5`.
const PLAIN_FROM: f64 = 1e-6;
const PLAIN_BELOW: f64 = 1e21;

/// The shortest text that gives the same number again, with an exponent where it is very small or large: `3.2e-32`. Python,
/// pandas and spreadsheets read both forms.
pub fn shortest(value: f64) -> String {
    let size = value.abs();
    let is_plain = size == 0.0 || !value.is_finite() || (PLAIN_FROM..PLAIN_BELOW).contains(&size);
    if is_plain { value.to_string() } else { format!("{value:e}") }
}

/// A number of things: `1 job`, `2 jobs`.
pub fn count(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_lead_back_to_the_same_value() {
        for (value, text) in [
            (3.2e-32, "3.2e-32"),
            (-5e-324, "-5e-324"),
            (0.00005, "0.00005"),
            (1e-6, "0.000001"),
            (9.9e-7, "9.9e-7"),
            (0.1 + 0.2, "0.30000000000000004"),
            (32.0, "32"),
            (1e20, "100000000000000000000"),
            (1.5e21, "1.5e21"),
            (f64::MAX, "1.7976931348623157e308"),
            (0.0, "0"),
            (f64::INFINITY, "inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(shortest(value), text);
            assert!(
                text == "NaN" || shortest(value).parse::<f64>().unwrap().to_bits() == value.to_bits(),
                "{text}"
            );
        }
    }
}
