//! The conversation with the agent: requests come from a reader thread, the jobs of a request are trained on the
//! calling thread (`group`), together where possible and otherwise one after another, and each event is one line of
//! output. No code here knows of processes or devices, so that tests use pipes in memory.

use std::{
    collections::{HashMap, HashSet},
    io::Write,
    rc::Rc,
    sync::mpsc::Receiver,
};

use dataset::progress::Progress;
use trainer_protocol::{
    DatasetSpec, FromTrainer, TRAINER_PROTOCOL_VERSION, ToTrainer, TrainJob, TrainerOutcome,
};

use super::{
    checkpoint::CheckpointStore,
    config::{self, TrainingConfig},
    conversation::Conversation,
    group::Group,
    lines::{Output, Request, SessionError},
    members::Job,
    split::SplitError,
    torch_errors::{first_line, is_device_lost},
    training::Flow,
    training_data::{DatasetError, TrainingData},
};

/// Brings a data set to the device; the second argument receives the progress, and says whether the data set is still
/// wanted.
pub(super) type Load<'a> =
    dyn FnMut(&DatasetSpec, &mut dyn FnMut(Progress) -> Flow) -> Result<Rc<TrainingData>, DatasetError> + 'a;

/// Trains what is requested until the requests end.
///
/// # Errors
/// An agent whose input is invalid or who is gone, and a device that is lost.
pub(super) fn serve<W: Write + Send>(
    requests: &Receiver<Request>,
    output: W,
    device: String,
    checkpoints: Option<CheckpointStore>,
    load: &mut Load<'_>,
) -> Result<(), SessionError> {
    let (output, stopped) = (Output::new(output), HashMap::new());
    let to_keep = HashSet::new();
    let mut conversation = Conversation { requests, output, stopped, to_keep, epoch: 0, checkpoints };
    conversation.output.send(&FromTrainer::Ready {
        protocol: TRAINER_PROTOCOL_VERSION,
        device,
        trainables: vec![config::simple_cnn().clone()],
    })?;
    while let Ok(request) = conversation.requests.recv() {
        match request? {
            ToTrainer::Train { jobs, dataset } => match dataset {
                Some(dataset) => train(&mut conversation, &jobs, &dataset, load)?,
                None => {
                    for job in &jobs {
                        let reason = "the job has no data set, which this trainer needs".to_owned();
                        conversation.end(&job.id, TrainerOutcome::Rejected, reason)?;
                    }
                }
            },
            // It crossed the job's end in transit.
            ToTrainer::Stop { .. } | ToTrainer::Keep { .. } => {}
        }
    }
    Ok(())
}

/// Trains the jobs of a request.
fn train<W: Write + Send>(
    conversation: &mut Conversation<'_, W>,
    jobs: &[TrainJob],
    dataset: &DatasetSpec,
    load: &mut Load<'_>,
) -> Result<(), SessionError> {
    conversation.stopped.clear();
    conversation.to_keep.clear();
    // Cheap checks first: a data set takes minutes to prepare.
    let mut accepted = Vec::new();
    for request in jobs {
        match TrainingConfig::read(&request.model, &request.parameters) {
            Ok(config) => match config.architecture.check(dataset.image_size) {
                Ok(()) => accepted.push(Job { request, config, dataset }),
                // Other jobs of the sweep may have other layers.
                Err(error) => conversation.fail_for_good(&request.id, error.to_string())?,
            },
            Err(error) => conversation.end(&request.id, TrainerOutcome::Rejected, error.to_string())?,
        }
    }
    if accepted.is_empty() {
        return Ok(());
    }
    // The loader does not know the conversation: an error of the agent is stored here and stops the loading.
    let (mut heard, mut told) = (Ok(()), None);
    let loaded = load(dataset, &mut |progress| {
        while_preparing(conversation, &mut accepted, &mut told, progress).unwrap_or_else(|error| {
            heard = Err(error);
            Flow::Stop
        })
    });
    heard?;
    match loaded {
        Err(DatasetError::GivenUp) => {}
        Ok(data) => {
            for group in groups(accepted) {
                Group { conversation, data: &data }.train(&group)?;
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
                conversation.end(&job.request.id, outcome, reason.clone())?;
            }
        }
    }
    Ok(())
}

/// Reports the progress of the data set, if there is any, and ends the jobs that were asked to stop.
fn while_preparing<W: Write + Send>(
    conversation: &mut Conversation<'_, W>,
    jobs: &mut Vec<Job<'_>>,
    told: &mut Option<Progress>,
    progress: Progress,
) -> Result<Flow, SessionError> {
    if told.replace(progress) != Some(progress) {
        let (fraction, doing) = (progress.share, progress.to_string());
        conversation.output.hint(&FromTrainer::Preparing { fraction, doing })?;
    }
    conversation.look_for_stops()?;
    for job in jobs.extract_if(.., |job| conversation.stopped.contains_key(&job.request.id)) {
        conversation.end(&job.request.id, TrainerOutcome::Stopped, "stopped before it began".into())?;
    }
    Ok(if jobs.is_empty() { Flow::Stop } else { Flow::Continue })
}

/// Groups the jobs that can train together, in the order in which they came.
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

/// Whether another attempt can succeed after this data set failed, and the reason.
fn dataset_failure(error: &DatasetError) -> (TrainerOutcome, String) {
    match error {
        // It is not reported to anyone.
        DatasetError::GivenUp => (TrainerOutcome::Stopped, error.to_string()),
        // Another attempt may find it again; nothing was wrong with this one.
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

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
