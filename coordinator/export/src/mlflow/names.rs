//! Names of parameters and metrics as MLflow takes them.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
    sync::LazyLock,
};

use regex::Regex;
use serde_json::Value;

/// What names may not have. MLflow's check is a pattern of Python, whose `\w` is letters, numbers and `_`.
static OTHERS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"[^\p{L}\p{N}_/.: -]").ok());

/// The names of one kind, each with the one that it has in MLflow where that differs.
#[derive(Debug)]
pub(super) struct Names(BTreeMap<String, String>);

impl Names {
    pub(super) fn new<'n>(names: impl Iterator<Item = &'n str> + Clone) -> Self {
        // Those that stay as they are come first, so that no other takes one of them.
        let (mut taken, mut others) = (HashSet::new(), BTreeMap::new());
        taken.extend(names.clone().filter(|name| accepted(name) == *name).map(str::to_owned));
        for name in names {
            let accepted = accepted(name);
            if accepted == name {
                continue;
            }
            let numbered = (2..).map(|number| format!("{accepted}_{number}"));
            let mut free = std::iter::once(accepted.clone().into_owned()).chain(numbered);
            if let Some(free) = free.find(|free| taken.insert(free.clone())) {
                others.insert(name.to_owned(), free);
            }
        }
        Self(others)
    }

    pub(super) fn of<'n>(&'n self, name: &'n str) -> Cow<'n, str> {
        self.0.get(name).map_or(name, String::as_str).into()
    }

    /// Those that differ: the names by the ones that they have in MLflow.
    pub(super) fn others(&self) -> Value {
        self.0.iter().map(|(name, other)| (other.clone(), Value::from(name.as_str()))).collect()
    }
}

/// The name without what MLflow refuses. It reads names as paths, which must be in their shortest form.
fn accepted(name: &str) -> Cow<'_, str> {
    let plain = OTHERS.as_ref().map_or(name.into(), |others| others.replace_all(name, "_"));
    let is_path = |part: &str| !["", ".", ".."].contains(&part);
    if plain.split('/').all(is_path) && !plain.starts_with("..") {
        return plain;
    }
    let parts = plain.split('/').map(|part| if is_path(part) { part } else { "_" });
    let path = parts.collect::<Vec<_>>().join("/");
    if path.starts_with("..") { format!("_{path}").into() } else { path.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_mlflow_refuses_have_others_and_no_two_have_one() {
        for (name, expected) in [
            ("val/loss", "val/loss"),
            ("a b.c-d_e:f", "a b.c-d_e:f"),
            ("損失", "損失"),
            ("val/損失 (%)", "val/損失 ___"),
            ("@a<b>", "_a_b_"),
            ("/a", "_/a"),
            ("a//b/", "a/_/b/_"),
            ("../a/./b", "_/a/_/b"),
            ("..a", "_..a"),
            (".", "_"),
            // A mark is no letter to Python.
            ("e\u{301}", "e_"),
        ] {
            assert_eq!(accepted(name), expected, "{name:?}");
        }
        let all = ["a%", "a&", "a_", "a__2", "b"];
        let names = Names::new(all.into_iter());
        assert_eq!(all.map(|name| names.of(name).into_owned()), ["a__3", "a__4", "a_", "a__2", "b"]);
        assert_eq!(names.others(), serde_json::json!({ "a__3": "a%", "a__4": "a&" }));
    }
}
