//! The conversation with the agent: requests come from a reader thread, jobs are trained one after another on
//! the calling thread, and each event is one line of output. Nothing here knows of processes or devices, so
//! that tests talk to it through pipes in memory.

use std::{
    collections::HashSet,
    io::{self, BufRead, Read, Write},
    rc::Rc,
    sync::{
        Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, TryRecvError, TrySendError},
    },
    time::{Duration, Instant},
};

use tch::TchError;

use super::{
    config::TrainingConfig,
    dataset::{DatasetError, TrainingData},
    epoch::{self, EpochRecord, Flow, TrainingEnd, TrainingEvent},
};
use crate::protocol::{
    DatasetSpec, FromTrainer, LINE_BYTES_MAX, TRAINER_PROTOCOL_VERSION, ToTrainer, TrainJob, TrainerOutcome,
};

/// Requests that wait while a data set is prepared. An agent sends one `Train` and one `Stop` a job; more that
/// wait mean an agent that is broken.
pub(super) const REQUESTS_WAITING_MAX: usize = 64;

/// Time between two hints (preparing, progress): five a second look alive.
const HINT_INTERVAL: Duration = Duration::from_millis(200);

/// Why a trainer cannot go on talking.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    /// Standard input failed.
    #[error("the agent's requests cannot be read: {0}")]
    Input(io::Error),
    /// Standard output failed; the agent is gone.
    #[error("the agent does not take events any more: {0}")]
    Output(io::Error),
    /// A line that is too long to be a request.
    #[error("a request of more than {LINE_BYTES_MAX} bytes; is the other side an agent of this version?")]
    LineTooLong,
    /// A line that is no request.
    #[error("not a request: {0}; is the other side an agent of this version?")]
    Malformed(serde_json::Error),
    /// `Train` while a job was in training.
    #[error(
        "a second request to train came while a job was in training; a trainer trains one request at a time"
    )]
    Busy,
    /// Requests piled up.
    #[error(
        "more than {REQUESTS_WAITING_MAX} requests wait; a trainer expects one to train and a stop a job"
    )]
    TooManyRequests,
    /// A CUDA error that leaves the device unusable for this process.
    #[error("the CUDA device failed, and only a new process can use it again")]
    DeviceLost,
}

/// What the reader thread passes on.
pub(super) type Request = Result<ToTrainer, SessionError>;

/// Why there will be no more requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestsEnd {
    /// The agent closed its end.
    Closed,
    /// The last thing that was passed on says what is wrong.
    Broken,
}

/// Reads requests until the input ends or is not a request; an error is passed on, and is the last thing.
pub(super) fn read_requests(mut input: impl BufRead, requests: &SyncSender<Request>) -> RequestsEnd {
    loop {
        let request = match read_request(&mut input) {
            Ok(None) => return RequestsEnd::Closed,
            Ok(Some(request)) => Ok(request),
            Err(error) => Err(error),
        };
        let last = request.is_err();
        match requests.try_send(request) {
            Ok(()) if !last => {}
            Ok(()) | Err(TrySendError::Disconnected(_)) => return RequestsEnd::Broken,
            Err(TrySendError::Full(_)) => {
                // Waits until the trainer looks at its requests, between two batches at the latest.
                let _ = requests.send(Err(SessionError::TooManyRequests));
                return RequestsEnd::Broken;
            }
        }
    }
}

fn read_request(input: &mut impl BufRead) -> Result<Option<ToTrainer>, SessionError> {
    let mut line = Vec::new();
    input.take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut line).map_err(SessionError::Input)?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.len() > LINE_BYTES_MAX {
        return Err(SessionError::LineTooLong);
    }
    serde_json::from_slice(&line).map(Some).map_err(SessionError::Malformed)
}

/// The output: whole lines, each flushed, from whatever thread.
struct Output<W> {
    state: Mutex<OutputState<W>>,
}

struct OutputState<W> {
    writer: W,
    last_hint: Option<Instant>,
}

impl<W: Write> Output<W> {
    fn new(writer: W) -> Self {
        Self { state: Mutex::new(OutputState { writer, last_hint: None }) }
    }

    fn send(&self, event: &FromTrainer) -> Result<(), SessionError> {
        let mut line = serde_json::to_vec(event).map_err(|error| SessionError::Output(error.into()))?;
        line.push(b'\n');
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.writer.write_all(&line).and_then(|()| state.writer.flush()).map_err(SessionError::Output)
    }

    /// Sends a hint unless the last one was just now.
    fn hint(&self, event: &FromTrainer) -> Result<(), SessionError> {
        {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.last_hint.is_some_and(|last| last.elapsed() < HINT_INTERVAL) {
                return Ok(());
            }
            state.last_hint = Some(Instant::now());
        }
        self.send(event)
    }
}

/// Brings a data set to the device; the second argument hears the share that is done.
pub(super) type Load<'a> =
    dyn FnMut(&DatasetSpec, &(dyn Fn(f64) + Sync)) -> Result<Rc<TrainingData>, DatasetError> + 'a;

/// Trains what is requested until the requests end.
///
/// # Errors
/// An agent that cannot be understood or is gone, and a device that is lost.
pub(super) fn serve<W: Write + Send>(
    requests: &Receiver<Request>,
    output: W,
    device: String,
    load: &mut Load<'_>,
) -> Result<(), SessionError> {
    let mut session = Session { requests, output: Output::new(output), stopped: HashSet::new() };
    session.output.send(&FromTrainer::Ready { protocol: TRAINER_PROTOCOL_VERSION, device })?;
    while let Ok(request) = session.requests.recv() {
        match request? {
            ToTrainer::Train { jobs, dataset } => session.train(&jobs, &dataset, load)?,
            // It crossed the job's end on its way.
            ToTrainer::Stop { .. } => {}
        }
    }
    Ok(())
}

struct Session<'a, W> {
    requests: &'a Receiver<Request>,
    output: Output<W>,
    /// Jobs of the present request that were told to stop.
    stopped: HashSet<String>,
}

impl<W: Write + Send> Session<'_, W> {
    fn train(
        &mut self,
        jobs: &[TrainJob],
        dataset: &DatasetSpec,
        load: &mut Load<'_>,
    ) -> Result<(), SessionError> {
        self.stopped.clear();
        // Cheap checks first: a data set takes minutes to prepare.
        let mut accepted = Vec::new();
        for job in jobs {
            match TrainingConfig::read(&job.model, &job.parameters) {
                Ok(config) => accepted.push((job.id.as_str(), config)),
                Err(error) => self.end(&job.id, TrainerOutcome::Rejected, error.to_string())?,
            }
        }
        if accepted.is_empty() {
            return Ok(());
        }
        let output = &self.output;
        // A hint that cannot be sent is no error yet: the next event finds out.
        let loaded = load(dataset, &|fraction| drop(output.hint(&FromTrainer::Preparing { fraction })));
        match loaded {
            Ok(data) => {
                for (id, config) in &accepted {
                    self.train_job(id, config, &data)?;
                }
            }
            Err(error) => {
                let (outcome, reason) = dataset_failure(&error);
                for (id, _) in &accepted {
                    self.end(id, outcome, reason.clone())?;
                }
            }
        }
        Ok(())
    }

    fn train_job(
        &mut self,
        id: &str,
        config: &TrainingConfig,
        data: &TrainingData,
    ) -> Result<(), SessionError> {
        self.look_for_stops()?;
        if self.stopped.contains(id) {
            return self.end(id, TrainerOutcome::Stopped, "stopped before it began".into());
        }
        self.output.send(&FromTrainer::Started { id: id.to_owned(), dataset: data.summary().clone() })?;
        // The training knows no session: what goes wrong with the agent is kept aside and stops the job.
        let mut trouble = None;
        let end = epoch::train(config, data, &mut |event| {
            self.tell(id, config, event).unwrap_or_else(|error| {
                trouble = Some(error);
                Flow::Stop
            })
        });
        if let Some(error) = trouble {
            return Err(error);
        }
        match end {
            Ok(TrainingEnd::Done) => self.end(id, TrainerOutcome::Done, String::new()),
            Ok(TrainingEnd::Stopped) => self.end(id, TrainerOutcome::Stopped, "stopped as asked".into()),
            Ok(TrainingEnd::Diverged { epoch }) => {
                let reason = format!("the training loss was not finite any more in epoch {epoch}");
                self.end(id, TrainerOutcome::Diverged, reason)
            }
            Err(error) => {
                let reason = first_line(&error);
                let lost = data.device().is_cuda() && !reason.contains("out of memory");
                self.end(id, TrainerOutcome::Failed, reason)?;
                if lost { Err(SessionError::DeviceLost) } else { Ok(()) }
            }
        }
    }

    /// Passes an event on and says whether the job was told to stop.
    fn tell(
        &mut self,
        id: &str,
        config: &TrainingConfig,
        event: TrainingEvent,
    ) -> Result<Flow, SessionError> {
        match event {
            TrainingEvent::Batch { epoch, fraction } => {
                self.output.hint(&FromTrainer::Progress { id: id.to_owned(), epoch, fraction })?;
            }
            TrainingEvent::ValidationBatch => {}
            TrainingEvent::Epoch(EpochRecord { epoch, train_loss, val_accuracy, epoch_seconds }) => {
                eprintln!(
                    "epoch {epoch}/{}  loss {train_loss:.4}  val_accuracy {val_accuracy:.4}  {epoch_seconds:.1} s",
                    config.epochs
                );
                let id = id.to_owned();
                self.output.send(&FromTrainer::Epoch {
                    id,
                    epoch,
                    train_loss,
                    val_accuracy,
                    epoch_seconds,
                })?;
            }
        }
        self.look_for_stops()?;
        Ok(if self.stopped.contains(id) { Flow::Stop } else { Flow::Continue })
    }

    /// Takes in what the agent said meanwhile.
    fn look_for_stops(&mut self) -> Result<(), SessionError> {
        loop {
            match self.requests.try_recv() {
                Ok(Ok(ToTrainer::Stop { id })) => {
                    self.stopped.insert(id);
                }
                Ok(Ok(ToTrainer::Train { .. })) => return Err(SessionError::Busy),
                Ok(Err(error)) => return Err(error),
                // A process whose input ended is gone before this; in a test the job may end.
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return Ok(()),
            }
        }
    }

    fn end(&self, id: &str, outcome: TrainerOutcome, reason: String) -> Result<(), SessionError> {
        if !reason.is_empty() {
            eprintln!("{outcome:?}: {reason}");
        }
        self.output.send(&FromTrainer::Ended { id: id.to_owned(), outcome, reason })
    }
}

/// Whether another attempt can succeed where this data set failed, and the reason.
fn dataset_failure(error: &DatasetError) -> (TrainerOutcome, String) {
    match error {
        DatasetError::ImageSize { .. } | DatasetError::Data(_) => {
            (TrainerOutcome::Rejected, error.to_string())
        }
        DatasetError::Split(split) => match split {
            crate::data::split::SplitError::Torch(error) => (TrainerOutcome::Failed, first_line(error)),
            _ => (TrainerOutcome::Rejected, error.to_string()),
        },
        DatasetError::Torch(error) => (TrainerOutcome::Failed, first_line(error)),
    }
}

/// libtorch's message without the C++ stack below it.
fn first_line(error: &TchError) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
