//! What is swept: a built-in model, or a program of the user.

use std::{collections::BTreeMap, sync::Arc};

use terms::{
    Objective,
    manifest::{
        DatasetKind, Described, InPack, Manifest, ManifestMetric, ManifestParameter, ParameterKind, Progress,
        Scale,
    },
    snapshot::SnapshotId,
};

use crate::space::Axis;

/// The name of the manifest of a program.
pub const PROGRAM: &str = "program";

#[derive(Debug, Clone, PartialEq)]
pub enum Trainable {
    /// A model that trainers know, as its manifest describes it.
    Model(Described),
    /// A program that each job runs.
    Program(Arc<Program>),
}

/// A program of the user, and how it is run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Program {
    /// What `${program}` stands for, as in `program: train.py`.
    pub program: Option<String>,
    /// The command with its macros; empty for the usual one of `program`.
    pub command: Vec<String>,
    /// How parameters become arguments.
    pub arguments: ArgumentStyle,
    /// Variables of its environment, by name.
    pub env: Vec<(String, String)>,
    /// The parameter that is the number of epochs which a job trains at most; none where that is not known before.
    pub epochs_parameter: Option<String>,
    /// Which files next to the sweep file are sent to workers: paths and globs relative to it.
    pub files: Vec<String>,
    /// Those files as they were sent, which decide results; none where none were.
    pub snapshot: Option<SnapshotId>,
    /// Where its metrics come from, besides the channel, which is always available.
    pub metrics: MetricSource,
}

/// How parameters become arguments of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ArgumentStyle {
    /// As Python's `argparse` expects them: `--flag` for true, nothing for false and null.
    #[default]
    Argparse,
    /// As W&B writes them: `--flag=True`, `--flag=None`.
    Wandb,
}

/// Where the metrics of a program come from, besides the channel, which is always available.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MetricSource {
    /// A regular expression with named groups, for lines that the program prints.
    pub pattern: Option<String>,
    /// Path of a CSV file that the program writes, from its working folder.
    pub csv: Option<String>,
}

/// What one job occupies; none for one slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Resources {
    /// GPUs of the job: 1 has it run on the slot of a GPU, 0 hides the slot's GPU from it, and more are as many whole GPUs of one
    /// worker, which no other job uses meanwhile.
    pub gpus: Option<u32>,
    /// Processors of the job.
    pub cpus: Option<u32>,
    /// Jobs that share a GPU.
    pub per_gpu: Option<u32>,
}

impl Resources {
    /// How many whole GPUs a job occupies, where it has several.
    pub fn several_gpus(&self) -> Option<u32> {
        self.gpus.filter(|gpus| *gpus > 1)
    }
}

impl Trainable {
    /// Its name: a model's own, or [`PROGRAM`].
    pub fn name(&self) -> &str {
        match self {
            Self::Model(manifest) => &manifest.name,
            Self::Program(_) => PROGRAM,
        }
    }

    /// The model, where it is one.
    pub fn model(&self) -> Option<&Described> {
        match self {
            Self::Model(model) => Some(model),
            Self::Program(_) => None,
        }
    }

    /// The program, where it is one.
    pub fn program(&self) -> Option<&Program> {
        match self {
            Self::Model(_) => None,
            Self::Program(program) => Some(program),
        }
    }
}

impl ArgumentStyle {
    pub const ALL: [Self; 2] = [Self::Argparse, Self::Wandb];

    /// The name in sweep files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Argparse => "argparse",
            Self::Wandb => "wandb",
        }
    }
}

/// Says to a program which training of its point its job is, from 1.
const REPEAT_VARIABLE: &str = "SWEEP_REPEAT";

/// How many threads the usual libraries take, by their own variables.
const THREAD_VARIABLES: [&str; 4] =
    ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"];

impl Program {
    /// The same with what a job's resources mean for its environment, and which training of its point the job is, where there
    /// are several. What the sweep file says of a variable itself counts.
    pub fn for_job(self: &Arc<Self>, resources: &Resources, repeat: Option<u32>) -> Arc<Self> {
        let threads = resources.cpus.map(|cpus| THREAD_VARIABLES.map(|name| (name, cpus.to_string())));
        let hidden = (resources.gpus == Some(0)).then(|| ("CUDA_VISIBLE_DEVICES", String::new()));
        let repeat = repeat.map(|repeat| (REPEAT_VARIABLE, repeat.to_string()));
        let mut added = threads.into_iter().flatten().chain(hidden).chain(repeat).peekable();
        if added.peek().is_none() {
            return Arc::clone(self);
        }
        let mut program = Self::clone(self);
        for (name, value) in added {
            if !program.env.iter().any(|(known, _)| known == name) {
                program.env.push((name.to_owned(), value));
            }
        }
        Arc::new(program)
    }

    /// Roughly the memory that it takes.
    pub fn bytes(&self) -> usize {
        let texts = self
            .command
            .iter()
            .chain(&self.files)
            .chain(self.env.iter().flat_map(|(name, value)| [name, value]));
        let sources = [&self.program, &self.epochs_parameter, &self.metrics.pattern, &self.metrics.csv];
        let texts = texts.chain(sources.into_iter().flatten());
        size_of::<Self>() + texts.map(|text| size_of::<String>() + text.len()).sum::<usize>()
    }

    /// What the sweep file says of the program, as a manifest.
    pub(super) fn manifest(&self, axes: &[Axis], metric: &Objective) -> Manifest {
        let parameter = |axis: &Axis| ManifestParameter {
            name: axis.name.to_string(),
            kind: ParameterKind::Any,
            default: None,
            scale: Scale::Linear,
            in_pack: InPack::Shared,
            needs: BTreeMap::new(),
            below: None,
            meaning: String::new(),
        };
        let objective = metric.name.to_string();
        Manifest {
            name: PROGRAM.to_owned(),
            version: 1,
            meaning: self.program.clone().unwrap_or_default(),
            parameters: axes.iter().map(parameter).collect(),
            metrics: vec![ManifestMetric {
                redefined_by: Vec::new(),
                share_of: None,
                name: objective.clone(),
                unit: String::new(),
                goal: metric.goal,
                meaning: String::new(),
            }],
            objective,
            dataset: DatasetKind::None,
            progress: Progress::Epoch,
            budget: self.epochs_parameter.clone(),
            seed: None,
            resumes: true,
            packs: false,
        }
    }
}
