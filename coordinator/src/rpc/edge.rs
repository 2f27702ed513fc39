//! Texts and numbers of the wire, checked where they come in, so that what the engine tells apart the stores do, too. No
//! store is asked for what it cannot hold: PostgreSQL's texts have no NUL, and columns of numbers have a sign.
//!
//! | column | comes from | guarded by |
//! |---|---|---|
//! | `sweeps.name` | the sweep file | its reader: no control characters |
//! | `sweeps.request_id` | `SubmitRequest.request_id` | [`plain`] |
//! | `sweeps.specification` | the sweep file, written anew | the YAML writer, which escapes them; [`source`] |
//! | `sweeps.dataset` | `AttemptStarted.dataset` | JSON, which escapes them |
//! | `sweeps.metric` | the sweep file | its reader: the name of a metric |
//! | `metrics.name` | `EpochRecord.metrics` | `MetricSchema::add`: no control characters |
//! | `sweeps.goal`, `.state`, `jobs.state`, `attempts.state` | names of our own | |
//! | `jobs.worker`, `jobs.lost_with`, `attempts.worker` | `Hello.name` | `WorkerName`: letters, digits, `.`, `_`, `-` |
//! | `attempts.device` | `Slot.device` | [`plain`] |
//! | `jobs.reason`, `attempts.reason` | `AttemptEnded.reason`, texts of our own | [`for_people`] |
//! | `attempts.log_tail` | `AttemptEnded.log_tail` | JSON, which escapes them |
//! | `leader.address` | `--advertise` | the command line, which cannot hold NUL |

use proto::v1;
use tonic::Status;

/// Largest number that a column holds.
const NUMBER_MAX: u64 = i64::MAX as u64;

/// A text that tells things apart: no control characters.
pub(super) fn plain(field: &str, text: &str) -> Result<(), Status> {
    without(field, text, char::is_control)
}

/// Text of several lines: of control characters, only those that break and indent lines.
pub(super) fn lines(field: &str, text: &str) -> Result<(), Status> {
    without(field, text, |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}'))
}

fn without(field: &str, text: &str, refused: impl Fn(char) -> bool) -> Result<(), Status> {
    match text.char_indices().find(|(_, character)| refused(*character)) {
        None => Ok(()),
        Some((at, character)) => Err(Status::invalid_argument(format!(
            "`{field}` has the control character U+{:04X} at byte {at}; send it without",
            u32::from(character)
        ))),
    }
}

/// A sweep file and its changes.
pub(super) fn source(source: &v1::SweepSource) -> Result<(), Status> {
    lines("source.text", &source.text)?;
    plain("source.file_name", &source.file_name)?;
    plain("source.dataset_path", &source.dataset_path)?;
    plain("source.snapshot", &source.snapshot)?;
    source.manifests.iter().try_for_each(|manifest| lines("source.manifests", manifest))?;
    source.overrides.iter().try_for_each(|change| lines("source.overrides", change))
}

/// Text that only people read, cut to so many characters. It may be anything, and must not cost a job its end; of what it
/// may hold, the stores keep all but NUL.
pub(super) fn for_people(text: String, characters_max: usize) -> String {
    let text = terms::cut(text, characters_max);
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}

/// A page token is the number at which the next page begins.
pub(super) fn page_start(token: &str) -> Result<Option<u64>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    let number = token.parse().ok().filter(|number| *number <= NUMBER_MAX);
    number.map(Some).ok_or_else(foreign_token)
}

/// A page token that no page came with.
pub(super) fn foreign_token() -> Status {
    Status::invalid_argument("the page token is not one of this service; ask for the first page without one")
}
