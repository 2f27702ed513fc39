//! One entry of `execution.files`: a path, or a pattern with `*`, `**`, `?`, `[…]` and `{…}`, relative to the folder of
//! the sweep file.

use globset::{GlobBuilder, GlobMatcher};

/// Characters that make a path a pattern.
const SPECIAL: [char; 5] = ['*', '?', '[', '{', '\\'];

#[derive(Debug)]
pub(super) struct Pattern {
    /// The names before the first with a special character: only files below them are examined.
    pub(super) prefix: Vec<String>,
    /// Decides about the rest; none where the prefix is everything.
    matcher: Option<GlobMatcher>,
    /// The most names that a match can have; none for any number.
    depth_max: Option<usize>,
}

impl Pattern {
    /// A path in which no character is special.
    pub(super) fn literal(text: &str) -> Result<Self, String> {
        Ok(Self { prefix: names(text)?, matcher: None, depth_max: None })
    }

    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let names = names(text)?;
        let is_special = |name: &String| name.contains(SPECIAL);
        let Some(first) = names.iter().position(is_special) else {
            return Ok(Self { prefix: names, matcher: None, depth_max: None });
        };
        let glob = GlobBuilder::new(&names.join("/")).literal_separator(true).build();
        let glob = glob.map_err(|error| format!("it is not a valid pattern ({})", error.kind()))?;
        // A brace may hold a slash.
        let is_deep = names[first..].iter().any(|name| name.contains("**") || name.contains('{'));
        let depth_max = (!is_deep).then_some(names.len());
        Ok(Self { prefix: names[..first].to_vec(), matcher: Some(glob.compile_matcher()), depth_max })
    }

    /// Whether it is a path.
    pub(super) fn is_literal(&self) -> bool {
        self.matcher.is_none()
    }

    /// Whether it matches a file.
    pub(super) fn matches(&self, path: &str) -> bool {
        self.matcher.as_ref().is_none_or(|matcher| matcher.is_match(path))
    }

    /// Whether files in a folder at this depth may match.
    pub(super) fn reaches_below(&self, names: usize) -> bool {
        self.depth_max.is_none_or(|most| names < most)
    }
}

/// The names of a path that stays below its folder.
fn names(text: &str) -> Result<Vec<String>, String> {
    if text.starts_with('/') || text.starts_with('~') {
        return Err("it must begin at the folder of the sweep file".to_owned());
    }
    let names: Vec<String> =
        text.split('/').filter(|name| !matches!(*name, "" | ".")).map(str::to_owned).collect();
    if names.iter().any(|name| name == "..") {
        return Err(
            "it leads out of the folder of the sweep file; move the sweep file up, next to what it needs"
                .to_owned(),
        );
    }
    Ok(names)
}
