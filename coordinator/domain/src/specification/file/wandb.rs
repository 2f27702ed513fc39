//! Keys of W&B's sweep files that have no effect here, and those whose feature is not supported, which are refused by
//! name.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

/// Keys that are ignored, with a note.
const UNUSED: [&str; 3] = ["project", "entity", "tags"];

/// A key of W&B's: one that is ignored, or why it is refused; none where it is not one of them.
pub(super) fn key(name: &str) -> Option<Result<&'static str, String>> {
    if let Some(unused) = UNUSED.iter().find(|unused| **unused == name) {
        return Some(Ok(unused));
    }
    let refusal = match name {
        "run_cap" => {
            "bounds searches that have no end of their own; a grid ends by itself, so list fewer values, or name points \
             under `exclude`"
        }
        "controller" => "chooses W&B's scheduler; here the coordinator hands out the jobs, so remove the key",
        "repeats" => "is not supported; add a parameter such as `seed` with a value for each repetition",
        "job" | "image_uri" | "launch" | "scheduler" => {
            "is for W&B Launch; name the program here: `program: train.py` or `command: [...]`"
        }
        _ => return None,
    };
    Some(Err(format!("`{name}` {refusal}")))
}

/// The same for the keys of `metric`.
pub(super) fn metric_key(name: &str) -> Option<Result<&'static str, String>> {
    (name == "target").then(|| {
        Err("`target` is not supported: jobs continue when one has reached it; remove the key, and use `sweep stop` then".to_owned())
    })
}

/// How points are chosen: only a grid is supported.
pub(super) struct Method;

impl<'de> Deserialize<'de> for Method {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Self)
    }
}

impl Visitor<'_> for Method {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("grid")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self, E> {
        match name {
            "grid" => Ok(self),
            "random" | "bayes" | "tpe" | "sobol" => Err(E::custom(format!(
                "the method `{name}` is not supported; write `method: grid`, and for each parameter `values`, or `min`, `max` and \
                 `count`"
            ))),
            _ => Err(E::custom(format!("unknown method `{name}`, expected `grid`"))),
        }
    }
}
