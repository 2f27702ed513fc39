//! The conversation with the agent: requests come from a reader thread, the jobs of a request are trained on the
//! calling thread (`group`), those that agree together and others one after another, and each event is one line of
//! output. Nothing here knows of processes or devices, so that tests talk to it through pipes in memory.

use std::{
    collections::HashMap,
    io::Write,
    rc::Rc,
    sync::mpsc::{Receiver, TryRecvError},
};

use dataset::progress::Progress;
use tch::TchError;
use trainer_protocol::{
    DatasetSpec, FromTrainer, TRAINER_PROTOCOL_VERSION, ToTrainer, TrainJob, TrainerOutcome,
};

use super::{
    checkpoint::CheckpointStore,
    config::TrainingConfig,
    epoch::Flow,
    group::is_out_of_memory,
    lines::{Output, Request, SessionError},
    split::SplitError,
    training_data::{DatasetError, TrainingData},
};

/// Brings a data set to the device; the second argument hears how far that is, and says whether it is still wanted.
pub(super) type Load<'a> =
    dyn FnMut(&DatasetSpec, &mut dyn FnMut(Progress) -> Flow) -> Result<Rc<TrainingData>, DatasetError> + 'a;

/// Trains what is requested until the requests end.
///
/// # Errors
/// An agent that cannot be understood or is gone, and a device that is lost.
pub(super) fn serve<W: Write + Send>(
    requests: &Receiver<Request>,
    output: W,
    device: String,
    checkpoints: Option<CheckpointStore>,
    load: &mut Load<'_>,
) -> Result<(), SessionError> {
    let (output, stopped) = (Output::new(output), HashMap::new());
    let mut session = Session { requests, output, stopped, epoch: 0, checkpoints };
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

pub(super) struct Session<'a, W> {
    requests: &'a Receiver<Request>,
    pub(super) output: Output<W>,
    /// Jobs of the present request that were told to stop, and whether to keep a checkpoint of them.
    pub(super) stopped: HashMap<String, bool>,
    /// The epoch of which a batch was trained last; 0 before any was.
    pub(super) epoch: u32,
    /// Where checkpoints lie, where any are kept.
    pub(super) checkpoints: Option<CheckpointStore>,
}

/// One job of a request.
pub(super) struct Job<'a> {
    pub(super) request: &'a TrainJob,
    pub(super) config: TrainingConfig,
    pub(super) dataset: &'a DatasetSpec,
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
        for request in jobs {
            match TrainingConfig::read(&request.model, &request.parameters) {
                Ok(config) => accepted.push(Job { request, config, dataset }),
                Err(error) => self.end(&request.id, TrainerOutcome::Rejected, error.to_string())?,
            }
        }
        if accepted.is_empty() {
            return Ok(());
        }
        // The loader knows no session: what goes wrong with the agent is kept aside and stops it.
        let (mut heard, mut told) = (Ok(()), None);
        let loaded = load(dataset, &mut |progress| {
            self.while_preparing(&mut accepted, &mut told, progress).unwrap_or_else(|error| {
                heard = Err(error);
                Flow::Stop
            })
        });
        heard?;
        match loaded {
            Err(DatasetError::GivenUp) => {}
            Ok(data) => {
                for group in groups(accepted) {
                    self.train_group(&group, &data)?;
                }
            }
            Err(DatasetError::Torch(error) | DatasetError::Split(SplitError::Torch(error)))
                if is_device_lost(&error) =>
            {
                return Err(SessionError::DeviceLost(first_line(&error)));
            }
            Err(error) => {
                let (outcome, reason) = dataset_failure(&error);
                for job in &accepted {
                    self.end(&job.request.id, outcome, reason.clone())?;
                }
            }
        }
        Ok(())
    }

    /// Tells how far the data set is, where anything happened since it was told, and ends the jobs that were told to stop.
    fn while_preparing(
        &mut self,
        jobs: &mut Vec<Job<'_>>,
        told: &mut Option<Progress>,
        progress: Progress,
    ) -> Result<Flow, SessionError> {
        if told.replace(progress) != Some(progress) {
            let (fraction, doing) = (progress.share, progress.to_string());
            self.output.hint(&FromTrainer::Preparing { fraction, doing })?;
        }
        self.look_for_stops()?;
        for job in jobs.extract_if(.., |job| self.stopped.contains_key(&job.request.id)) {
            self.end(&job.request.id, TrainerOutcome::Stopped, "stopped before it began".into())?;
        }
        Ok(if jobs.is_empty() { Flow::Stop } else { Flow::Continue })
    }

    /// Takes in what the agent said meanwhile.
    pub(super) fn look_for_stops(&mut self) -> Result<(), SessionError> {
        loop {
            match self.requests.try_recv() {
                Ok(Ok(ToTrainer::Stop { id, checkpoint })) => {
                    self.stopped.insert(id, checkpoint);
                }
                Ok(Ok(ToTrainer::Train { .. })) => return Err(SessionError::Busy),
                Ok(Err(error)) => return Err(error),
                // A process whose input ended is gone before this; in a test the job may end.
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return Ok(()),
            }
        }
    }

    pub(super) fn end(&self, id: &str, outcome: TrainerOutcome, reason: String) -> Result<(), SessionError> {
        if !reason.is_empty() {
            terminal::say!("{outcome:?}: {reason}");
        }
        self.output.send(&FromTrainer::Ended { id: id.to_owned(), outcome, reason })
    }
}

/// The jobs that agree together, in the order in which they came.
fn groups(jobs: Vec<Job<'_>>) -> Vec<Vec<Job<'_>>> {
    let mut groups: Vec<Vec<Job<'_>>> = Vec::new();
    for job in jobs {
        match groups.iter_mut().find(|group| group[0].config.agrees_with(&job.config)) {
            Some(group) => group.push(job),
            None => groups.push(vec![job]),
        }
    }
    groups
}

/// Whether another attempt can succeed where this data set failed, and the reason.
fn dataset_failure(error: &DatasetError) -> (TrainerOutcome, String) {
    match error {
        // It is told to nobody.
        DatasetError::GivenUp => (TrainerOutcome::Stopped, error.to_string()),
        // Another attempt finds it back; nothing was wrong with this one.
        _ if error.is_passing() => (TrainerOutcome::Unavailable, error.to_string()),
        DatasetError::ImageSize { .. } | DatasetError::Data(_) => {
            (TrainerOutcome::Rejected, error.to_string())
        }
        DatasetError::Split(split) => match split {
            SplitError::Torch(error) => (TrainerOutcome::Failed, first_line(error)),
            _ => (TrainerOutcome::Rejected, error.to_string()),
        },
        DatasetError::Torch(error) => (TrainerOutcome::Failed, first_line(error)),
    }
}

/// Whether a CUDA device failed, for another reason than that its memory is full.
fn is_device_lost(error: &TchError) -> bool {
    error.to_string().contains("CUDA error") && !is_out_of_memory(error)
}

/// libtorch's message without the C++ stack below it.
pub(super) fn first_line(error: &TchError) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
