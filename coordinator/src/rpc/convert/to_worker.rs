//! What the engine says to workers, as it travels.

use domain::specification::Program;
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
    let dataset = |plan: DatasetPlan| v1::Dataset {
        path: plan.path.to_string_lossy().into_owned(),
        image_size: plan.image_size,
        val_fraction: plan.val_fraction,
        split_seed: plan.split_seed,
        val_path: plan.val_path.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default(),
    };
    let stop_ms = job.stop_grace_period_ms.unwrap_or(0);
    let program = job.program.as_deref().map(|program| wire_program(program, job.objective, stop_ms));
    v1::JobAssignment {
        attempt: Some(job.attempt.into()),
        model: job.model,
        parameters: proto::parameters_to_wire(job.parameters),
        dataset: job.dataset.map(dataset),
        program,
        budget: job.budget.unwrap_or(0),
        timeout_ms: job.timeout_ms.unwrap_or(0),
        checkpoints: Some(v1::CheckpointPlan {
            key: job.checkpoint_key,
            every_epochs: job.checkpoint_every_epochs.unwrap_or(0),
            pauses: job.pauses,
        }),
        keep_weights: job.keep_weights,
        also_slots: job.also_slots,
        until_epoch: job.until_epoch.unwrap_or(0),
        // Who makes spans fills it in.
        traceparent: String::new(),
    }
}

/// A program as it travels.
fn wire_program(program: &Program, objective: String, stop_grace_period_ms: u64) -> v1::Program {
    // The number of epochs travels with the job, files before it.
    let Program { program: path, command, arguments, env, epochs_parameter: _, files: _, snapshot, metrics } =
        program;
    let variable =
        |(name, value): &(String, String)| v1::Variable { name: name.clone(), value: value.clone() };
    v1::Program {
        program: path.clone().unwrap_or_default(),
        command: command.clone(),
        arguments: arguments.as_str().to_owned(),
        env: env.iter().map(variable).collect(),
        metrics: Some(v1::MetricSource {
            pattern: metrics.pattern.clone().unwrap_or_default(),
            csv: metrics.csv.clone().unwrap_or_default(),
        }),
        objective,
        files: snapshot.map(|snapshot| snapshot.to_string()).unwrap_or_default(),
        stop_grace_period_ms,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use domain::specification::{ArgumentStyle, MetricSource};
    use terms::ParameterMap;

    use super::*;

    #[test]
    fn a_job_of_a_program_has_all_that_it_takes_to_run_it() {
        let program = Program {
            program: Some("train.py".into()),
            command: vec!["${program}".into()],
            arguments: ArgumentStyle::Wandb,
            env: vec![("MODE".into(), "fast".into())],
            epochs_parameter: None,
            files: vec!["lib/**".into()],
            snapshot: None,
            metrics: MetricSource { pattern: None, csv: Some("m.csv".into()) },
        };
        let job = JobAssignment {
            attempt: AttemptKey::new(1, 2, 3),
            model: domain::specification::PROGRAM.into(),
            budget: None,
            program: Some(Arc::new(program)),
            objective: "f1".into(),
            parameters: ParameterMap::default(),
            dataset: None,
            timeout_ms: None,
            stop_grace_period_ms: Some(90_000),
            checkpoint_key: "1-9/2".into(),
            checkpoint_every_epochs: None,
            pauses: true,
            until_epoch: Some(3),
            keep_weights: false,
            also_slots: vec![1],
        };
        let wire = assignment(job);
        assert_eq!((wire.model.as_str(), wire.budget, wire.dataset), ("program", 0, None));
        assert_eq!(wire.also_slots, [1]);
        assert!(wire.checkpoints.is_some_and(|plan| plan.pauses));
        assert_eq!(wire.until_epoch, 3);
        let program = wire.program.unwrap();
        assert_eq!((program.program.as_str(), program.arguments.as_str()), ("train.py", "wandb"));
        assert_eq!((program.command, program.objective.as_str()), (vec!["${program}".to_owned()], "f1"));
        assert_eq!(program.stop_grace_period_ms, 90_000);
        assert_eq!(program.env, [v1::Variable { name: "MODE".into(), value: "fast".into() }]);
        let source = v1::MetricSource { pattern: String::new(), csv: "m.csv".into() };
        assert_eq!(program.metrics, Some(source));
    }
}
