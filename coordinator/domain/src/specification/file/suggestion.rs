//! Suggestions for unknown names.

/// `; did you mean …?` with the known name nearest to `name`; empty where none is near.
pub(super) fn suggestion<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    // Distances take time in proportion to both lengths.
    const NAME_BYTES_MAX: usize = 64;
    if name.len() > NAME_BYTES_MAX {
        return String::new();
    }
    let distance = |known: &&str| strsim::damerau_levenshtein(name, known);
    // Of two that are as far, the one that has more of the letters in their places: `valus` is `values` rather than `value`.
    let alike = |known: &str| strsim::jaro_winkler(name, known);
    let nearer = |one: &&str, other: &&str| {
        distance(one).cmp(&distance(other)).then_with(|| alike(other).total_cmp(&alike(one)))
    };
    // A third of the letters may be wrong.
    let nearest = known.into_iter().min_by(nearer).filter(|known| distance(known) * 3 <= known.len());
    nearest.map_or_else(String::new, |known| format!("; did you mean `{known}`?"))
}

/// The same for a message of the parser that lists what it knows: "unknown field `a`, expected one of `b`, `c`".
pub(super) fn suggestion_for(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    match (message.contains("unknown field `") || message.contains("unknown variant `"), quoted.next()) {
        (true, Some(unknown)) => suggestion(unknown, quoted),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_suggested_unless_all_are_far() {
        let known = ["epochs", "batch_size", "learning_rate"];
        assert_eq!(suggestion("epoch", known), "; did you mean `epochs`?");
        assert_eq!(suggestion("leanring_rate", known), "; did you mean `learning_rate`?");
        assert_eq!(suggestion("dropout", known), "");
        assert_eq!(suggestion("valus", ["value", "values", "min"]), "; did you mean `values`?");
        assert_eq!(suggestion(&"e".repeat(10_000), known), "");
        let message = "dataset: unknown field `pth`, expected one of `path`, `image_size`";
        assert_eq!(suggestion_for(message), "; did you mean `path`?");
        assert_eq!(suggestion_for("expected `a`, but found `b`"), "");
    }
}
