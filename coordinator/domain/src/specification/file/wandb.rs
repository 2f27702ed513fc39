//! Keys of W&B's sweep files that have no effect here, and those whose feature is not supported, which are refused by
//! name.

/// Keys that are ignored, with a note.
const UNUSED: [&str; 3] = ["project", "entity", "tags"];

/// A key of W&B's: one that is ignored, or why it is refused; none where it is not one of them.
pub(super) fn key(name: &str) -> Option<Result<&'static str, String>> {
    if let Some(unused) = UNUSED.iter().find(|unused| **unused == name) {
        return Some(Ok(unused));
    }
    let refusal = match name {
        "controller" => "chooses W&B's scheduler; here the coordinator hands out the jobs, so remove the key",
        "job" | "image_uri" | "launch" | "scheduler" => {
            "is for W&B Launch; name the program here: `program: train.py` or `command: [...]`"
        }
        _ => return None,
    };
    Some(Err(format!("`{name}` {refusal}")))
}
