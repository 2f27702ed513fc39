//! Sweeps, jobs, attempts and epochs as rows of tables.

use proto::v1;
use report::Columns;
use terminal::output;
use terms::{JobState, MetricSchema, ParameterValue, SweepState};

use super::{
    failure::Failure,
    output::{Cell, Format, count, print_json, print_one},
};
use crate::shapes::{self, rows};

/// Most parameters and metrics in a table for people: a terminal is no wider.
const PARAMETERS_SHOWN_MAX: usize = 12;
const METRICS_SHOWN_MAX: usize = 6;

/// What jobs leave, as programs read it of any sweep, and people of a model's.
const WEIGHTS: &str = "weights";

/// Whether a sweep is of a program: only models have manifests.
pub(super) fn is_of_program(sweep: &v1::Sweep) -> bool {
    sweep.manifest.is_empty()
}

/// What a sweep's jobs leave, for people.
pub(super) fn left_by_jobs(sweep: &v1::Sweep) -> &'static str {
    if is_of_program(sweep) { "files" } else { WEIGHTS }
}

/// What became of what a job left, for people. `artifacts.keep` says how many of the best jobs keep it.
fn left_for_people(state: &str) -> &str {
    match state {
        "awaited" => "on their way",
        "dropped" => "not kept",
        "absent" => "missing",
        other => other,
    }
}

/// The state's name for people.
pub(super) fn job_state_name(state: v1::JobState) -> &'static str {
    JobState::try_from(state).ok().map_or("unknown", JobState::as_str)
}

/// Prints a sweep as it is after a command, for programs.
pub(super) fn print_sweep(sweep: &v1::Sweep, format: Format) -> Result<(), Failure> {
    if format == Format::Json {
        return print_json(&shapes::whole(sweep));
    }
    let (columns, row) = sweep_row(sweep);
    print_one(format, columns, row)
}

/// The state's name for people.
pub(super) fn sweep_state_name(state: v1::SweepState) -> &'static str {
    SweepState::try_from(state).ok().map_or("unknown", SweepState::as_str)
}

pub(super) fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// One sweep as a row with the names of its columns.
pub(super) fn sweep_row(sweep: &v1::Sweep) -> (Vec<String>, Vec<Cell>) {
    let counts = sweep.counts.unwrap_or_default();
    let has_owner = !sweep.owner.is_empty();
    let share = current_share(sweep);
    let quota = share.and_then(|share| share.quota);
    let columns = names(&[
        "id",
        "name",
        "state",
        "jobs",
        "pending",
        "running",
        "paused",
        "done",
        "diverged",
        "stopped",
        "failed",
        "cancelled",
        "best",
        "created",
        "owner",
        "priority",
        "owner_slots",
        "owner_quota",
    ]);
    let row = vec![
        Cell::Integer(sweep.sweep_id),
        Cell::Text(sweep.name.clone()),
        Cell::Text(sweep_state_name(sweep.state()).to_owned()),
        Cell::Integer(sweep.job_count),
        Cell::Integer(counts.pending),
        Cell::Integer(counts.running),
        Cell::Integer(counts.paused),
        Cell::Integer(counts.done),
        Cell::Integer(counts.diverged),
        Cell::Integer(counts.stopped),
        Cell::Integer(counts.failed),
        Cell::Integer(counts.cancelled),
        sweep.best.as_ref().map_or(Cell::Empty, |best| Cell::Mean(best.value, 4, best.trainings)),
        Cell::Time(sweep.created_unix_ms),
        if has_owner { Cell::Text(sweep.owner.clone()) } else { Cell::Empty },
        Cell::Parameter(ParameterValue::Integer(sweep.priority.into())),
        share.filter(|_| has_owner).map_or(Cell::Empty, |share| Cell::Integer(share.slots)),
        quota.map_or(Cell::Empty, |quota| Cell::Integer(quota.into())),
    ];
    (columns, row)
}

/// What its owner's jobs hold, and may; of a sweep that has ended it says nothing.
fn current_share(sweep: &v1::Sweep) -> Option<v1::Share> {
    sweep.share.filter(|_| sweep.ended_unix_ms == 0)
}

/// Which of the columns of [`sweep_row`] say something of these sweeps to people: where no one has an owner, a priority or a quota, as on
/// a laptop, those that are about them do not.
pub(super) fn telling_columns(sweeps: &[v1::Sweep]) -> Vec<bool> {
    let has_owner = |sweep: &&v1::Sweep| !sweep.owner.is_empty();
    let tells = |column: &String| match column.as_str() {
        "owner" => sweeps.iter().any(|sweep| has_owner(&sweep)),
        "owner_slots" => sweeps.iter().filter(has_owner).any(|sweep| current_share(sweep).is_some()),
        "priority" => sweeps.iter().any(|sweep| sweep.priority != 0),
        "owner_quota" => {
            sweeps.iter().any(|sweep| current_share(sweep).is_some_and(|share| share.quota.is_some()))
        }
        _ => true,
    };
    sweep_row(&v1::Sweep::default()).0.iter().map(tells).collect()
}

/// The columns of [`attempt_row`].
pub(super) const ATTEMPT_COLUMNS: [&str; 10] = [
    "attempt",
    "outcome",
    "worker",
    "slot",
    "device",
    "resumed_epochs",
    "pack_size",
    "granted",
    "ended",
    "reason",
];

pub(super) fn attempt_row(attempt: &v1::Attempt) -> Vec<Cell> {
    vec![
        Cell::Integer(attempt.attempt.into()),
        Cell::Text(attempt.outcome.clone()),
        Cell::Text(attempt.worker.clone()),
        Cell::Integer(attempt.slot.into()),
        Cell::Text(attempt.device.clone()),
        Cell::Integer(attempt.resumed_epochs.into()),
        Cell::Integer(attempt.pack_size.into()),
        Cell::Time(attempt.granted_unix_ms),
        Cell::Time(attempt.ended_unix_ms),
        Cell::Reason(attempt.reason.clone()),
    ]
}

/// The table of a sweep's epochs: metrics in the order in which they first came.
pub(super) fn epoch_table(
    metrics: &MetricSchema,
    objective: &str,
    epochs: Vec<v1::EpochRow>,
) -> (Vec<String>, Vec<Vec<Cell>>) {
    let own = Columns::new(&[], metrics, objective).of_epochs;
    let columns = names(&["epoch", "attempt"]).into_iter().chain(own).chain(names(&["epoch_seconds"]));
    let row = |row: v1::EpochRow| {
        let record = row.record.unwrap_or_default();
        let mut cells = vec![Cell::Integer(record.epoch.into()), Cell::Integer(row.attempt.into())];
        cells.extend(metrics.names().iter().map(|name| Cell::number(record.metric(name), 4)));
        cells.push(Cell::Number(record.epoch_seconds, 2));
        cells
    };
    (columns.collect(), epochs.into_iter().map(row).collect())
}

/// The table of a sweep's jobs.
pub(super) struct JobTable {
    parameters: Vec<String>,
    /// The objective first.
    metrics: Vec<String>,
    columns: Columns,
    /// What the column of what jobs leave is called, where there is one.
    left: Option<&'static str>,
    is_for_people: bool,
}

impl JobTable {
    /// A table with these parameters and with all metrics of the sweep.
    pub(super) fn new(parameters: &[String], sweep: &v1::Sweep) -> Self {
        let schema = rows::metrics(sweep, &sweep.metric_names);
        let objective = rows::objective(sweep).name;
        let columns = Columns::new(parameters, &schema, &objective);
        let others = schema.names().iter().filter(|name| **name != objective);
        let metrics = std::iter::once(&objective).chain(others).map(ToString::to_string).collect();
        let has_any = sweep.best_weights.is_some() || sweep.weights_awaited > 0;
        // Programs rarely leave anything.
        let left = (!is_of_program(sweep) || has_any).then_some(WEIGHTS);
        Self { parameters: parameters.to_vec(), metrics, columns, left, is_for_people: false }
    }

    /// As [`Self::new`], with as many columns as people can read; also how many were left out.
    pub(super) fn for_people(parameters: &[String], sweep: &v1::Sweep) -> (Self, usize) {
        let mut table = Self::new(parameters, sweep);
        let left_out = table.parameters.len().saturating_sub(PARAMETERS_SHOWN_MAX)
            + table.metrics.len().saturating_sub(METRICS_SHOWN_MAX);
        table.parameters.truncate(PARAMETERS_SHOWN_MAX);
        table.columns.parameters.truncate(PARAMETERS_SHOWN_MAX);
        table.metrics.truncate(METRICS_SHOWN_MAX);
        table.left = table.left.map(|_| left_by_jobs(sweep));
        table.is_for_people = true;
        table.columns.metrics.truncate(METRICS_SHOWN_MAX);
        (table, left_out)
    }

    /// The names of its columns.
    pub(super) fn columns(&self) -> Vec<String> {
        let Columns { parameters, metrics, best, .. } = &self.columns;
        let mut columns = names(&["job"]);
        columns.extend(parameters.iter().cloned());
        columns.extend(names(&["state", "attempts", "worker", "epochs_done", "train_seconds"]));
        columns.extend(metrics.iter().map(|(_, name)| name.clone()));
        columns.extend(names(&["best_epoch", best]));
        columns.extend(self.left.map(str::to_owned));
        columns.push("reason".to_owned());
        columns
    }

    /// A job as a row.
    pub(super) fn row(&self, job: &v1::Job) -> Vec<Cell> {
        let point = job.point.clone().unwrap_or_default();
        let parameters = proto::parameters_from_wire(point.parameters);
        let value =
            |name: &String| parameters.get(name).map_or(Cell::Empty, |value| Cell::Parameter(value.clone()));
        let mut row = vec![Cell::Integer(point.job)];
        row.extend(self.parameters.iter().map(value));
        row.extend([
            Cell::Text(job_state_name(job.state()).to_owned()),
            Cell::Integer(job.attempts.into()),
            Cell::Text(job.worker.clone()),
            Cell::Integer(job.epochs_done.into()),
            if job.epochs_done == 0 { Cell::Empty } else { Cell::Number(job.train_seconds, 2) },
        ]);
        row.extend(self.metrics.iter().map(|name| Cell::number(rows::metric_of(job, name), 4)));
        row.extend([
            job.best_epoch.map_or(Cell::Empty, |epoch| Cell::Integer(epoch.into())),
            Cell::number(rows::best_objective_of(job, &self.metrics[0]), 4),
        ]);
        let left = if self.is_for_people { left_for_people(&job.weights) } else { &job.weights };
        row.extend(self.left.map(|_| Cell::Text(left.to_owned())));
        row.push(Cell::Reason(job.reason.clone()));
        row
    }
}

/// The parameters that vary, for a line of text: `activation=relu learning_rate=0.0001`.
pub(super) fn short_point(point: &v1::JobPoint, varying: &[String]) -> String {
    let pairs: Vec<_> =
        shown_parameters(point, varying).iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join(" ")
}

/// The parameters that vary, or all if none does.
pub(super) fn shown_parameters(point: &v1::JobPoint, varying: &[String]) -> Vec<(String, ParameterValue)> {
    let mut parameters = proto::parameters_from_wire(point.parameters.clone()).0;
    parameters.retain(|(name, _)| varying.is_empty() || varying.contains(name));
    parameters
}

/// The parameters of the best configuration, with the keys that JSON has: a mean of several trainings has no seed.
pub(super) fn best_point(sweep: &v1::Sweep) -> Cell {
    shapes::listed(sweep).best_parameters.map_or(Cell::Empty, |shown| Cell::Point(shown.0.0))
}

/// Says how many columns a table for people lacks.
pub(super) fn say_left_out(columns: usize) {
    if columns > 0 {
        output::say(&format!("… and {}; -o csv and -o json have all", count(columns as u64, "more column")));
    }
}

/// Warns of parameters that no job has read.
pub(super) fn say_unread(names: &[String]) {
    if !names.is_empty() {
        output::say(&format!(
            "warning: the script never read: {}; see that its name is the same in the sweep file and in the script",
            names.join(", ")
        ));
    }
}

/// What is said of a sweep whose jobs cannot pause, for this reason.
pub(super) fn cannot_pause(why: &str) -> String {
    format!("warning: {why}; have the program keep checkpoints and go on from them")
}

/// Warns of jobs that cannot pause, where there is a reason.
pub(super) fn say_cannot_pause(why: &str) {
    if !why.is_empty() {
        output::say(&cannot_pause(why));
    }
}

#[cfg(test)]
mod tests {
    use terms::ParameterMap;

    use super::*;

    #[test]
    fn the_best_of_several_trainings_is_named_without_the_seed_of_one() {
        let of = |trainings| {
            let whole = |name: &str, value| (name.to_owned(), ParameterValue::Integer(value));
            let parameters = ParameterMap(vec![whole("batch_size", 32), whole("seed", 4)]);
            let parameters = proto::parameters_to_wire(parameters);
            let point = v1::JobPoint { job: 5, parameters };
            let best = v1::BestJob { point: Some(point), value: 0.9, trainings };
            best_point(&v1::Sweep {
                best: Some(best),
                varying: names(&["batch_size", "seed"]),
                specification: "model: simple_cnn\n".to_owned(),
                ..v1::Sweep::default()
            })
        };
        let batch_size = ("batch_size".to_owned(), ParameterValue::Integer(32));
        let seed = ("seed".to_owned(), ParameterValue::Integer(4));
        assert_eq!(of(3), Cell::Point(vec![batch_size.clone()]));
        assert_eq!(of(1), Cell::Point(vec![batch_size, seed]));
    }

    #[test]
    fn shares_of_owners_are_of_sweeps_that_have_not_ended() {
        let columns = sweep_row(&v1::Sweep::default()).0;
        let place = |name: &str| columns.iter().position(|column| column == name).unwrap();
        let of = |ended_unix_ms| v1::Sweep {
            owner: "ann".to_owned(),
            share: Some(v1::Share { slots: 3, quota: Some(4), ..v1::Share::default() }),
            ended_unix_ms,
            ..v1::Sweep::default()
        };
        let (goes_on, ended) = (of(0), of(1));
        for (name, value) in [("owner_slots", 3), ("owner_quota", 4)] {
            assert_eq!(sweep_row(&goes_on).1[place(name)], Cell::Integer(value));
            assert_eq!(sweep_row(&ended).1[place(name)], Cell::Empty);
            assert!(telling_columns(&[ended.clone(), goes_on.clone()])[place(name)]);
            assert!(!telling_columns(std::slice::from_ref(&ended))[place(name)]);
        }
        assert!(telling_columns(&[ended])[place("owner")]);
    }

    #[test]
    fn people_read_what_became_of_weights_and_programs_the_word_for_it() {
        let sweep = v1::Sweep { manifest: "{}".to_owned(), ..v1::Sweep::default() };
        let (programs, (people, _)) = (JobTable::new(&[], &sweep), JobTable::for_people(&[], &sweep));
        for (word, shown) in [
            ("kept", "kept"),
            ("awaited", "on their way"),
            ("dropped", "not kept"),
            ("absent", "missing"),
            ("", ""),
        ] {
            let job = v1::Job { weights: word.to_owned(), ..v1::Job::default() };
            let left = |table: &JobTable| {
                let place = table.columns().iter().position(|column| column == WEIGHTS).unwrap();
                table.row(&job).swap_remove(place)
            };
            assert_eq!(left(&programs), Cell::Text(word.to_owned()));
            assert_eq!(left(&people), Cell::Text(shown.to_owned()));
        }
    }
}
