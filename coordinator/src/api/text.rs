//! Texts from outside, checked where they come in, so that the stores tell apart what the engine does. No store is asked for what it
//! cannot hold: PostgreSQL's texts have no NUL.
//!
//! | column | comes from | guarded by |
//! |---|---|---|
//! | `sweeps.name` | the sweep file | its reader: no control characters |
//! | `sweeps.request_id` | `Submission.request_id` | [`plain`] |
//! | `sweeps.specification` | the sweep file, written again | the YAML writer, which escapes them; [`lines`] |
//! | `sweeps.dataset` | `AttemptStarted.dataset` | JSON, which escapes them |
//! | `sweeps.parameters` | `AttemptEnded.parameters` | [`plain`], and only names of the sweep's parameters |
//! | `sweeps.metric` | the sweep file | its reader: the name of a metric |
//! | `metrics.name` | `EpochRecord.metrics` | `MetricSchema::add`: no control characters |
//! | `sweeps.goal`, `.state`, `jobs.state`, `attempts.state` | names of our own | |
//! | `jobs.worker`, `jobs.lost_with`, `attempts.worker` | `Hello.name` | `WorkerName`: letters, digits, `.`, `_`, `-` |
//! | `attempts.device` | `Slot.device` | [`plain`] |
//! | `jobs.reason`, `attempts.reason` | `AttemptEnded.reason`, texts of our own | [`for_people`] |
//! | `attempts.log_tail` | `AttemptEnded.log_tail` | JSON, which escapes them |
//! | `leader.address` | `--advertise` | the command line, which cannot hold NUL |

use super::ApiError;

/// A text that tells things apart: no control characters. `field` names it in the error.
///
/// # Errors
/// It has one.
pub fn plain(field: &str, text: &str) -> Result<(), ApiError> {
    without(field, text, char::is_control)
}

/// Text of several lines: of control characters, only those that break and indent lines.
///
/// # Errors
/// It has another one.
pub fn lines(field: &str, text: &str) -> Result<(), ApiError> {
    without(field, text, |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}'))
}

fn without(field: &str, text: &str, refused: impl Fn(char) -> bool) -> Result<(), ApiError> {
    match text.char_indices().find(|(_, character)| refused(*character)) {
        None => Ok(()),
        Some((at, character)) => Err(ApiError::Invalid(format!(
            "`{field}` has the control character U+{:04X} at byte {at}; send it without",
            u32::from(character)
        ))),
    }
}

/// Text that only people read, cut to `characters_max`. It may be anything, and must not cost a job its end: the stores keep all of it
/// but NUL, which is replaced.
pub fn for_people(text: String, characters_max: usize) -> String {
    let text = terms::cut(text, characters_max);
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}
