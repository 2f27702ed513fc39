//! What happens, from all threads to the one that decides, over one bounded channel. Threads that wait for a job's program
//! hold a [`Source`], so that the job's end knows when all of them have said what they had.

use std::{
    io::{self, Read},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::Instant,
};

use terms::ParameterUse;
use trainer_protocol::ToTrainer;

use crate::metrics::Report;

/// Events that wait. A program that reports faster than its reports are told waits for them.
const EVENTS_WAITING_MAX: usize = 1024;

/// Something that happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// The agent said something, or cannot be understood.
    Request(Result<ToTrainer, String>),
    /// The agent is gone.
    RequestsEnded,
    /// Of the job with this number.
    Job(u64, JobEvent),
}

/// Something that happened to a job.
#[derive(Debug)]
pub(crate) enum JobEvent {
    /// Its program reported metrics, and waits where there is an answer to be given.
    Reported {
        report: Report,
        /// When its bytes were read: by the time that it is handled, others may have been.
        at: Instant,
        answer: Option<SyncSender<Answer>>,
    },
    /// Its program wrote a checkpoint, into the folder of this name.
    Committed(String, SyncSender<Answer>),
    /// Its program ends and has read these parameters.
    Read(ParameterUse, SyncSender<Answer>),
    /// Its program asks whether to stop.
    Asked(SyncSender<Answer>),
    /// Its program has ended, and was not waited for.
    Exited,
    /// A thread has said all that it had.
    SourceEnded,
}

/// What a program hears on its report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    /// It is to end soon.
    pub(crate) stop: bool,
    /// It was asked to, and is killed after a while. Otherwise it has trained all its epochs, and has all the time that it needs.
    pub(crate) is_ending: bool,
}

/// A place for events and the end that they come out of.
pub(crate) fn channel() -> (SyncSender<Event>, Receiver<Event>) {
    sync_channel(EVENTS_WAITING_MAX)
}

/// A reader that knows when it read last. What is left of that read in a buffer was there by then.
#[derive(Debug)]
pub(crate) struct Stamped<R> {
    inner: R,
    at: Instant,
}

impl<R> Stamped<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self { inner, at: Instant::now() }
    }

    /// When the last bytes came.
    pub(crate) fn at(&self) -> Instant {
        self.at
    }
}

impl<R: Read> Read for Stamped<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(bytes);
        self.at = Instant::now();
        read
    }
}

/// A thread's right to say what happens to a job.
#[derive(Debug)]
pub(crate) struct Source {
    events: SyncSender<Event>,
    job: u64,
    open: Arc<AtomicUsize>,
}

impl Source {
    /// The first of a job.
    pub(crate) fn new(events: SyncSender<Event>, job: u64) -> Self {
        Self { events, job, open: Arc::new(AtomicUsize::new(1)) }
    }

    /// Counts the sources of this job that are left.
    pub(crate) fn counter(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.open)
    }

    /// Says it; false where no one listens any more.
    pub(crate) fn say(&self, event: JobEvent) -> bool {
        self.events.send(Event::Job(self.job, event)).is_ok()
    }
}

impl Clone for Source {
    fn clone(&self) -> Self {
        self.open.fetch_add(1, Ordering::SeqCst);
        Self { events: self.events.clone(), job: self.job, open: Arc::clone(&self.open) }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::SeqCst);
        // Fails where no one listens any more.
        let _ = self.events.send(Event::Job(self.job, JobEvent::SourceEnded));
    }
}
