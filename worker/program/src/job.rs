//! One job, from its program's start to its end: what happens, in order, and what is made of it. One thread does this; the others
//! only say what they see.

mod checkpoints;
mod stopping;
mod verdict;

use std::{
    collections::BTreeMap,
    io,
    io::Write,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use terms::ParameterUse;
use trainer_protocol::{MetricsPlan, ToTrainer, TrainerOutcome};

pub(crate) use self::verdict::End;
use crate::{
    checkpoint::keeper::Keeper,
    events::{Answer, Event, JobEvent},
    log::Log,
    memory::{MemoryGroups, OomKills},
    metrics::{
        Report,
        channel::Channel,
        tally::{EpochRecord, Tallied, Tally},
    },
    outputs::hand_over,
    processes::{cpu_time, end_descendants},
    protocol::Output,
    scratch::Scratch,
};

/// How long what a program wrote may take to be read once it and all that it started have ended.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// Time between two looks whether a program that says nothing does anything.
const LIFE_INTERVAL: Duration = Duration::from_secs(30);

/// Time on the processor in such an interval that is work: a hundredth of one core. A process that waits has none.
const WORK_MIN: Duration = Duration::from_millis(300);

/// Time between two looks for what is left of a program that was asked to end.
const LEFT_INTERVAL: Duration = Duration::from_millis(50);

/// Time between two signs of life while something is kept.
const WAIT_INTERVAL: Duration = Duration::from_secs(5);

/// The agent is gone, or cannot be understood.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Gone {
    #[error("the agent does not take events any more: {0}")]
    Output(#[from] io::Error),
    #[error("{0}")]
    Request(String),
    #[error("a second request to train came while a job was running")]
    Busy,
    #[error("the agent has ended")]
    Ended,
}

/// Jobs that were told to stop, and whether other attempts of them are to go on from there.
pub(crate) type Stops = BTreeMap<String, bool>;

/// Why a program was asked to end.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Why {
    /// The agent said so; another attempt may be to go on.
    Asked { goes_on: bool },
    /// Its objective is not finite.
    Diverged(String),
    /// It goes on after its budget.
    Beyond,
    /// It has trained as far as it was granted.
    Paused,
    /// The checkpoint that it went on from is ahead of the records.
    Ahead,
}

/// A job whose program runs.
pub(crate) struct Run<'a, W> {
    pub(crate) id: &'a str,
    pub(crate) number: u64,
    /// What its program was given.
    pub(crate) parameters: &'a serde_json::Map<String, serde_json::Value>,
    pub(crate) events: &'a Receiver<Event>,
    pub(crate) output: &'a Output<W>,
    /// Jobs that were told to stop.
    pub(crate) stopped: &'a mut Stops,
    /// Where its metrics come from.
    pub(crate) plan: &'a MetricsPlan,
    pub(crate) tally: Tally,
    pub(crate) log: Log,
    pub(crate) scratch: &'a Scratch,
    /// Where its program runs.
    pub(crate) folder: &'a Path,
    pub(crate) keeper: Option<Keeper>,
    pub(crate) identity: String,
    pub(crate) weights: Option<PathBuf>,
    pub(crate) grace: Duration,
    pub(crate) pid: Pid,
    pub(crate) began: Instant,
    /// Its control group, and what the kernel had ended there when the program was started.
    pub(crate) memory: (MemoryGroups, OomKills),
    pub(crate) channel: Channel,
    /// Dropped when the CSV file is to be read for the last time.
    pub(crate) table: Option<Sender<()>>,
    pub(crate) sources: Arc<AtomicUsize>,
    pub(crate) state: State,
}

/// What a run comes to.
#[derive(Debug)]
pub(crate) struct State {
    why: Option<Why>,
    /// When what is left of it is killed.
    kill_at: Option<Instant>,
    has_exited: bool,
    /// Folders of checkpoints that the program has committed, the oldest first.
    committed: Vec<String>,
    /// Checkpoints since the last report, those of earlier attempts included.
    unreported: u32,
    /// Whether what came after this attempt's last checkpoint is still to be kept with it.
    awaits_tail: bool,
    /// Whether the agent is to hear once its last checkpoint is written.
    is_asked_to_keep: bool,
    has_repeated: bool,
    has_gone_on: bool,
    /// Which parameters were read, as far as the program said it.
    parameters: Option<ParameterUse>,
    work: Duration,
    look_at: Instant,
}

impl State {
    /// Of a program that starts with these folders of checkpoints, of which the last ones came after its last report.
    pub(crate) fn new(committed: Vec<String>, unreported: u32, now: Instant) -> Self {
        Self {
            why: None,
            kill_at: None,
            has_exited: false,
            committed,
            unreported,
            awaits_tail: false,
            is_asked_to_keep: false,
            has_repeated: false,
            has_gone_on: false,
            parameters: None,
            work: Duration::ZERO,
            look_at: now + LIFE_INTERVAL,
        }
    }
}

impl<W: Write> Run<'_, W> {
    /// Goes on until the program has ended and everything that it said was heard.
    ///
    /// # Errors
    /// The agent is gone.
    pub(crate) fn until_its_end(mut self) -> Result<End, Gone> {
        if let Some(&goes_on) = self.stopped.get(self.id) {
            self.ask_to_end(Why::Asked { goes_on });
        }
        while !self.has_ended() {
            let mut next = self.state.look_at;
            next = self.state.kill_at.map_or(next, |kill_at| kill_at.min(next));
            if self.state.has_exited || self.state.is_asked_to_keep {
                next = next.min(Instant::now() + LEFT_INTERVAL);
            }
            match self.events.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(event) => self.apply(event)?,
                Err(RecvTimeoutError::Timeout) => self.tick()?,
                Err(RecvTimeoutError::Disconnected) => return Err(Gone::Ended),
            }
            self.say_if_kept()?;
        }
        let status = waitid(WaitId::Pid(self.pid), WaitIdOptions::EXITED);
        end_descendants();
        self.drain()?;
        self.log.finish();
        let status = status.ok().flatten().map(|status| {
            let code = status.exit_status().map(|code| code << 8);
            ExitStatus::from_raw(code.or_else(|| status.terminating_signal()).unwrap_or(1 << 8))
        });
        let has_ended_well = status.is_some_and(|status| status.success());
        if has_ended_well && self.state.why.is_none() {
            match self.tally.end() {
                Tallied::Ahead => self.state.why = Some(Why::Ahead),
                Tallied::Epochs(records) => self.tell_taken_over(&records)?,
                Tallied::Diverged(records, reason) => {
                    self.tell_taken_over(&records)?;
                    self.state.why = Some(Why::Diverged(reason));
                }
                Tallied::Repeated | Tallied::Beyond(_) | Tallied::Held(..) | Tallied::AfterDivergence => {}
            }
            if self.state.why.is_none() && self.tally.is_far_enough() && self.tally.has_more() {
                self.state.why = Some(Why::Paused);
            }
        }
        let end = self.judge(status);
        self.settle(&end, has_ended_well)?;
        Ok(self.with_what_is_kept(end))
    }

    fn apply(&mut self, event: Event) -> Result<(), Gone> {
        match event {
            Event::Request(Ok(ToTrainer::Stop { id, checkpoint: goes_on })) => {
                if id == self.id {
                    self.ask_to_end(Why::Asked { goes_on });
                } else {
                    self.stopped.insert(id, goes_on);
                }
            }
            Event::Request(Ok(ToTrainer::Keep { id })) => self.state.is_asked_to_keep |= id == self.id,
            Event::Request(Ok(ToTrainer::Train { .. })) => return Err(Gone::Busy),
            Event::Request(Err(error)) => return Err(Gone::Request(error)),
            Event::RequestsEnded => return Err(Gone::Ended),
            Event::Job(number, event) if number == self.number => self.apply_own(event)?,
            // A thread of an earlier job has ended late.
            Event::Job(..) => {}
        }
        Ok(())
    }

    fn apply_own(&mut self, event: JobEvent) -> Result<(), Gone> {
        let answer = match event {
            JobEvent::Reported { report, at, answer } => {
                self.report(report, at)?;
                answer
            }
            JobEvent::Committed(name, answer) => {
                self.commit(name);
                Some(answer)
            }
            JobEvent::Read(used, answer) => {
                let known = |name: &str| self.parameters.contains_key(name);
                self.state.parameters.get_or_insert_default().take(&used, known);
                Some(answer)
            }
            JobEvent::Asked(answer) => Some(answer),
            JobEvent::Exited => {
                self.state.has_exited = true;
                None
            }
            JobEvent::SourceEnded => None,
        };
        if let Some(answer) = answer {
            // Fails where who asked is gone.
            let is_ending = self.state.why.is_some();
            let _ = answer.send(Answer { stop: is_ending || self.tally.is_full(), is_ending });
        }
        Ok(())
    }

    fn report(&mut self, report: Report, at: Instant) -> Result<(), Gone> {
        if self.state.why == Some(Why::Ahead) {
            return Ok(());
        }
        let number = report.number;
        match self.tally.take(report, at.saturating_duration_since(self.began)) {
            Tallied::Epochs(mut records) => {
                let new = records.pop();
                self.tell_taken_over(&records)?;
                if let Some(record) = &new {
                    self.output.epoch(self.id, record)?;
                }
                self.state.unreported = 0;
                if self.tally.is_far_enough() {
                    self.ask_to_end(Why::Paused);
                }
                self.settle_checkpoint(new);
            }
            Tallied::Repeated => {
                if !std::mem::replace(&mut self.state.has_repeated, true) {
                    let number = number.unwrap_or_default();
                    terminal::say!(
                        "epoch {number} was reported again, or after a later one; the first report counts (this is said once)"
                    );
                }
            }
            Tallied::Beyond(records) => {
                self.tell_taken_over(&records)?;
                self.ask_to_end(Why::Beyond);
            }
            Tallied::Held(records, held) => {
                self.tell_taken_over(&records)?;
                self.state.unreported = 0;
                self.ask_to_end(Why::Paused);
                if held.is_some() {
                    self.settle_checkpoint(held);
                }
                self.say_that_it_goes_on();
            }
            Tallied::Diverged(records, reason) => {
                self.tell_taken_over(&records)?;
                self.ask_to_end(Why::Diverged(reason));
            }
            Tallied::AfterDivergence => {}
            Tallied::Ahead => {
                self.ask_to_end(Why::Ahead);
                // Nothing of it is wanted.
                self.kill();
            }
        }
        Ok(())
    }

    fn say_that_it_goes_on(&mut self) {
        if !std::mem::replace(&mut self.state.has_gone_on, true) {
            let epochs = self.tally.epochs();
            terminal::say!(
                "the program goes on after epoch {epochs}, where its job pauses; later epochs count only once the job goes on \
                 from a checkpoint that has them (this is said once)"
            );
        }
    }

    /// Tells epochs of an earlier attempt that turned out to be part of the checkpoint.
    fn tell_taken_over(&self, records: &[EpochRecord]) -> Result<(), Gone> {
        if let Some(last) = records.last() {
            self.output.started(self.id, last.epoch)?;
        }
        for record in records {
            self.output.epoch(self.id, record)?;
        }
        Ok(())
    }

    fn tick(&mut self) -> Result<(), Gone> {
        let now = Instant::now();
        if self.state.kill_at.is_some_and(|at| now >= at) {
            terminal::say!(
                "the program did not end in {} s after SIGTERM and is killed",
                self.grace.as_secs_f64()
            );
            self.kill();
        }
        if now >= self.state.look_at {
            self.state.look_at = now + LIFE_INTERVAL;
            let work = cpu_time(rustix::process::getpid());
            // What has ended takes its time with it.
            let is_alive = work.saturating_sub(self.state.work) >= WORK_MIN;
            self.state.work = work;
            if is_alive {
                self.say_alive()?;
            }
        }
        Ok(())
    }

    fn say_alive(&self) -> Result<(), Gone> {
        Ok(self.output.progress(self.id, self.tally.epochs() + 1)?)
    }

    /// Hears what was said before the end.
    fn drain(&mut self) -> Result<(), Gone> {
        self.channel.close();
        self.table = None;
        let until = Instant::now() + DRAIN_MAX;
        while self.sources.load(Ordering::SeqCst) > 0 {
            match self.events.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(event) => self.apply(event)?,
                Err(RecvTimeoutError::Timeout) => {
                    terminal::say!(
                        "an output of the program is still open after its end; it is not read further"
                    );
                    self.channel.cut();
                    return Ok(());
                }
                Err(RecvTimeoutError::Disconnected) => return Err(Gone::Ended),
            }
        }
        // What the last of them said lies there.
        while let Ok(event) = self.events.try_recv() {
            self.apply(event)?;
        }
        Ok(())
    }

    /// Keeps what another attempt, or the sweep, is to have.
    fn settle(&mut self, end: &End, has_ended_well: bool) -> Result<(), Gone> {
        if end.outcome == TrainerOutcome::Done
            && let Err(error) = self.keep_outputs()?
        {
            terminal::say!("what is in SWEEP_OUTPUT_DIR is not kept: {error}");
        }
        self.keep_for_another(end, has_ended_well)
    }

    /// Hands over what is in `SWEEP_OUTPUT_DIR`, which can be gigabytes, and says meanwhile that the job goes on.
    fn keep_outputs(&self) -> Result<io::Result<()>, Gone> {
        let (folder, wanted) = (self.scratch.output(), self.weights.clone());
        let (done, handed_over) = mpsc::channel();
        thread::Builder::new().name("outputs".to_owned()).spawn(move || {
            let _ = done.send(hand_over(&folder, wanted.as_deref()));
        })?;
        loop {
            match handed_over.recv_timeout(WAIT_INTERVAL) {
                Ok(result) => return Ok(result),
                Err(RecvTimeoutError::Timeout) => self.say_alive()?,
                Err(RecvTimeoutError::Disconnected) => {
                    return Ok(Err(io::Error::other("the thread that reads it has ended")));
                }
            }
        }
    }
}

impl<W> Drop for Run<'_, W> {
    /// Whatever way a job ends, nothing of it stays.
    fn drop(&mut self) {
        end_descendants();
    }
}
