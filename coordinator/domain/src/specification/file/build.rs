//! From what a file says to what it means: fills in what the file leaves out, and checks keys against each other.

use std::sync::Arc;

use terms::{ParameterValue, manifest::DatasetKind};

use super::{
    super::{
        Artifacts, DatasetSpecification, EarlyTermination, Execution, Goal, MetricSource, Models, Objective,
        Program, Resources, Specification, Trainable,
        early::{EARLY, EarlyKind, EarlyNumbers, Said},
        limits::{self, Of},
        models::usual_model,
    },
    axis::{RawAxis, RawParameters},
    epochs::check_epochs_parameter,
    raw::{RawDataset, RawEarly, RawExecution, RawFile, RawMetric},
    scalars::MethodName,
    scalars::is_name,
    suggestion::suggestion,
    together::{check_together, imply_conditions},
};
use crate::{
    points::Method,
    space::{Axis, Conditions, Name, PartialPoint, written_condition},
};

/// The report's image side, in pixels.
const IMAGE_SIZE_DEFAULT: u32 = 128;
/// The report's share of validation images.
const VAL_FRACTION_DEFAULT: f64 = 0.2;

/// What is wrong across keys, and the top-level key that the message names, with the parameter below it.
pub(super) struct Problem {
    pub(super) section: Option<&'static str>,
    pub(super) parameter: Option<Name>,
    pub(super) message: String,
}

impl Problem {
    /// What is wrong with a section.
    pub(super) fn of(section: &'static str, message: impl Into<String>) -> Self {
        Self { section: Some(section), parameter: None, message: message.into() }
    }

    /// What is wrong with a parameter.
    pub(super) fn of_parameter(name: &Name, message: impl Into<String>) -> Self {
        Self { parameter: Some(name.clone()), ..Self::of("parameters", message) }
    }

    fn missing(message: &str) -> Self {
        Self { section: None, parameter: None, message: message.to_owned() }
    }
}

/// The specification that a file stands for.
pub(super) fn build(mut raw: RawFile, models: &Models) -> Result<Specification, Problem> {
    let mut notes: Vec<String> = raw.unused.iter().map(|key| format!("`{key}` is not used here")).collect();
    let trainable = trainable(&mut raw, models)?;
    let name = match raw.name.take().or_else(|| usual_name(&trainable)) {
        Some(name) => name,
        None => return Err(Problem::missing("the key `name` is missing; add `name: my-sweep`")),
    };
    let dataset = match &trainable {
        Trainable::Model(manifest) if manifest.dataset == DatasetKind::Images => {
            Some(images(raw.dataset.unwrap_or_default())?)
        }
        _ => {
            no_dataset(&trainable, raw.dataset.as_ref())?;
            None
        }
    };
    let mut axes = axes(&trainable, raw.parameters.unwrap_or_default())?;
    let include = raw.include.unwrap_or_default();
    let exclude = raw.exclude.unwrap_or_default();
    if let Some(model) = trainable.model() {
        imply_conditions(model, &mut axes, &exclude, &mut notes)?;
    }
    let axes = checked_conditions(axes)?;
    check_points(&axes, &exclude, &include)?;
    check_epochs_parameter(&trainable, &axes, &include)?;
    if let Some(model) = trainable.model() {
        check_together(model, &axes, &exclude, &include)?;
    }
    let method = method(raw.method, raw.search_seed)?;
    if method == Method::External && raw.run_cap.is_none() {
        return Err(Problem::of(
            "method",
            "a search from outside has no end of its own; add `run_cap: 100` with the most jobs that it may have",
        ));
    }
    let repeats = raw.repeats.unwrap_or(1);
    check_repeats(&trainable, &axes, repeats)?;
    let target = raw.metric.as_ref().and_then(|metric| metric.target).flatten();
    let metric = metric(&trainable, raw.metric.unwrap_or_default(), &mut notes)?;
    let mut execution = Execution::default();
    raw.execution.unwrap_or_default().numbers.apply(limits::EXECUTION, &mut execution);
    let early_terminate = early(&trainable, raw.early_terminate, &mut notes)?;
    let mut specification = Specification {
        name,
        description: raw.description.unwrap_or_default(),
        metric,
        target,
        method,
        run_cap: raw.run_cap,
        repeats,
        dataset,
        axes,
        exclude,
        include,
        early_terminate,
        execution,
        resources: resources(&trainable, raw.resources)?,
        artifacts: raw.artifacts.and_then(|raw| raw.keep).map(|keep| Artifacts { keep }).unwrap_or_default(),
        trainable,
        notes,
    };
    specification.notes.extend(specification.note_on_metric());
    Ok(specification)
}

/// How points are chosen, and by which seed.
fn method(name: Option<MethodName>, seed: Option<u64>) -> Result<Method, Problem> {
    let of = |method: fn(u64) -> Method| Ok(method(seed.unwrap_or(0)));
    match name.unwrap_or(MethodName::Grid) {
        MethodName::Grid if seed.is_some() => Err(Problem::of(
            "search_seed",
            "has no effect, as a grid chooses nothing; remove it, or write `method: random`, `sobol` or `tpe`",
        )),
        MethodName::Grid => Ok(Method::Grid),
        MethodName::Random => of(|seed| Method::Random { seed }),
        MethodName::Sobol => of(|seed| Method::Sobol { seed }),
        MethodName::Tpe => of(|seed| Method::Tpe { seed }),
        MethodName::External if seed.is_some() => Err(Problem::of(
            "search_seed",
            "has no effect, as the searcher outside has a seed of its own; remove it",
        )),
        MethodName::External => Ok(Method::External),
    }
}

/// Each training of a point needs another seed, or all would be the same.
fn check_repeats(trainable: &Trainable, axes: &[Axis], repeats: u32) -> Result<(), Problem> {
    let Some(model) = trainable.model().filter(|_| repeats > 1) else { return Ok(()) };
    let Some(seed) = &model.seed else {
        let message = format!(
            "the model {} has no seed, so that all trainings of a point would be the same",
            model.name
        );
        return Err(Problem::of("repeats", message));
    };
    let axis = axes.iter().find(|axis| *axis.name == **seed).filter(|axis| axis.domain.is_constant());
    let Some(ParameterValue::Integer(first)) = axis.map(|axis| axis.domain.first()) else {
        let message = format!(
            "each training of a point has a `{seed}` that is 1 larger, so `{seed}` must have one value; give it one, or leave \
             `repeats` out"
        );
        return Err(Problem::of("repeats", message));
    };
    let last = first.checked_add(i64::from(repeats) - 1).map(ParameterValue::Integer);
    let fits = last.and_then(|last| model.parameter(seed)?.check(&last).ok()).is_some();
    let message = || {
        format!("`{seed}` would be counted up from {first} to more than it may be; give it a smaller value")
    };
    if fits { Ok(()) } else { Err(Problem::of("repeats", message())) }
}

/// Refuses a program's listed `seed` beside `repeats`: they would be two ways to say which trainings are of one configuration. Sweeps that are
/// stored, and more of them, may have both.
pub(super) fn check_seeds(specification: Specification) -> Result<Specification, Problem> {
    let is_program = specification.trainable.model().is_none();
    let seed = specification.axes.iter().find(|axis| &*axis.name == "seed" && !axis.domain.is_constant());
    if !is_program || specification.repeats < 2 || seed.is_none() {
        return Ok(specification);
    }
    Err(Problem::of(
        "repeats",
        "the parameter `seed` has several values already, and trainings that differ in it alone are of one configuration; leave `repeats` \
         out, or `seed`, and make the seed of the number in SWEEP_REPEAT",
    ))
}

/// What is swept: a model or a program, never both.
fn trainable(raw: &mut RawFile, models: &Models) -> Result<Trainable, Problem> {
    let (program, command) = (raw.program.take(), raw.command.take());
    let execution = raw.execution.get_or_insert_default();
    if program.is_none() && command.is_none() {
        let model = Trainable::Model(match raw.model.take() {
            None => usual_model().clone(),
            Some(name) => models.get(&name).ok_or_else(|| unknown_model(&name, models))?.clone(),
        });
        return only_of_models(&model, execution, raw.metrics.is_some()).map(|()| model);
    }
    if raw.model.is_some() {
        return Err(Problem::of(
            "model",
            "a sweep is of a model or of a program; remove `model`, or `program` and `command`",
        ));
    }
    if let Some(key) = execution.numbers.of(Of::Models, limits::EXECUTION) {
        return Err(Problem::of(
            "execution",
            format!("`{key}` is for models; a program decides this by itself"),
        ));
    }
    let command = command.unwrap_or_default();
    if program.is_none() && command.iter().any(|argument| argument.contains("${program}")) {
        return Err(Problem::of(
            "command",
            "`${program}` stands for `program`, which is missing; add `program: train.py`",
        ));
    }
    let metrics = raw.metrics.take().unwrap_or_default();
    let files = execution.files.take().unwrap_or_else(|| program.clone().into_iter().collect());
    Ok(Trainable::Program(Arc::new(Program {
        program,
        command,
        arguments: execution.arguments.take().unwrap_or_default(),
        env: execution.env.take().unwrap_or_default().into_iter().collect(),
        epochs_parameter: execution.epochs_parameter.take(),
        files,
        snapshot: execution.snapshot.take(),
        metrics: MetricSource {
            pattern: metrics.pattern.map(|pattern| pattern.0),
            csv: metrics.csv.map(|path| path.0),
        },
    })))
}

/// A model that is not there: which there are, and how others come to be known.
fn unknown_model(name: &str, models: &Models) -> Problem {
    let names = models.names();
    let hint = match suggestion(name, names.iter().copied()) {
        none if none.is_empty() => ".".to_owned(),
        hint => hint,
    };
    let message = format!(
        "there is no model `{name}` here, only {}{hint} A coordinator knows the models of the workers that are connected \
         (`sweep-worker start --trainer COMMAND`), and of others what --manifest FILE says, which `sweep-worker describe --trainer \
         COMMAND` prints",
        names.join(", ")
    );
    Problem::of("model", message)
}

/// Refuses keys that only programs have.
fn only_of_models(model: &Trainable, execution: &RawExecution, has_metrics: bool) -> Result<(), Problem> {
    let name = model.name();
    let refused = [
        ("arguments", execution.arguments.is_some()),
        ("epochs_parameter", execution.epochs_parameter.is_some()),
        ("env", execution.env.is_some()),
        ("files", execution.files.is_some()),
        ("snapshot", execution.snapshot.is_some()),
    ];
    let refused = refused.into_iter().find(|(_, is_there)| *is_there).map(|(key, _)| key);
    if let Some(key) = refused.or_else(|| execution.numbers.of(Of::Programs, limits::EXECUTION)) {
        let message = format!(
            "`{key}` is for programs (`program: train.py`), and this is a sweep of {name}; remove it"
        );
        return Err(Problem::of("execution", message));
    }
    if has_metrics {
        let message =
            format!("says where a program's metrics come from, and this is a sweep of {name}; remove it");
        return Err(Problem::of("metrics", message));
    }
    Ok(())
}

/// The name of a sweep of a program where the file gives none.
fn usual_name(trainable: &Trainable) -> Option<String> {
    let program = trainable.program()?.program.as_deref()?;
    let name = std::path::Path::new(program).file_stem()?.to_str()?;
    is_name(name).then(|| name.to_owned())
}

fn images(raw: RawDataset) -> Result<DatasetSpecification, Problem> {
    let path = raw.path.ok_or_else(|| {
        Problem::missing(
            "the key `dataset.path` is missing; add `dataset: {path: FOLDER}` or give --dataset FOLDER",
        )
    })?;
    if raw.val_path.is_some() && raw.val_fraction.is_some() {
        let message =
            "`val_path` names the validation set, so `val_fraction` has no effect; remove one of them";
        return Err(Problem::of("dataset", message));
    }
    Ok(DatasetSpecification {
        path,
        val_path: raw.val_path,
        image_size: raw.image_size.unwrap_or(IMAGE_SIZE_DEFAULT),
        val_fraction: raw.val_fraction.unwrap_or(VAL_FRACTION_DEFAULT),
        split_seed: raw.split_seed.unwrap_or(0),
    })
}

fn no_dataset(trainable: &Trainable, raw: Option<&RawDataset>) -> Result<(), Problem> {
    match (raw, trainable) {
        (None, _) => Ok(()),
        (Some(_), Trainable::Program(_)) => Err(Problem::of(
            "dataset",
            "a program finds its data by itself; remove `dataset` (and --dataset) and tell it the path by a parameter, as in \
             `parameters: {data: {value: /data/train}}`",
        )),
        (Some(_), Trainable::Model(model)) => Err(Problem::of(
            "dataset",
            format!("the model {} takes no data set; remove `dataset` (and --dataset)", model.name),
        )),
    }
}

/// A model's parameters in its order, with defaults where the file says nothing; a program's in the order of the file.
fn axes(trainable: &Trainable, given: RawParameters) -> Result<Vec<Axis>, Problem> {
    let of = |raw: RawAxis| Axis { name: raw.name, domain: raw.domain, when: raw.when.unwrap_or_default() };
    let mut given: Vec<Axis> = given.0.into_iter().map(of).collect();
    let Trainable::Model(manifest) = trainable else { return Ok(given) };
    let mut axes = Vec::new();
    for parameter in &manifest.parameters {
        if let Some(position) = given.iter().position(|axis| *axis.name == *parameter.name) {
            axes.push(given.swap_remove(position));
            continue;
        }
        let default = parameter.default.clone().ok_or_else(|| {
            let message = format!("`{}` is missing; it must be {}", parameter.name, parameter.kind.range());
            Problem::of("parameters", message)
        })?;
        axes.push(Axis::listed(parameter.name.as_str(), vec![default]));
    }
    Ok(axes)
}

fn checked_conditions(axes: Vec<Axis>) -> Result<Vec<Axis>, Problem> {
    match Conditions::new(&axes) {
        Ok(_) => Ok(axes),
        Err(error) => Err(Problem::of("parameters", error.to_string())),
    }
}

/// Checks that the points name existing parameters, and each point of `include` all that it must.
fn check_points(axes: &[Axis], exclude: &[PartialPoint], include: &[PartialPoint]) -> Result<(), Problem> {
    let is_there = |name: &str| axes.iter().any(|axis| *axis.name == *name);
    for (section, points) in [("exclude", exclude), ("include", include)] {
        let names = points.iter().flatten().map(|(name, _)| name);
        if let Some(name) = names.into_iter().find(|name| !is_there(name)) {
            return Err(Problem::of(section, format!("`{name}` is not one of the `parameters`")));
        }
    }
    let is_drawn = |name: &str| axes.iter().any(|axis| *axis.name == *name && axis.domain.cells().is_none());
    if let Some((name, value)) = exclude.iter().flatten().find(|(name, _)| is_drawn(name)) {
        let message = format!(
            "`{name}` is drawn from infinitely many values and hardly ever is exactly {value}, so excluding that has no effect; \
             remove it"
        );
        return Err(Problem::of("exclude", message));
    }
    // The axes have passed this check already.
    let conditions = Conditions::new(axes).unwrap_or_default();
    for (position, point) in include.iter().enumerate() {
        let values = crate::space::completed(axes, &conditions, point);
        for (axis, value) in axes.iter().zip(&values) {
            let is_named = point.iter().any(|(name, _)| *name == axis.name);
            let (entry, name) = (position + 1, &axis.name);
            let message = match value {
                Some(_) if !is_named && !axis.domain.is_constant() => match axis.values().len() {
                    0 => format!("entry {entry} must give `{name}`, which has many values in `parameters`"),
                    values => {
                        format!("entry {entry} must give `{name}`, which has {values} values in `parameters`")
                    }
                },
                None if is_named => format!(
                    "entry {entry} gives `{name}`, which has no value there, only where {}",
                    written_condition(&axis.when)
                ),
                _ => continue,
            };
            return Err(Problem::of("include", message));
        }
    }
    Ok(())
}

fn metric(trainable: &Trainable, raw: RawMetric, notes: &mut Vec<String>) -> Result<Objective, Problem> {
    let used = raw.used.unwrap_or_default();
    match trainable {
        Trainable::Model(manifest) => {
            let name = raw.name.unwrap_or_else(|| manifest.objective.as_str().into());
            let goal = manifest.metric(&name).map(|metric| metric.goal);
            let goal = raw.goal.or(goal).unwrap_or(Goal::Minimize);
            Ok(Objective { name, goal, used })
        }
        Trainable::Program(_) => {
            let name = raw.name.ok_or_else(|| {
                Problem::missing(
                    "the key `metric.name` is missing, so that jobs cannot be compared; add \
                     `metric: {name: val_loss, goal: minimize}` with a metric that the program reports",
                )
            })?;
            if raw.goal.is_none() {
                notes.push(format!(
                    "`metric.goal` is not given, so a smaller {name} is better; write `goal: maximize` for the other way"
                ));
            }
            Ok(Objective { name, goal: raw.goal.unwrap_or(Goal::Minimize), used })
        }
    }
}

/// What a program does at a rung is not known before it runs.
const STOPS_PROGRAMS: &str = "`early_terminate` stops jobs of a program where it would pause jobs of a model; write `promote: true` \
                              there if the program saves checkpoints to SWEEP_CHECKPOINT_DIR and continues from them";

/// What a program needs where its jobs pause.
const PAUSES_PROGRAMS: &str = "`early_terminate` pauses jobs: at a rung, `sweep.report` returns True, the program gets SIGTERM, and a job that goes on is \
                               started again; have the program save checkpoints to SWEEP_CHECKPOINT_DIR and continue from them, \
                               or such a job trains again from its first epoch";

/// What is not known of a program whose number of epochs is not, where jobs are compared before their ends.
const END_IS_UNKNOWN: &str = "how many epochs a job trains is not known before, so that one whose last epoch is a rung is not done there; \
                              `execution: {epochs_parameter: epochs}` says which parameter it is";

fn early(
    trainable: &Trainable,
    raw: Option<RawEarly>,
    notes: &mut Vec<String>,
) -> Result<Option<EarlyTermination>, Problem> {
    let Some(RawEarly { kind, numbers: given, strict, promote }) = raw else { return Ok(None) };
    let problem = |message: String| Problem::of("early_terminate", message);
    let kind =
        kind.ok_or_else(|| problem("`type` is missing: asha, hyperband, median or top_k".to_owned()))?;
    let mut numbers = EarlyNumbers::default();
    given.apply(EARLY, &mut numbers);
    let pauses = trainable.model().is_some_and(|model| model.resumes);
    let early = EarlyTermination::said(&Said { kind, numbers, strict, promote }, pauses).map_err(problem)?;
    let end_is_unknown = |program: &Program| program.epochs_parameter.is_none() && kind != EarlyKind::Median;
    match trainable {
        Trainable::Model(model) if early.promote && !pauses => {
            return Err(problem(format!(
                "jobs of the model {} cannot pause, as it does not continue from checkpoints; write `promote: false`, which \
                 stops them instead",
                model.name
            )));
        }
        Trainable::Program(_) if promote.is_none() && kind != EarlyKind::Median && !early.promote => {
            notes.push(STOPS_PROGRAMS.to_owned());
        }
        Trainable::Program(_) if early.promote => notes.push(PAUSES_PROGRAMS.to_owned()),
        _ => {}
    }
    if trainable.program().is_some_and(end_is_unknown) {
        notes.push(END_IS_UNKNOWN.to_owned());
    }
    Ok(Some(early))
}

fn resources(trainable: &Trainable, raw: Option<super::numbers::Numbers>) -> Result<Resources, Problem> {
    let mut resources = Resources::default();
    let Some(raw) = raw else { return Ok(resources) };
    if trainable.program().is_none() {
        let name = trainable.name();
        let message =
            format!("is for programs; a job of {name} takes one slot, as its trainer trains on one device");
        return Err(Problem::of("resources", message));
    }
    raw.apply(limits::RESOURCES, &mut resources);
    if resources.per_gpu.is_some_and(|jobs| jobs > 1) && resources.gpus.is_some_and(|gpus| gpus != 1) {
        let message = "`per_gpu` lets several jobs share one GPU, so `gpus` must be 1 or be left out";
        return Err(Problem::of("resources", message));
    }
    Ok(resources)
}
