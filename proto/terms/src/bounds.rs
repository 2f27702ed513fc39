//! What a coordinator accepts of a worker's reports. Both know the bounds, as anything longer would be cut or never
//! arrive.

/// Longest message of a worker that a coordinator accepts, in bytes: the hello of a worker that still has to report the
/// ends of 65,536 attempts.
pub const WORKER_MESSAGE_BYTES_MAX: usize = 2 << 20;

/// Longest reason and longest log line that a coordinator keeps, in characters.
pub const TEXT_CHARACTERS_MAX: usize = 1_000;

/// Most log lines that a coordinator keeps of an attempt.
pub const LOG_LINES_MAX: usize = 50;

/// Most epochs of a job whose program decides when it ends: each is a row, and a job's rows fit in memory many times over.
pub const EPOCHS_MAX: u32 = 100_000;

/// Longest time of an epoch, in seconds: a year. No one waits longer, and sums over all epochs stay finite.
pub const EPOCH_SECONDS_MAX: f64 = 365.0 * 86_400.0;

/// The first characters of a text. The rest does not stay in memory.
pub fn cut(mut text: String, characters_max: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(characters_max) {
        text.truncate(end);
        text.shrink_to_fit();
    }
    text
}
