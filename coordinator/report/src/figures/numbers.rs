//! Numbers in figures, which are short.

use terms::ParameterValue;

/// Three significant digits: `2.15e-5` for 0.0000215443469, `0.0001`, `12.3`, `1e8`.
pub(crate) fn short(value: f64) -> String {
    rounded(value, 3)
}

/// A share as people read it: `62 %`, `1.5 %`; what is nothing but rounding is less than a hundredth of that.
pub(crate) fn percent(share: f64) -> String {
    match share {
        share if share > 0.0 && share < 0.0001 => "< 0.01 %".to_owned(),
        share => format!("{} %", rounded(share * 100.0, 2)),
    }
}

/// From this size on, a number with fixed decimals is mostly digits that no one reads.
const FIXED_BELOW: f64 = 1e6;

/// A measurement for people, with fixed decimals; with four significant digits where those would show too little or too
/// much.
pub fn measured(value: f64, decimals: usize) -> String {
    let smallest = 10f64.powi(1 - i32::try_from(decimals).unwrap_or(0));
    if value == 0.0 || !value.is_finite() || (smallest..FIXED_BELOW).contains(&value.abs()) {
        format!("{value:.decimals$}")
    } else {
        rounded(value, 4)
    }
}

/// A number is shown with two significant digits at least, where those of a row have as many decimals.
const LEAST_DIGITS: i32 = 2;
/// Most decimals of the numbers of a row.
const DECIMALS_MAX: i32 = 8;
/// Numbers that are smaller by this factor than the largest of their row are nothing but rounding.
const NOTHING: f64 = 1e-6;

/// Measurements of one row for people, such as a mean and the ends of its interval: all with as many decimals, at least these. Where no
/// number of decimals suits them, each by itself.
pub fn measured_alike<const N: usize>(values: [f64; N], decimals: usize) -> [String; N] {
    let sizes = values.map(f64::abs);
    let largest = sizes.into_iter().fold(0.0, f64::max);
    let smallest = sizes.into_iter().filter(|size| *size > largest * NOTHING).fold(largest, f64::min);
    let is_suited = values.iter().all(|value| value.is_finite()) && (1e-4..FIXED_BELOW).contains(&largest);
    if !is_suited {
        return values.map(|value| measured(value, decimals));
    }
    // Decimals that a number needs for so many significant digits.
    let needed = |value: f64, digits: i32| digits - 1 - value.log10().floor() as i32;
    let least = i32::try_from(decimals).unwrap_or(DECIMALS_MAX);
    // As one that stands alone has them.
    let least = if largest < 10f64.powi(1 - least) { needed(largest, 4) } else { least };
    let shown = needed(smallest, LEAST_DIGITS).max(least).min(DECIMALS_MAX);
    values.map(|value| {
        let text = format!("{value:.*}", shown as usize);
        let is_zero = text.bytes().all(|byte| matches!(byte, b'-' | b'0' | b'.'));
        if is_zero { text.trim_start_matches('-').to_owned() } else { text }
    })
}

/// Longest small number that is written without an exponent.
const PLAIN_CHARACTERS_MAX: usize = 8;

/// This many significant digits.
pub(super) fn rounded(value: f64, digits: usize) -> String {
    if value == 0.0 || !value.is_finite() {
        return if value == 0.0 { "0".to_owned() } else { value.to_string() };
    }
    // Rounded first: 0.99996 becomes 1, which needs fewer decimals.
    let scientific = format!("{value:.*e}", digits - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let decimals = usize::try_from(digits as i32 - 1 - exponent).unwrap_or(0);
    if (-4..6).contains(&exponent) {
        return without_zeros(&format!("{value:.decimals$}"));
    }
    // 0.00005 is read more easily than 5e-5, and stands so in sweep files and in tables.
    let plain = if (-6..-4).contains(&exponent) {
        without_zeros(&format!("{value:.decimals$}"))
    } else {
        String::new()
    };
    if (1..=PLAIN_CHARACTERS_MAX).contains(&plain.trim_start_matches('-').len()) {
        return plain;
    }
    format!("{}e{exponent}", without_zeros(mantissa))
}

fn without_zeros(text: &str) -> String {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text.to_owned()
    }
}

/// Most characters of a value in a label.
const VALUE_CHARACTERS_MAX: usize = 20;

/// A value's text of bounded length: its beginning and its end, as values of one parameter often begin alike.
pub(crate) fn short_text(text: &str) -> String {
    let length = text.chars().count();
    if length <= VALUE_CHARACTERS_MAX {
        return text.to_owned();
    }
    let ending = VALUE_CHARACTERS_MAX / 2;
    let beginning: String = text.chars().take(VALUE_CHARACTERS_MAX - ending - 1).collect();
    let ending: String = text.chars().skip(length - ending).collect();
    format!("{beginning}…{ending}")
}

/// Longest number that is written in full where there is little room.
const NUMBER_CHARACTERS_MAX: usize = 10;

/// A parameter's value in little room: in full, unless it is long.
pub(crate) fn short_parameter(value: &ParameterValue) -> String {
    let text = value.to_string();
    match value {
        ParameterValue::Float(number) if text.len() > NUMBER_CHARACTERS_MAX => short(*number),
        _ => short_text(&text),
    }
}

/// A value's text for labels, number or not.
pub(super) fn short_value(text: &str) -> String {
    match text.parse::<f64>() {
        Ok(value) if text.contains('.') => short(value),
        _ => short_text(text),
    }
}

/// The first characters, with an ellipsis where that is not all.
fn cut(text: &str, characters_max: usize) -> String {
    match text.char_indices().nth(characters_max) {
        Some(_) => {
            let kept: String = text.chars().take(characters_max.saturating_sub(1)).collect();
            format!("{}…", kept.trim_end())
        }
        None => text.to_owned(),
    }
}

/// A text no wider than `room` in a font of `size`.
pub(super) fn fitted(text: &str, size: f64, room: f64) -> String {
    let mut characters = text.chars().count();
    let mut fitted = text.to_owned();
    while characters > 1 && width(&fitted, size) > room {
        characters -= 1;
        fitted = cut(text, characters);
    }
    fitted
}

/// Width of a text in the drawing's units: measured for Noto Sans, slightly generous.
pub(super) fn width(text: &str, size: f64) -> f64 {
    let share = |sign: char| match sign {
        '.' | ',' | ' ' | 'i' | 'l' | 'j' | ':' | '|' | '\'' => 0.32,
        'm' | 'w' | 'M' | 'W' | '%' | '@' => 0.95,
        sign if sign.is_ascii_uppercase() => 0.68,
        sign if sign.is_ascii() => 0.6,
        _ => 1.0,
    };
    text.chars().map(share).sum::<f64>() * size
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.000_021_544_346_9, "2.15e-5"),
            (0.0001, "0.0001"),
            (0.00005, "0.00005"),
            (0.000_005, "0.000005"),
            (0.000_000_5, "5e-7"),
            (0.01, "0.01"),
            (0.999_96, "1"),
            (12.345, "12.3"),
            (1000.0, "1000"),
            (123_456.0, "123456"),
            (3.2e14, "3.2e14"),
            (-0.5, "-0.5"),
            (0.0, "0"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(short(value), text);
        }
    }

    #[test]
    fn measurements_of_a_row_have_as_many_decimals() {
        for (values, texts) in [
            ([0.657, 0.3619, 0.952], ["0.6570", "0.3619", "0.9520"]),
            ([-0.0062, -0.0121, -0.000_445], ["-0.00620", "-0.01210", "-0.00044"]),
            ([0.000_876_5, -0.000_2, 0.000_9], ["0.0008765", "-0.0002000", "0.0009000"]),
            // Rounding alone is nothing, and has no sign.
            ([0.5, -1e-17, 1.0], ["0.5000", "0.0000", "1.0000"]),
            ([4.321e-7, 1e-7, 2e-6], ["4.321e-7", "1e-7", "0.000002"]),
            ([1.0, f64::NAN, 2.0], ["1.0000", "NaN", "2.0000"]),
        ] {
            assert_eq!(measured_alike(values, 4), texts);
        }
    }

    #[test]
    fn measurements_have_fixed_decimals_where_those_tell_them() {
        for (value, decimals, text) in [
            (0.0, 4, "0.0000"),
            (0.4914, 4, "0.4914"),
            (0.001, 4, "0.0010"),
            (1e-7, 4, "1e-7"),
            (4.321e-7, 4, "4.321e-7"),
            (-0.000_2, 4, "-0.0002"),
            (999_999.0, 4, "999999.0000"),
            (458_443_847_102_365_696.0, 4, "4.584e17"),
            (1e300, 4, "1e300"),
            (296.99, 2, "296.99"),
            (0.012_345, 2, "0.01235"),
            (f64::NAN, 4, "NaN"),
        ] {
            assert_eq!(measured(value, decimals), text);
        }
    }

    #[test]
    fn texts_fit_their_room() {
        assert_eq!(fitted("relu", 13.0, 100.0), "relu");
        let long = fitted(&"語".repeat(100), 10.0, 55.0);
        assert_eq!(long, "語語語語…");
        assert!(width(&fitted(&"m ".repeat(1_000), 13.0, 120.0), 13.0) <= 120.0);
        assert_eq!(short_text("a_quite_long_name_of_an_activation"), "a_quite_l…activation");
    }
}
