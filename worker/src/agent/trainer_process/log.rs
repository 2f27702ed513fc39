//! A trainer's log, of which the last lines are kept.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use terms::{LOG_LINES_MAX, TEXT_CHARACTERS_MAX};

/// Log lines kept for an attempt that ended well: most do, and a million of them must fit into a store.
pub(super) const LOG_LINES_OF_GOOD_MAX: usize = 20;

/// The last lines of a trainer's log that belong to its current jobs.
#[derive(Debug)]
pub(super) struct Log {
    lines: VecDeque<String>,
    is_old: Arc<AtomicBool>,
}

impl Log {
    /// An empty log, whose lines are dropped at the next access once it `is_old`.
    pub(super) fn new(is_old: Arc<AtomicBool>) -> Self {
        Self { lines: VecDeque::new(), is_old }
    }

    pub(super) fn push(&mut self, line: &[u8]) {
        let text: String = String::from_utf8_lossy(line).chars().take(TEXT_CHARACTERS_MAX).collect();
        self.forget_old();
        if self.lines.len() == LOG_LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(text);
    }

    pub(super) fn lines(&mut self) -> Vec<String> {
        self.last_lines(LOG_LINES_MAX)
    }

    pub(super) fn last_lines(&mut self, lines_max: usize) -> Vec<String> {
        self.forget_old();
        self.lines.iter().skip(self.lines.len().saturating_sub(lines_max)).cloned().collect()
    }

    fn forget_old(&mut self) {
        if self.is_old.swap(false, Ordering::Relaxed) {
            self.lines.clear();
        }
    }
}
