//! The conversation with the agent: requests come from a reader thread, jobs are trained one after another on
//! the calling thread, and each event is one line of output. Nothing here knows of processes or devices, so
//! that tests talk to it through pipes in memory.

use std::{
    collections::HashSet,
    io::Write,
    rc::Rc,
    sync::mpsc::{Receiver, TryRecvError},
};

use tch::TchError;

use super::{
    config::TrainingConfig,
    dataset::{DatasetError, TrainingData},
    epoch::{self, EpochRecord, Flow, TrainingEnd, TrainingEvent},
    lines::{Output, Request, SessionError},
};
use crate::data::split::SplitError;
use crate::protocol::{
    DatasetSpec, FromTrainer, TRAINER_PROTOCOL_VERSION, ToTrainer, TrainJob, TrainerOutcome,
};

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
            SplitError::Torch(error) => (TrainerOutcome::Failed, first_line(error)),
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
