//! Texts for people whose length must not grow with what was sent.

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

#[cfg(test)]
mod tests {
    use super::*;

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
