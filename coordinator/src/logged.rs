//! What was logged about a lasting state: it is logged once, and when it changes.

use std::collections::BTreeSet;

/// Texts of one state that are distinguished; a state with more of them has been logged often enough.
const TEXTS_MAX: usize = 16;

/// What was logged since the state began.
#[derive(Debug, Default)]
pub(crate) struct Logged(BTreeSet<String>);

impl Logged {
    /// Whether a text was not logged before. Numbers do not count: they name files and times.
    pub(crate) fn is_new(&mut self, text: &str) -> bool {
        let shape = text.split(|c: char| c.is_ascii_digit()).filter(|part| !part.is_empty());
        let shape = shape.collect::<Vec<_>>().join("#");
        self.0.len() < TEXTS_MAX && self.0.insert(shape)
    }

    /// Whether nothing was logged.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The state has ended.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_logged_once_and_when_it_changes() {
        let mut logged = Logged::default();
        assert!(logged.is_new("no room for base/1/2") && !logged.is_empty());
        assert!(!logged.is_new("no room for base/34/5"));
        assert!(logged.is_new("not reached"));
        assert!(!logged.is_new("no room for base/1/2"), "states that take turns are logged once, too");
        logged.clear();
        assert!(logged.is_empty() && logged.is_new("not reached"));
        assert_eq!((0..100).filter(|i| logged.is_new(&"x".repeat(*i))).count(), TEXTS_MAX - 1);
    }
}
