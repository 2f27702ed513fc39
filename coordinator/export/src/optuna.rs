//! An Optuna storage: an SQLite file with a study whose trials are the jobs.
//!
//! Of Optuna's storages this is the one whose tables have a version that Optuna checks and migrates; the log of its journal has none.

mod distribution;

use std::path::Path;

use report::{Columns, Epoch, Job, Ranking, Sweep, view};
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use serde_json::{Value, json};
use terms::{Goal, JobState};

use self::distribution::Distribution;
use super::{Export, ExportError, Identity, place::Held, space};
use crate::space::Parameter;

/// The tables as Optuna makes them.
const TABLES: &str = include_str!("optuna/schema.sql");
/// The version of the tables, by the number that Optuna no longer changes and by the one of its migrations, and the Optuna whose they are.
const SCHEMA: i64 = 12;
const REVISION: &str = "v3.2.0.a";
const OPTUNA: &str = "5.0.0";
/// The only study, and its only objective.
const STUDY: i64 = 1;
const OBJECTIVE: i64 = 0;
/// The attribute of the study that says of which sweep it is.
const SWEEP: &str = "sweep";
/// The attribute of a trial that says of which job it is: a trial that Optuna added has none.
const JOB: &str = "job";

/// A storage that is being written.
pub struct OptunaFile {
    connection: Connection,
    sweep: Sweep,
    parameters: Vec<Parameter>,
    distributions: Vec<Distribution>,
    columns: Columns,
    ranking: Ranking,
    /// Trials so far.
    trials: i64,
    /// Jobs that have none.
    not_begun: u64,
}

impl OptunaFile {
    /// Begins it in a new file.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn create(path: &Path, sweep: &Sweep, parameters: Vec<Parameter>) -> Result<Self, ExportError> {
        let connection = Connection::open(path)?;
        // The file gets its name once it is whole and on disk: until then nothing of it needs to survive.
        connection.pragma_update(None, "journal_mode", "OFF")?;
        connection.pragma_update(None, "synchronous", "OFF")?;
        connection.execute_batch("BEGIN")?;
        connection.execute_batch(TABLES)?;
        let export = Self {
            connection,
            distributions: parameters.iter().map(Distribution::new).collect(),
            parameters,
            columns: Columns::new(&sweep.parameters, &sweep.metrics, &sweep.objective.name),
            ranking: Ranking::new(sweep.objective.clone(), &sweep.metrics),
            sweep: sweep.clone(),
            trials: 0,
            not_begun: 0,
        };
        export.write_study()?;
        Ok(export)
    }

    fn write_study(&self) -> Result<(), ExportError> {
        let Self { connection, sweep, .. } = self;
        connection.execute("INSERT INTO alembic_version VALUES (?1)", [REVISION])?;
        connection.execute("INSERT INTO version_info VALUES (1, ?1, ?2)", params![SCHEMA, OPTUNA])?;
        let name = format!("{}-{}", sweep.name, sweep.id);
        connection.execute("INSERT INTO studies VALUES (?1, ?2)", params![STUDY, name])?;
        let direction = match sweep.objective.goal {
            Goal::Maximize => "MAXIMIZE",
            Goal::Minimize => "MINIMIZE",
        };
        connection.execute(
            "INSERT INTO study_directions VALUES (1, ?1, ?2, ?3)",
            params![direction, STUDY, OBJECTIVE],
        )?;
        let about = serde_json::to_string(&Identity::of(sweep)).map_err(std::io::Error::from)?;
        connection.execute(
            "INSERT INTO study_user_attributes VALUES (1, ?1, ?2, ?3)",
            params![STUDY, SWEEP, about],
        )?;
        let names = json!([&*sweep.objective.name]).to_string();
        connection.execute(
            "INSERT INTO study_system_attributes VALUES (1, ?1, 'study:metric_names', ?2)",
            params![STUDY, names],
        )?;
        Ok(())
    }

    fn write_trial(&mut self, job: &Job, state: &str) -> Result<(), ExportError> {
        let mut insert =
            self.connection.prepare_cached("INSERT INTO trials VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
        // A job that was cancelled before it began ended with its sweep.
        let ended = if job.ended_unix_ms == 0 { self.sweep.ended_unix_ms } else { job.ended_unix_ms };
        let ended = if state == "RUNNING" { None } else { date(ended) };
        // Optuna counts from 0, and numbers the trials that it adds by how many there are: a gap would give one number to two.
        let (id, began) = (whole(job.number), date(job.started_unix_ms));
        insert.execute(params![id, self.trials, STUDY, state, began, ended])?;
        self.trials += 1;
        Ok(())
    }

    fn write_parameters(&mut self, job: &Job) -> Result<(), ExportError> {
        let Self { connection, parameters, distributions, .. } = self;
        let mut insert = connection.prepare_cached(
            "INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json) VALUES (?1, ?2, ?3, ?4)",
        )?;
        let values = space::values(parameters, &job.parameters).zip(distributions);
        for ((parameter, value), distribution) in values {
            if let Some(number) = value.and_then(|value| distribution.take(value)) {
                insert.execute(params![whole(job.number), parameter.name, number, distribution.first()])?;
            }
        }
        Ok(())
    }

    fn write_values(&self, job: &Job, value: Option<f64>, epochs: &[Epoch]) -> Result<(), ExportError> {
        if let Some(value) = value {
            let mut insert = self.connection.prepare_cached(
                "INSERT INTO trial_values (trial_id, objective, value, value_type) VALUES (?1, ?2, ?3, 'FINITE')",
            )?;
            insert.execute(params![whole(job.number), OBJECTIVE, value])?;
        }
        let mut insert = self.connection.prepare_cached(
            "INSERT INTO trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type) \
             VALUES (?1, ?2, ?3, ?4)",
        )?;
        for epoch in epochs {
            if let Some(value) = self.ranking.of_row(&epoch.metrics) {
                let finite = Some(value).filter(|value| value.is_finite());
                insert.execute(params![whole(job.number), epoch.number, finite, kind_of(value)])?;
            }
        }
        Ok(())
    }

    fn write_attributes(&self, job: &Job, epochs: &[Epoch]) -> Result<(), ExportError> {
        let mut insert = self.connection.prepare_cached(
            "INSERT INTO trial_user_attributes (trial_id, \"key\", value_json) VALUES (?1, ?2, ?3)",
        )?;
        let mut attribute = |key: &str, value: Value| {
            insert.execute(params![whole(job.number), key, value.to_string()]).map(drop)
        };
        attribute(JOB, job.number.into())?;
        attribute("state", job.state.map_or("unknown", JobState::as_str).into())?;
        if job.attempts > 0 {
            attribute("attempts", job.attempts.into())?;
            attribute("worker", job.worker.as_str().into())?;
            attribute("epochs_done", job.epochs_done.into())?;
            attribute("train_seconds", view::number(Some(job.train_seconds)))?;
        }
        if !job.reason.is_empty() {
            attribute("reason", job.reason.as_str().into())?;
        }
        if let Some((epoch, value)) = self.ranking.best_of(job, epochs) {
            attribute("best_epoch", epoch.into())?;
            attribute(&self.columns.best, view::number(Some(value)))?;
        }
        for (index, name) in &self.columns.metrics {
            if let Some(value) = index.and_then(|index| job.metrics.get(index)) {
                attribute(name, view::number(Some(value)))?;
            }
        }
        Ok(())
    }
}

impl Export for OptunaFile {
    fn job(&mut self, job: &Job, epochs: &[Epoch]) -> Result<(), ExportError> {
        let value = self.ranking.value(job, epochs).map(|(_, value)| value).filter(|value| value.is_finite());
        let Some(state) = state_of(job, value) else {
            self.not_begun += 1;
            return Ok(());
        };
        self.write_trial(job, state)?;
        self.write_parameters(job)?;
        self.write_values(job, value.filter(|_| ["COMPLETE", "PRUNED"].contains(&state)), epochs)?;
        self.write_attributes(job, epochs)
    }

    fn finish(self: Box<Self>) -> Result<Vec<String>, ExportError> {
        let mut notes = Vec::new();
        if self.not_begun > 0 {
            notes.push(format!(
                "{} of the jobs have not begun, and have no trial: Optuna would train those that wait for it",
                self.not_begun
            ));
        }
        // Optuna compares trials whose distributions are the same: all have the one that holds every value.
        self.connection
            .execute_batch("CREATE TEMP TABLE whole (name TEXT PRIMARY KEY, json TEXT NOT NULL)")?;
        for (parameter, distribution) in self.parameters.iter().zip(&self.distributions) {
            if let Some(widened) = distribution.widened() {
                let row = params![parameter.name, widened];
                self.connection.execute("INSERT INTO temp.whole VALUES (?1, ?2)", row)?;
            }
            if distribution.unfit() > 0 {
                notes.push(format!(
                    "{} trials lack the parameter `{}`: their values are of another type than the sweep file says, or too many",
                    distribution.unfit(),
                    parameter.name
                ));
            }
        }
        self.connection.execute_batch(
            "UPDATE trial_params SET distribution_json = (SELECT json FROM temp.whole WHERE name = param_name) \
             WHERE param_name IN (SELECT name FROM temp.whole); COMMIT",
        )?;
        self.connection.close().map_err(|(_, error)| error)?;
        Ok(notes)
    }
}

/// The state of a job's trial. Only trials with a number can be complete, as only jobs with one can be the best. A job that waits for the sweep
/// has none: Optuna takes a trial that waits before it proposes a point of its own, and would train what the sweep will train.
fn state_of(job: &Job, value: Option<f64>) -> Option<&'static str> {
    Some(match job.state {
        Some(JobState::Done) if value.is_some() => "COMPLETE",
        Some(JobState::Stopped) => "PRUNED",
        Some(JobState::Running | JobState::Paused) => "RUNNING",
        Some(JobState::Pending) if job.attempts > 0 => "RUNNING",
        Some(JobState::Pending) => return None,
        Some(JobState::Done | JobState::Diverged | JobState::Failed | JobState::Cancelled) | None => "FAIL",
    })
}

/// What Optuna says of a value whose number it does not keep.
fn kind_of(value: f64) -> &'static str {
    match value {
        value if value.is_nan() => "NAN",
        f64::INFINITY => "INF_POS",
        f64::NEG_INFINITY => "INF_NEG",
        _ => "FINITE",
    }
}

/// A moment as SQLAlchemy keeps it: in UTC, with six digits of a second.
fn date(unix_ms: u64) -> Option<String> {
    let time = view::time(unix_ms)?;
    Some(format!("{}000", time.trim_end_matches('Z').replace('T', " ")))
}

/// A number of a sweep's job or epoch, as SQLite has it.
fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// What an existing file holds. One with more than an export wrote, other studies or trials, is not an export any more.
pub(super) fn held(path: &Path) -> Held {
    let identity = || -> rusqlite::Result<Option<String>> {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let about = "SELECT value_json FROM study_user_attributes WHERE \"key\" = ?1 \
                     AND (SELECT COUNT(*) FROM studies) = 1 \
                     AND (SELECT COUNT(*) FROM trials) = (SELECT COUNT(*) FROM trial_user_attributes WHERE \"key\" = ?2)";
        connection.query_row(about, [SWEEP, JOB], |row| row.get(0)).optional()
    };
    let about = identity().ok().flatten().and_then(|about| serde_json::from_str(&about).ok());
    about.map_or(Held::Other, Held::Export)
}

#[cfg(test)]
mod tests;
