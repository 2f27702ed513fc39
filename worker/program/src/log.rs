//! What a program prints, for people: each line goes to standard error, which is the trainer's log, and the last ones are kept for
//! the reason of a failure. Where the agent names a folder for it, each line goes to a file as well. A program that floods its
//! outputs is cut short, and how much of it is left out is said.

mod file;

use std::{
    collections::VecDeque,
    io::Read,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

pub(crate) use self::file::LogFile;
use crate::events::Stamped;

/// Longest line, in bytes, as it is matched and shown. What is longer is cut.
pub(crate) const LINE_BYTES_MAX: usize = 16 << 10;

/// Longest line that is shown, in characters; the agent keeps as many.
const SHOWN_CHARACTERS_MAX: usize = 1_000;

/// Lines that are shown at once, and each second after that: more than anyone reads, and little for the agent.
const BURST: u32 = 1_000;
const LINES_PER_SECOND: u32 = 200;

/// Lines that are kept: what the agent keeps of a log.
const KEPT: usize = 50;

/// Lines of a reason, and characters of each: together they fit into what is kept of it.
const REASON_LINES: usize = 3;
const REASON_CHARACTERS_MAX: usize = 250;

/// Bytes that are read at a time: a pipe's worth.
const READ_BYTES: usize = 64 << 10;

/// Which output a line comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    Standard,
    Error,
}

#[derive(Debug)]
struct State {
    /// The last lines, the newest last.
    last: VecDeque<String>,
    /// The last lines of standard output and of standard error. In which order lines of both arrive is chance.
    of_each: [VecDeque<String>; 2],
    /// Of the last lines, those that were not shown.
    hidden: usize,
    /// Lines that were left out since the last one that was shown.
    left_out: u64,
    /// Lines that may be shown now.
    allowance: u32,
    filled_at: Instant,
    /// Where all of it is kept.
    file: Option<LogFile>,
}

/// The log of one job, shared by the threads that read its outputs.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    state: Arc<Mutex<State>>,
}

impl Log {
    pub(crate) fn new(file: Option<LogFile>) -> Self {
        let state = State {
            last: VecDeque::new(),
            of_each: [VecDeque::new(), VecDeque::new()],
            hidden: 0,
            left_out: 0,
            allowance: BURST,
            filled_at: Instant::now(),
            file,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, output: Output, line: &str) {
        let mut state = self.state();
        state.keep(|file| file.line(line));
        let line: String = line.chars().take(SHOWN_CHARACTERS_MAX).collect();
        state.refill(Instant::now());
        keep_last(&mut state.last, &line);
        keep_last(&mut state.of_each[output as usize], &line);
        if state.allowance == 0 {
            state.left_out += 1;
            state.hidden = (state.hidden + 1).min(KEPT);
            return;
        }
        state.allowance -= 1;
        let left_out = std::mem::take(&mut state.left_out);
        state.hidden = 0;
        if left_out > 0 {
            terminal::say!("[{} left out: the program prints too fast]", terms::count(left_out, "line"));
        }
        terminal::say!("{line}");
    }

    /// The program has ended: its last lines are shown in any case.
    pub(crate) fn finish(&self) {
        let mut state = self.state();
        if let Some(file) = state.file.take()
            && let Err(error) = file.finish()
        {
            terminal::say!("the log cannot be shortened: {error}");
        }
        let (hidden, left_out) = (std::mem::take(&mut state.hidden), std::mem::take(&mut state.left_out));
        let unseen = left_out.saturating_sub(hidden as u64);
        if unseen > 0 {
            terminal::say!("[{} left out: the program prints too fast]", terms::count(unseen, "line"));
        }
        for line in state.last.iter().skip(state.last.len() - hidden) {
            terminal::say!("{line}");
        }
    }

    /// The last lines that say anything, as part of a sentence; empty where there are none. Those of standard error come last, and
    /// before those of standard output where there is no room for all: the same outputs give the same words.
    /// Paths within the folders `own` are shown from there: they are the same for no two attempts. What a traceback says of the
    /// helper, which lies in `helper`, is left out.
    pub(crate) fn last_words(&self, own: &[String], helper: &[String]) -> String {
        let state = self.state();
        let mut words: Vec<String> = Vec::new();
        for output in [Output::Error, Output::Standard] {
            let told = telling(&state.of_each[output as usize], helper);
            let room = REASON_LINES - words.len();
            words.splice(
                0..0,
                told.into_iter().rev().take(room).rev().map(|line| {
                    let line = own.iter().fold(line.to_owned(), |line, own| line.replace(own, ""));
                    line.chars().take(REASON_CHARACTERS_MAX).collect()
                }),
            );
        }
        words.join(" | ")
    }
}

/// Keeps a line as the last one of a bounded number.
fn keep_last(lines: &mut VecDeque<String>, line: &str) {
    if lines.len() == KEPT {
        lines.pop_front();
    }
    lines.push_back(line.to_owned());
}

/// The lines that say anything. Python's marks below a line of source (`~~~^^^`) do not: without them, the file and the line of an
/// exception fit in; nor do the frames of a traceback within the folders `helper`, whose lines of source are indented further.
fn telling<'a>(lines: &'a VecDeque<String>, helper: &[String]) -> Vec<&'a str> {
    let mut within: Option<usize> = None;
    let mut told = Vec::new();
    for line in lines {
        let text = line.trim();
        let indentation = line.len() - line.trim_start().len();
        if within.is_some_and(|frame| indentation > frame) {
            continue;
        }
        let file = text.strip_prefix("File \"");
        let is_helper = file.is_some_and(|file| helper.iter().any(|folder| file.starts_with(folder)));
        within = is_helper.then_some(indentation);
        if !is_helper && text.contains(|character| !matches!(character, '^' | '~' | ' ')) {
            told.push(text);
        }
    }
    told
}

impl State {
    /// Writes to the file. One that cannot be written is given up, and costs the job nothing.
    fn keep(&mut self, write: impl FnOnce(&mut LogFile) -> std::io::Result<()>) {
        let Some(file) = &mut self.file else { return };
        if let Err(error) = write(file) {
            terminal::say!("{} is not written further: {error}", file.path().display());
            self.file = None;
        }
    }

    fn refill(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.filled_at);
        if since >= Duration::from_secs(1) {
            let seconds = u32::try_from(since.as_secs()).unwrap_or(u32::MAX);
            self.allowance =
                self.allowance.saturating_add(seconds.saturating_mul(LINES_PER_SECOND)).min(BURST);
            self.filled_at = now;
        }
    }
}

/// Reads an output to its end, line by line: to the log, and to `hear`, with the time at which it came. A carriage return ends a line,
/// too: bars of progress are drawn with it.
pub(crate) fn read_lines(which: Output, output: impl Read, log: &Log, hear: &mut dyn FnMut(&str, Instant)) {
    let mut each = |line: &[u8], at: Instant| {
        if line.iter().any(|byte| !byte.is_ascii_whitespace()) {
            let line = String::from_utf8_lossy(line);
            log.push(which, &line);
            hear(&line, at);
        }
    };
    let mut lines = Lines::default();
    let mut bytes = vec![0; READ_BYTES];
    let mut output = Stamped::new(output);
    loop {
        match output.read(&mut bytes) {
            // A pipe that cannot be read is as good as closed.
            Ok(0) => break,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => break,
            Ok(length) => {
                let at = output.at();
                lines.take(&bytes[..length], &mut |line| each(line, at));
            }
        }
    }
    each(&lines.open, output.at());
}

/// Cuts bytes into lines of a bounded length.
#[derive(Debug, Default)]
struct Lines {
    open: Vec<u8>,
}

impl Lines {
    fn take(&mut self, bytes: &[u8], each: &mut dyn FnMut(&[u8])) {
        let mut pieces = bytes.split(|byte| matches!(byte, b'\n' | b'\r'));
        self.extend(pieces.next().unwrap_or_default());
        for piece in pieces {
            each(&self.open);
            self.open.clear();
            self.extend(piece);
        }
    }

    fn extend(&mut self, bytes: &[u8]) {
        let room = LINE_BYTES_MAX.saturating_sub(self.open.len());
        self.open.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_end_with_either_end_and_are_cut_where_they_are_too_long() {
        let mut heard = Vec::new();
        let long = "x".repeat(3 * LINE_BYTES_MAX);
        let text = format!("one\r\ntwo\rthree\n\n{long}\nlast \u{1b}[31m");
        read_lines(Output::Error, text.as_bytes(), &Log::new(None), &mut |line, _| {
            heard.push(line.to_owned());
        });
        assert_eq!(heard, ["one", "two", "three", &long[..LINE_BYTES_MAX], "last \u{1b}[31m"]);
    }

    #[test]
    fn the_last_lines_are_kept_of_a_flood() {
        let log = Log::new(None);
        let text: String = (0..5_000).map(|number| format!("{number}\n")).collect();
        read_lines(Output::Error, text.as_bytes(), &log, &mut |_, _| {});
        assert_eq!(log.last_words(&[], &[]), "4997 | 4998 | 4999");
        assert!(log.state().left_out > 3_000, "the flood was not let through");
        log.finish();
    }

    #[test]
    fn the_last_words_of_a_traceback_name_file_and_line() {
        let log = Log::new(None);
        let text = "Traceback (most recent call last):\n  File \"train.py\", line 3, in <module>\n    fail(p.rate)\n    ~~~~^^^^^^^^\nValueError: too big\n";
        read_lines(Output::Error, text.as_bytes(), &log, &mut |_, _| {});
        assert_eq!(
            log.last_words(&[], &[]),
            "File \"train.py\", line 3, in <module> | fail(p.rate) | ValueError: too big"
        );
    }

    #[test]
    fn in_which_order_both_outputs_arrive_does_not_matter() {
        let words = |lines: &[(Output, &str)]| {
            let log = Log::new(None);
            lines.iter().for_each(|(output, line)| log.push(*output, line));
            log.last_words(&[], &[])
        };
        let (out, err) = (Output::Standard, Output::Error);
        let (first, second) = ((out, "epoch 1"), (out, "epoch 2"));
        let (warning, error) = ((err, "a warning"), (err, "no such layer"));
        assert_eq!(words(&[first, second, warning, error]), "epoch 2 | a warning | no such layer");
        assert_eq!(words(&[warning, error, first, second]), "epoch 2 | a warning | no such layer");
        assert_eq!(
            words(&[warning, first, error, error, second]),
            "a warning | no such layer | no such layer"
        );
        let flood: Vec<_> = std::iter::once(error).chain(std::iter::repeat_n(first, 2 * KEPT)).collect();
        assert_eq!(words(&flood), "epoch 1 | epoch 1 | no such layer");
    }

    #[test]
    fn what_a_traceback_says_of_the_helper_hides_no_line_of_the_script() {
        let log = Log::new(None);
        let text = "Traceback (most recent call last):\n  File \"/w/train.py\", line 3, in <module>\n    sweep.report(1, loss='x')\n    \
                    ~~~~~^^^\n  File \"/w/python/sweep.py\", line 160, in report\n    values = {n: _number(n, v)\n              ^^^\n  \
                    File \"/w/python/sweep.py\", line 264, in _number\n    raise SweepError(\nsweep.SweepError: no number\n";
        read_lines(Output::Error, text.as_bytes(), &log, &mut |_, _| {});
        assert_eq!(
            log.last_words(&["/w/".to_owned()], &["/w/python/".to_owned()]),
            "File \"train.py\", line 3, in <module> | sweep.report(1, loss='x') | sweep.SweepError: no number"
        );
    }

    #[test]
    fn two_attempts_that_end_alike_have_the_same_last_words() {
        let words = |attempt: u32| {
            let log = Log::new(None);
            let text =
                format!("File \"/work/1-1-{attempt}/train.py\", line 1\nSyntaxError: invalid syntax\n");
            read_lines(Output::Error, text.as_bytes(), &log, &mut |_, _| {});
            log.last_words(&[format!("/work/1-1-{attempt}/")], &[])
        };
        assert_eq!(words(1), "File \"train.py\", line 1 | SyntaxError: invalid syntax");
        assert_eq!(words(1), words(2));
    }

    proptest! {
        #[test]
        fn lines_are_the_same_whatever_pieces_they_come_in(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..200),
            piece in 1..20usize,
        ) {
            let cut = |pieces: std::slice::Chunks<'_, u8>| {
                let (mut lines, mut found) = (Lines::default(), Vec::new());
                pieces.for_each(|piece| lines.take(piece, &mut |line| found.push(line.to_vec())));
                (found, lines.open)
            };
            prop_assert_eq!(cut(bytes.chunks(piece)), cut(bytes.chunks(bytes.len().max(1))));
        }
    }
}
