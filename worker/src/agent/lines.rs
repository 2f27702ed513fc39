//! Lines from a pipe, of bounded length. Unlike tokio's readers it may be dropped between any two polls without losing
//! bytes, so that it can be one branch of a select.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// Bytes that are read from the pipe at once; a pipe holds 64 KiB.
const CHUNK_BYTES: usize = 16 << 10;

/// A line without its line feed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// A whole line; the last one may lack its line feed.
    Whole(Vec<u8>),
    /// The first `bytes_max` bytes of a longer line, whose rest is skipped.
    TooLong(Vec<u8>),
}

/// Reads lines of at most `bytes_max` bytes.
#[derive(Debug)]
pub(crate) struct LineReader<R> {
    reader: BufReader<R>,
    partial: Vec<u8>,
    /// The current line was returned as too long; its rest is dropped.
    skips: bool,
    bytes_max: usize,
}

impl<R: AsyncRead + Unpin> LineReader<R> {
    pub(crate) fn new(reader: R, bytes_max: usize) -> Self {
        let reader = BufReader::with_capacity(CHUNK_BYTES, reader);
        Self { reader, partial: Vec::new(), skips: false, bytes_max }
    }

    /// The next line; `None` at the end.
    ///
    /// # Errors
    /// The pipe cannot be read.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            let chunk = self.reader.fill_buf().await?;
            if chunk.is_empty() {
                let last = std::mem::take(&mut self.partial);
                return Ok((!last.is_empty()).then_some(Line::Whole(last)));
            }
            let feed = chunk.iter().position(|byte| *byte == b'\n');
            let part = &chunk[..feed.unwrap_or(chunk.len())];
            let consumed = feed.map_or(chunk.len(), |feed| feed + 1);
            let room = self.bytes_max - self.partial.len();
            let is_too_long = !self.skips && part.len() > room;
            if !self.skips {
                self.partial.extend(&part[..part.len().min(room)]);
            }
            self.reader.consume(consumed);
            let was_skipped = self.skips;
            self.skips = (was_skipped || is_too_long) && feed.is_none();
            if is_too_long {
                return Ok(Some(Line::TooLong(std::mem::take(&mut self.partial))));
            }
            if feed.is_some() && !was_skipped {
                return Ok(Some(Line::Whole(std::mem::take(&mut self.partial))));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(content: &[u8], bytes_max: usize) -> Vec<Line> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut reader = LineReader::new(content, bytes_max);
            let mut lines = Vec::new();
            while let Some(line) = reader.next().await.unwrap() {
                lines.push(line);
            }
            lines
        })
    }

    #[test]
    fn lines_end_with_a_line_feed_or_the_end() {
        let whole = |text: &str| Line::Whole(text.into());
        assert_eq!(lines(b"one\n\nthree", 10), [whole("one"), whole(""), whole("three")]);
        assert_eq!(lines(b"", 10), []);
    }

    #[test]
    fn a_line_beyond_the_bound_is_cut_and_the_next_one_is_whole() {
        assert_eq!(lines(b"abcdef\nxy\n", 3), [Line::TooLong("abc".into()), Line::Whole("xy".into())]);
        assert_eq!(lines(b"abc\nxy", 3), [Line::Whole("abc".into()), Line::Whole("xy".into())]);
    }

    #[test]
    fn a_line_longer_than_a_chunk_is_one_line() {
        let long = vec![b'a'; 3 * CHUNK_BYTES];
        assert_eq!(lines(&long, 4 * CHUNK_BYTES), [Line::Whole(long.clone())]);
        let cut = vec![b'a'; CHUNK_BYTES + 1];
        let content = [&long[..], b"\nnext\n"].concat();
        assert_eq!(lines(&content, CHUNK_BYTES + 1), [Line::TooLong(cut), Line::Whole("next".into())]);
    }
}
