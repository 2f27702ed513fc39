//! The conversation with the agent: requests come from a reader thread, jobs are trained one after another on
//! the calling thread, and each event is one line of output. Nothing here knows of processes or devices, so
//! that tests talk to it through pipes in memory.

use std::{
    collections::HashMap,
    io::Write,
    rc::Rc,
    sync::mpsc::{Receiver, TryRecvError},
};

use tch::TchError;

use super::{
    checkpoint::{self, CheckpointStore},
    config::TrainingConfig,
    dataset::{DatasetError, TrainingData},
    epoch::{EpochEnd, EpochRecord, Flow, Training, TrainingEvent},
    lines::{Output, Request, SessionError},
    model,
};
use crate::data::split::SplitError;
use crate::protocol::{
    CheckpointPlan, DatasetSpec, FromTrainer, TRAINER_PROTOCOL_VERSION, ToTrainer, TrainJob, TrainerOutcome,
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
    checkpoints: Option<CheckpointStore>,
    load: &mut Load<'_>,
) -> Result<(), SessionError> {
    let mut session = Session { requests, output: Output::new(output), stopped: HashMap::new(), checkpoints };
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
    /// Jobs of the present request that were told to stop, and whether to keep a checkpoint of them.
    stopped: HashMap<String, bool>,
    /// Where checkpoints lie, where any are kept.
    checkpoints: Option<CheckpointStore>,
}

/// One job of a request.
struct Job<'a> {
    request: &'a TrainJob,
    config: TrainingConfig,
    dataset: &'a DatasetSpec,
}

/// How a job came to its end, as it is told.
type End = (TrainerOutcome, String);

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
        let output = &self.output;
        // A hint that cannot be sent is no error yet: the next event finds out.
        let loaded = load(dataset, &|fraction| drop(output.hint(&FromTrainer::Preparing { fraction })));
        match loaded {
            Ok(data) => {
                for job in &accepted {
                    self.train_job(job, &data)?;
                }
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

    fn train_job(&mut self, job: &Job<'_>, data: &TrainingData) -> Result<(), SessionError> {
        let id = &job.request.id;
        self.look_for_stops()?;
        if self.stopped.contains_key(id) {
            return self.end(id, TrainerOutcome::Stopped, "stopped before it began".into());
        }
        match self.train_with_checkpoints(job, data) {
            Ok(end) => {
                let (outcome, reason) = end?;
                self.end(id, outcome, reason)
            }
            Err(error) => {
                let reason = first_line(&error);
                let lost = data.device().is_cuda() && !reason.contains("out of memory");
                self.end(id, TrainerOutcome::Failed, reason)?;
                if lost { Err(SessionError::DeviceLost) } else { Ok(()) }
            }
        }
    }

    /// Trains from the job's last checkpoint, or from its initial weights, to its end. The outer error is
    /// libtorch's, the inner one the agent's.
    fn train_with_checkpoints(
        &mut self,
        job: &Job<'_>,
        data: &TrainingData,
    ) -> Result<Result<End, SessionError>, TchError> {
        let identity = checkpoint::identity(job.request, job.dataset, &data.summary().content_hash);
        let shapes = model::parameter_shapes(data.image_size(), data.classes());
        let plan = job.request.checkpoints.as_ref();
        let kept = self.checkpoints.as_mut().zip(plan);
        let mut training = match kept.and_then(|(store, plan)| store.latest(plan, &identity, &shapes)) {
            Some(snapshot) => Training::resume(&job.config, data, snapshot)?,
            None => Training::new(&job.config, data)?,
        };
        if let Err(error) = self.tell_start(&job.request.id, &training, data) {
            return Ok(Err(error));
        }
        // The training knows no session: what goes wrong with the agent is kept aside and stops the job.
        let mut trouble = None;
        while !training.is_done() {
            let mut listener = |event| {
                self.tell(&job.request.id, job.config.epochs, event).unwrap_or_else(|error| {
                    trouble = Some(error);
                    Flow::Stop
                })
            };
            let end = training.run_epoch(&mut listener)?;
            let flow = match end {
                EpochEnd::Done(record) => listener(TrainingEvent::Epoch(record)),
                EpochEnd::Diverged | EpochEnd::Stopped => Flow::Stop,
            };
            if let Some(error) = trouble {
                return Ok(Err(error));
            }
            if end == EpochEnd::Diverged {
                self.remove_checkpoints(plan);
                let epoch = training.epoch();
                let reason = format!("the training loss was not finite any more in epoch {epoch}");
                return Ok(Ok((TrainerOutcome::Diverged, reason)));
            }
            let stopped = flow == Flow::Stop && !training.is_done();
            let wanted = match self.stopped.get(&job.request.id) {
                Some(wanted) if stopped => *wanted,
                _ => plan.is_some_and(|plan| {
                    training.records().len().is_multiple_of(plan.every_epochs.max(1) as usize)
                }),
            };
            if wanted && !training.is_done() {
                self.keep(plan, &identity, &training)?;
            }
            if stopped {
                self.checkpoints.iter_mut().for_each(CheckpointStore::flush);
                return Ok(Ok((TrainerOutcome::Stopped, "stopped as asked".into())));
            }
        }
        self.remove_checkpoints(plan);
        Ok(Ok((TrainerOutcome::Done, String::new())))
    }

    /// Says that training begins, and what it goes on from.
    fn tell_start(&self, id: &str, training: &Training<'_>, data: &TrainingData) -> Result<(), SessionError> {
        let dataset = data.summary().clone();
        let resumed_epochs = training.records().len() as u32;
        self.output.send(&FromTrainer::Started { id: id.to_owned(), dataset, resumed_epochs })?;
        if resumed_epochs > 0 {
            eprintln!("going on after epoch {resumed_epochs}");
        }
        training.records().iter().try_for_each(|record| self.output.send(&line(id, *record)))
    }

    fn keep(
        &mut self,
        plan: Option<&CheckpointPlan>,
        identity: &str,
        training: &Training<'_>,
    ) -> Result<(), TchError> {
        let (Some(store), Some(plan)) = (&mut self.checkpoints, plan) else { return Ok(()) };
        let snapshot = training.snapshot()?;
        let bytes = checkpoint::encode(identity, &snapshot)?;
        store.write(plan, snapshot.position.epoch, snapshot.position.images_done, bytes);
        Ok(())
    }

    fn remove_checkpoints(&mut self, plan: Option<&CheckpointPlan>) {
        if let (Some(store), Some(plan)) = (&mut self.checkpoints, plan) {
            store.remove(plan);
        }
    }

    /// Passes an event on and says whether the job was told to stop.
    fn tell(&mut self, id: &str, epochs: u32, event: TrainingEvent) -> Result<Flow, SessionError> {
        match event {
            TrainingEvent::Batch { epoch, fraction } => {
                self.output.hint(&FromTrainer::Progress { id: id.to_owned(), epoch, fraction })?;
            }
            TrainingEvent::ValidationBatch => {}
            TrainingEvent::Epoch(record) => {
                let EpochRecord { epoch, train_loss, val_accuracy, epoch_seconds } = record;
                eprintln!(
                    "epoch {epoch}/{epochs}  loss {train_loss:.4}  val_accuracy {val_accuracy:.4}  {epoch_seconds:.1} s"
                );
                self.output.send(&line(id, record))?;
            }
        }
        self.look_for_stops()?;
        Ok(if self.stopped.contains_key(id) { Flow::Stop } else { Flow::Continue })
    }

    /// Takes in what the agent said meanwhile.
    fn look_for_stops(&mut self) -> Result<(), SessionError> {
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

    fn end(&self, id: &str, outcome: TrainerOutcome, reason: String) -> Result<(), SessionError> {
        if !reason.is_empty() {
            eprintln!("{outcome:?}: {reason}");
        }
        self.output.send(&FromTrainer::Ended { id: id.to_owned(), outcome, reason })
    }
}

/// An epoch as it is told.
fn line(id: &str, record: EpochRecord) -> FromTrainer {
    let EpochRecord { epoch, train_loss, val_accuracy, epoch_seconds } = record;
    FromTrainer::Epoch { id: id.to_owned(), epoch, train_loss, val_accuracy, epoch_seconds }
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
