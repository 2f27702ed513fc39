//! What the engine says to workers, as it travels.

use engine::{DatasetPlan, JobAssignment, ToWorker};
use proto::v1::{self, coordinator_message::Message};
use terms::AttemptKey;

/// A message to a worker.
pub fn to_worker(message: ToWorker) -> v1::CoordinatorMessage {
    let message = match message {
        ToWorker::Welcome(welcome) => Message::Welcome(v1::Welcome {
            lease_ms: welcome.lease_ms,
            heartbeat_interval_ms: welcome.heartbeat_interval_ms,
            refused: references(welcome.refused),
        }),
        ToWorker::Grant(grant) => Message::Grant(v1::Grant {
            slot: grant.slot,
            jobs: grant.jobs.into_iter().map(assignment).collect(),
        }),
        ToWorker::Revoke { attempts, reason } => {
            Message::Revoke(v1::Revoke { attempts: references(attempts), reason })
        }
        ToWorker::Drain { reason } => Message::Drain(v1::Drain { reason }),
        ToWorker::Acknowledged { through } => {
            Message::Acknowledgement(v1::Acknowledgement { sequence: through })
        }
    };
    v1::CoordinatorMessage { message: Some(message) }
}

fn references(attempts: Vec<AttemptKey>) -> Vec<v1::AttemptRef> {
    attempts.into_iter().map(Into::into).collect()
}

fn assignment(job: JobAssignment) -> v1::JobAssignment {
    let DatasetPlan { path, image_size, val_fraction, split_seed, val_path } = job.dataset;
    v1::JobAssignment {
        attempt: Some(job.attempt.into()),
        model: job.model,
        parameters: proto::parameters_to_wire(job.parameters),
        dataset: Some(v1::Dataset {
            path: path.to_string_lossy().into_owned(),
            image_size,
            val_fraction,
            split_seed,
            val_path: val_path.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default(),
        }),
        timeout_ms: job.timeout_ms.unwrap_or(0),
        checkpoints: Some(v1::CheckpointPlan {
            key: job.checkpoint_key,
            every_epochs: job.checkpoint_every_epochs.unwrap_or(0),
        }),
        keep_weights: job.keep_weights,
    }
}
