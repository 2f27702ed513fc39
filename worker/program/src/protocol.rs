//! The conversation with the agent: requests are read from standard input, answers are whole lines on standard output. What they
//! say is the trainers' protocol's.

use std::{
    io::{self, BufRead, Read, Write},
    sync::{Mutex, PoisonError, mpsc::SyncSender},
};

use trainer_protocol::{
    DatasetSummary, EpochLine, FromTrainer, LINE_BYTES_MAX, TRAINER_PROTOCOL_VERSION, ToTrainer,
};

use crate::{
    events::Event,
    job::End,
    metrics::{Number, tally::EpochRecord},
};

/// Longest reason that is told, in characters; the agent keeps as many.
const REASON_CHARACTERS_MAX: usize = 1_000;

/// Reads requests until there are no more, or one that is not understood.
pub(crate) fn read_requests(mut input: impl BufRead, events: &SyncSender<Event>) {
    loop {
        let request = match read_request(&mut input) {
            Ok(None) => break,
            Ok(Some(request)) => Ok(request),
            Err(error) => Err(error),
        };
        let is_last = request.is_err();
        if events.send(Event::Request(request)).is_err() || is_last {
            return;
        }
    }
    let _ = events.send(Event::RequestsEnded);
}

fn read_request(input: &mut impl BufRead) -> Result<Option<ToTrainer>, String> {
    let mut line = Vec::new();
    let read = input.take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut line);
    read.map_err(|error| format!("the agent's requests cannot be read: {error}"))?;
    match line.len() {
        0 => Ok(None),
        length if length > LINE_BYTES_MAX => Err(format!("a request of more than {LINE_BYTES_MAX} bytes")),
        _ => serde_json::from_slice(&line)
            .map(Some)
            .map_err(|error| format!("not a request: {error}; is the other side an agent of this version?")),
    }
}

/// The output: whole lines, each flushed.
pub(crate) struct Output<W> {
    writer: Mutex<W>,
}

impl<W: Write> Output<W> {
    pub(crate) fn new(writer: W) -> Self {
        Self { writer: Mutex::new(writer) }
    }

    /// # Errors
    /// The agent is gone.
    pub(crate) fn say(&self, told: &FromTrainer) -> io::Result<()> {
        let mut line = serde_json::to_vec(told)?;
        line.push(b'\n');
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.write_all(&line)?;
        writer.flush()
    }

    /// # Errors
    /// The agent is gone.
    pub(crate) fn ready(&self, device: &str) -> io::Result<()> {
        let device = device.to_owned();
        self.say(&FromTrainer::Ready { protocol: TRAINER_PROTOCOL_VERSION, device, trainables: Vec::new() })
    }

    /// # Errors
    /// The agent is gone.
    pub(crate) fn started(&self, id: &str, resumed_epochs: u32) -> io::Result<()> {
        let dataset = DatasetSummary::default();
        self.say(&FromTrainer::Started { id: id.to_owned(), dataset, resumed_epochs })
    }

    /// A sign of life; how far the epoch is, is not known.
    ///
    /// # Errors
    /// The agent is gone.
    pub(crate) fn progress(&self, id: &str, epoch: u32) -> io::Result<()> {
        self.say(&FromTrainer::Progress { id: id.to_owned(), epoch, fraction: 0.0, validating: false })
    }

    /// # Errors
    /// The agent is gone.
    pub(crate) fn kept(&self, id: &str) -> io::Result<()> {
        self.say(&FromTrainer::Kept { id: id.to_owned() })
    }

    /// # Errors
    /// The agent is gone.
    pub(crate) fn epoch(&self, id: &str, record: &EpochRecord) -> io::Result<()> {
        let metrics = record.metrics.iter().map(|(name, Number(value))| (name.as_str(), *value)).collect();
        let (id, epoch, epoch_seconds) = (id.to_owned(), record.epoch, record.seconds);
        self.say(&FromTrainer::Epoch(EpochLine { id, epoch, metrics, epoch_seconds }))
    }

    /// # Errors
    /// The agent is gone.
    pub(crate) fn end(&self, id: &str, end: End) -> io::Result<()> {
        let End { outcome, reason, details } = end;
        if !reason.is_empty() {
            terminal::say!("{outcome:?}: {reason}");
        }
        let reason = reason.chars().take(REASON_CHARACTERS_MAX).collect();
        self.say(&FromTrainer::Ended { id: id.to_owned(), outcome, reason, details })
    }
}
