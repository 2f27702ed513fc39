//! What a coordinator takes of a worker's words, known to both: a worker that said more would be cut, or never heard.

/// Longest message of a worker that a coordinator takes, in bytes: the hello of one that still has to tell the ends of 65,536
/// attempts.
pub const WORKER_MESSAGE_BYTES_MAX: usize = 2 << 20;

/// Longest reason and longest log line that a coordinator keeps, in characters.
pub const TEXT_CHARACTERS_MAX: usize = 1_000;

/// Most log lines that a coordinator keeps of an attempt.
pub const LOG_LINES_MAX: usize = 50;

/// Longest time of an epoch, in seconds: a year. Nobody waits for more, and sums of so many epochs as there are stay finite.
pub const EPOCH_SECONDS_MAX: f64 = 365.0 * 86_400.0;

/// The first characters of a text. What is cut off does not stay in memory.
pub fn cut(mut text: String, characters_max: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(characters_max) {
        text.truncate(end);
        text.shrink_to_fit();
    }
    text
}
