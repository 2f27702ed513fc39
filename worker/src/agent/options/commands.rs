//! How the trainers of a slot are started, as the worker's options say it: programs, arguments and environment.

use std::{ffi::OsString, path::Path};

use program::processes::Role;
use proto::v1;

use super::{
    super::{
        kept_checkpoints, own_trainer,
        slots::Trainers,
        trainer_process::{CHECKPOINTS_VARIABLE, TrainerCommand},
    },
    StartOptions,
};

/// The hidden command of this program that keeps someone else's trainer.
const KEEPER: &str = "contain";
/// This program's file: what runs, even if another file has taken its name.
const OWN_FILE: &str = "/proc/self/exe";

impl StartOptions {
    /// What a slot may start; `own` is the path of the trainer that comes with this program.
    pub(crate) fn trainers(&self, slot: &v1::Slot, own: &Path, spool: &Path) -> Trainers {
        Trainers {
            device: slot.device.clone(),
            model: self.trainer_command(slot, own, Some(spool)),
            program: self.allow_commands.then(|| self.program_command(slot, spool)),
        }
    }

    /// How the runner of users' programs is started.
    fn program_command(&self, slot: &v1::Slot, spool: &Path) -> TrainerCommand {
        let environment = self.trainer_environment(slot, Some(spool));
        let mut words: Vec<OsString> = [KEEPER, "--", OWN_FILE, "program"].map(OsString::from).into();
        words.extend(self.job_logs.iter().flat_map(|folder| ["--logs".into(), folder.into()]));
        TrainerCommand {
            name: "sweep-worker program",
            program: OWN_FILE.into(),
            arguments: words,
            environment,
            remedy: "look at the worker's log",
            role: Role::Keeper,
            ahead: false,
            weights: None,
            place_is_own: false,
        }
    }

    /// Where checkpoints are kept: the place that all workers share, or this worker's own.
    fn place_for_checkpoints(&self, spool: Option<&Path>) -> Option<String> {
        let own = || kept_checkpoints::folder(spool?).to_str().map(str::to_owned);
        self.checkpoints.clone().or_else(own)
    }

    /// The environment of every trainer of a slot.
    fn trainer_environment(&self, slot: &v1::Slot, spool: Option<&Path>) -> Vec<(&'static str, String)> {
        let threads = self.threads_per_slot.to_string();
        let mut environment = vec![
            ("OMP_NUM_THREADS", threads.clone()),
            ("MKL_NUM_THREADS", threads.clone()),
            // Its log lines are for people.
            ("SWEEP_LOG_FORMAT", "text".to_owned()),
            ("SWEEP_TRAINER_DEVICE", slot.device.clone()),
            ("SWEEP_TRAINER_THREADS", threads),
            ("SWEEP_TRAINER_SLOT", slot.index.to_string()),
        ];
        environment.extend(self.place_for_checkpoints(spool).map(|place| (CHECKPOINTS_VARIABLE, place)));
        environment
    }

    /// How the trainer of models is started; without a spool, it has no place of its own for checkpoints.
    pub(crate) fn trainer_command(
        &self,
        slot: &v1::Slot,
        own: &Path,
        spool: Option<&Path>,
    ) -> TrainerCommand {
        let threads = self.threads_per_slot.to_string();
        let environment = self.trainer_environment(slot, spool);
        let place_is_own = self.checkpoints.is_none();
        if let Some(command) = &self.trainer {
            let words = [KEEPER, "--", "/bin/sh", "-c"].map(OsString::from);
            let arguments = words.into_iter().chain([command.clone()]).collect();
            return TrainerCommand {
                name: "sweep-worker",
                program: OWN_FILE.into(),
                arguments,
                environment,
                remedy: "fix the command that --trainer names",
                role: Role::Keeper,
                ahead: true,
                weights: None,
                place_is_own,
            };
        }
        let mut arguments: Vec<OsString> = vec![
            "train".into(),
            "--for-worker".into(),
            env!("CARGO_PKG_VERSION").into(),
            "--device".into(),
            slot.device.clone().into(),
            "--threads".into(),
            threads.into(),
        ];
        if let Some(folder) = &self.cache_dir {
            arguments.extend(["--cache-dir".into(), folder.into()]);
        }
        if let Some(bytes) = self.cache_max_bytes {
            arguments.extend(["--cache-max-bytes".into(), bytes.to_string().into()]);
        }
        if self.skip_corrupt {
            arguments.push("--skip-corrupt".into());
        }
        if let Some(place) = self.place_for_checkpoints(spool) {
            arguments.extend(["--checkpoints".into(), place.into()]);
        }
        TrainerCommand {
            name: own_trainer::PROGRAM,
            program: own.to_owned(),
            arguments,
            environment,
            remedy: "install sweep-worker and sweep-trainer together, with the libtorch that they were built with (`make build`)",
            role: Role::Trainer,
            ahead: !self.programs_only,
            weights: None,
            place_is_own,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use trainer_protocol::{CheckpointPlan, ONLY_WHEN_ASKED};

    use super::{super::tests::options, *};

    fn slot() -> v1::Slot {
        v1::Slot { index: 1, device: "cuda:1".into(), description: String::new(), pack_size_max: 1 }
    }

    #[test]
    fn the_trainer_is_the_own_one_unless_another_is_named() {
        let given =
            ["--threads-per-slot", "2", "--skip-corrupt", "--cache-dir", "/c", "--cache-max-bytes", "16GiB"];
        let own =
            options(&given).trainer_command(&slot(), "/bin/sweep-trainer".as_ref(), Some("/s".as_ref()));
        assert_eq!(own.program, PathBuf::from("/bin/sweep-trainer"));
        let expected = [
            "train",
            "--for-worker",
            env!("CARGO_PKG_VERSION"),
            "--device",
            "cuda:1",
            "--threads",
            "2",
            "--cache-dir",
            "/c",
            "--cache-max-bytes",
            "17179869184",
            "--skip-corrupt",
            "--checkpoints",
            "/s/checkpoints",
        ];
        assert_eq!(own.arguments, expected.map(OsString::from));
        let other =
            options(&["--trainer", "python3 train.py"]).trainer_command(&slot(), "/bin/x".as_ref(), None);
        let expected = [KEEPER, "--", "/bin/sh", "-c", "python3 train.py"];
        assert_eq!(other.arguments, expected.map(OsString::from));
        assert!(other.environment.contains(&("SWEEP_TRAINER_DEVICE", "cuda:1".into())));
    }

    #[test]
    fn without_a_place_for_checkpoints_they_are_kept_next_to_the_spool_and_of_most_models_only_to_be_handed_over()
     {
        let plan = || CheckpointPlan { key: "1-9/2".into(), attempt: 1, every_epochs: 0 };
        let place = |arguments: &[&str]| {
            let options = options(&[&["--allow-commands"], arguments].concat());
            let trainers = options.trainers(&slot(), Path::new("/t"), Path::new("/s"));
            let every = |trainer: &TrainerCommand, pauses| trainer.plan(plan(), pauses).unwrap().every_epochs;
            let kept = [false, true].map(|pauses| every(&trainers.model, pauses));
            assert_eq!(trainers.program.iter().map(|program| every(program, false)).max(), Some(0));
            let place = |trainer: TrainerCommand| {
                let found = trainer.environment.into_iter().find(|(name, _)| *name == CHECKPOINTS_VARIABLE);
                found.map(|(_, place)| place)
            };
            (place(trainers.model), trainers.program.and_then(place), kept)
        };
        let own = Some("/s/checkpoints".to_owned());
        assert_eq!(place(&[]), (own.clone(), own, [ONLY_WHEN_ASKED, 0]));
        let given = Some("s3://b".to_owned());
        assert_eq!(place(&["--checkpoints", "s3://b"]), (given.clone(), given, [0, 0]));
    }

    #[test]
    fn a_worker_for_programs_alone_starts_no_trainer_ahead() {
        let ahead = |arguments: &[&str]| {
            options(arguments).trainers(&slot(), Path::new("/t"), Path::new("/s")).model.ahead
        };
        assert!(ahead(&["--allow-commands"]));
        assert!(!ahead(&["--allow-commands", "--programs-only"]));
    }
}
