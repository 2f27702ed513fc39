//! `sweep export --to mlflow`: a run for each job, written to a server.
//!
//! A run that is whole says so in its last tag, together with what its job was. So an export that is made again leaves those alone,
//! and removes what another left half-written. Metrics are appended and not replaced: whatever may have been written twice is
//! written again from the beginning.

mod server;

use std::{collections::HashMap, sync::Arc};

use export::{JOB_TAG, MlflowExperiment, MlflowRun, SWEEP_TAG, WRITTEN_TAG};
use serde_json::{Value, json};
use terminal::output::say;
use tokio::task::JoinSet;

use self::server::{Refusal, Repeat, Server};
use crate::cli::{failure::Failure, rows::SweepRows};

/// Runs that are written at the same time: a server answers most of its time from a database, and more make it no faster.
const RUNS_AT_A_TIME: usize = 8;
/// Runs that are asked for at a time: each comes with all its parameters and metrics.
const FOUND_AT_A_TIME: u32 = 200;
/// How often a run is begun again where no one knows what became of a request.
const RUN_TRIES_MAX: u32 = 3;

/// What came of an export.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Runs that were written.
    pub(super) written: u64,
    /// Runs that were there.
    pub(super) kept: u64,
    /// Jobs without a run.
    pub(super) not_begun: u64,
    /// Where they are, for people.
    pub(super) place: String,
}

/// A run that the server has.
#[derive(Debug)]
struct Found {
    id: String,
    /// What its job was when it was whole.
    written: Option<String>,
}

/// What all runs share.
#[derive(Debug)]
struct Target {
    server: Server,
    experiment: String,
}

/// Writes a sweep to the server that `url` names, into the experiment of this name.
pub(super) async fn write(
    mut rows: SweepRows<'_>,
    url: Option<&str>,
    name: Option<&str>,
) -> Result<Written, Failure> {
    let server = Server::new(url)?;
    let experiment = MlflowExperiment::new(&rows.sweep);
    let (id, name) = match name {
        Some(name) => named(&server, &experiment, name).await?,
        None => own_experiment(&server, &experiment).await?,
    };
    if let Some(names) = experiment.other_names() {
        say(&format!("note: MLflow does not take some names, which have others there: {names}"));
    }
    let place = format!("experiment {name} at {}", server.address());
    let mut found =
        runs(&server, &id, None).await.map_err(|refusal| failed(&server, "its runs", &refusal))?;
    let target = Arc::new(Target { server, experiment: id });
    let mut outcome = Written { place, ..Written::default() };
    let mut writing: JoinSet<Result<bool, Failure>> = JoinSet::new();
    while let Some((job, epochs)) = rows.next().await? {
        let Some(run) = experiment.run(&job, &epochs) else {
            outcome.not_begun += 1;
            continue;
        };
        while writing.len() >= RUNS_AT_A_TIME {
            outcome.count(&mut writing).await?;
        }
        let (target, before) = (Arc::clone(&target), found.remove(&run.job).unwrap_or_default());
        writing.spawn(async move { target.bring_up_to_date(&run, before).await });
    }
    while !writing.is_empty() {
        outcome.count(&mut writing).await?;
    }
    rows.warn_of_later("the export");
    Ok(outcome)
}

impl Written {
    /// Waits for one of the runs that are being written.
    async fn count(&mut self, writing: &mut JoinSet<Result<bool, Failure>>) -> Result<(), Failure> {
        let Some(ended) = writing.join_next().await else { return Ok(()) };
        let ended = ended
            .map_err(|error| Failure::operation(format!("a run was not written: {error}; this is a bug")))?;
        if ended? {
            self.written += 1;
        } else {
            self.kept += 1;
        }
        Ok(())
    }
}

/// The sweep's experiment, which is made if missing; its id and name. It is found by its tag, as the sweep may have had another name when it
/// was made, and by the name that it has now where there are several.
async fn own_experiment(server: &Server, experiment: &MlflowExperiment) -> Result<(String, String), Failure> {
    let name = experiment.name();
    let mut found = match tagged(server, experiment).await {
        Ok(found) => found,
        // An older server that searches no experiments; one that lets no one in says so again.
        Err(Refusal::Refused { .. }) => Vec::new(),
        Err(refusal) => return Err(failed(server, "the experiment of the sweep", &refusal)),
    };
    found.sort_by_key(|(made, _, found)| (*found != name, *made));
    match found.into_iter().next() {
        Some((_, id, name)) => Ok((id, name)),
        None => named(server, experiment, &name).await,
    }
}

/// The experiments with the sweep's tag: when each was made, its id and its name.
async fn tagged(
    server: &Server,
    experiment: &MlflowExperiment,
) -> Result<Vec<(u64, String, String)>, Refusal> {
    let Some(mut asked) = experiment.search() else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    loop {
        let answer = server.post("experiments/search", &asked, Repeat::May).await?;
        let items = answer["experiments"].as_array().into_iter().flatten();
        let own = items
            .filter(|one| tag(&one["tags"], SWEEP_TAG).is_some_and(|tag| experiment.is_own(&tag)))
            .filter_map(|one| {
                let made = one["creation_time"].as_u64().unwrap_or(u64::MAX);
                Some((made, text(&one["experiment_id"])?, text(&one["name"])?))
            });
        found.extend(own);
        match text(&answer["next_page_token"]).filter(|token| !token.is_empty()) {
            Some(token) => asked["page_token"] = token.into(),
            None => return Ok(found),
        }
    }
}

/// The experiment of this name, which is made if missing; its id and name.
async fn named(
    server: &Server,
    experiment: &MlflowExperiment,
    name: &str,
) -> Result<(String, String), Failure> {
    let what = format!("the experiment {name}");
    let found = match server.get("experiments/get-by-name", ("experiment_name", name)).await {
        Err(Refusal::Refused { code, .. }) if code == "RESOURCE_DOES_NOT_EXIST" => {
            let created = server.post("experiments/create", &experiment.create(name), Repeat::MayNot).await;
            let created = created.map_err(|refusal| failed(server, &what, &refusal))?;
            let id = text(&created["experiment_id"]).ok_or_else(|| no_answer(server, &what))?;
            return Ok((id, name.to_owned()));
        }
        found => found.map_err(|refusal| failed(server, &what, &refusal))?,
    };
    let found = &found["experiment"];
    if found["lifecycle_stage"] == "deleted" {
        return Err(Failure::operation(format!(
            "{what} at {} is deleted; restore it, remove it for good (`mlflow gc`), or name another with --experiment",
            server.address()
        )));
    }
    if !tag(&found["tags"], SWEEP_TAG).is_some_and(|tag| experiment.is_own(&tag)) {
        return Err(Failure::operation(format!(
            "{what} at {} is not of this sweep; name another with --experiment",
            server.address()
        )));
    }
    let id = text(&found["experiment_id"]).ok_or_else(|| no_answer(server, &what))?;
    Ok((id, name.to_owned()))
}

/// The runs of an experiment by the numbers of their jobs; those of one job, where one is asked for.
async fn runs(
    server: &Server,
    experiment: &str,
    job: Option<u64>,
) -> Result<HashMap<u64, Vec<Found>>, Refusal> {
    let filter = job.map_or(String::new(), |job| format!("tags.`{JOB_TAG}` = '{job}'"));
    let mut asked = json!({
        "experiment_ids": [experiment],
        "filter": filter,
        "max_results": FOUND_AT_A_TIME,
        "run_view_type": "ACTIVE_ONLY",
    });
    let mut found: HashMap<u64, Vec<Found>> = HashMap::new();
    loop {
        let answer = server.post("runs/search", &asked, Repeat::May).await?;
        for run in answer["runs"].as_array().into_iter().flatten() {
            let tags = &run["data"]["tags"];
            let job = tag(tags, JOB_TAG).and_then(|job| job.parse().ok());
            if let Some((job, id)) = job.zip(text(&run["info"]["run_id"])) {
                let written = tag(tags, WRITTEN_TAG);
                found.entry(job).or_default().push(Found { id, written });
            }
        }
        match text(&answer["next_page_token"]).filter(|token| !token.is_empty()) {
            Some(token) => asked["page_token"] = token.into(),
            None => return Ok(found),
        }
    }
}

impl Target {
    /// Writes a run unless the server has it whole; whether it was written.
    async fn bring_up_to_date(&self, run: &MlflowRun, mut before: Vec<Found>) -> Result<bool, Failure> {
        let is_whole = |found: &Found| found.written.as_ref() == Some(&run.written);
        let kept = before.iter().position(is_whole).map(|place| before.swap_remove(place));
        let mut tries = 1..=RUN_TRIES_MAX;
        loop {
            let is_last = tries.next().is_none_or(|number| number == RUN_TRIES_MAX);
            let refusal = match self.replace(run, &before, kept.is_some()).await {
                Ok(()) => return Ok(kept.is_none()),
                Err(refusal) => refusal,
            };
            let what = format!("the run of job {}", run.job);
            if is_last || matches!(refusal, Refusal::Refused { .. }) {
                return Err(failed(&self.server, &what, &refusal));
            }
            // What was written meanwhile is half, or is there twice.
            let found = runs(&self.server, &self.experiment, Some(run.job)).await;
            let found = found.map_err(|refusal| failed(&self.server, &what, &refusal))?;
            before = found.into_values().flatten().collect();
            before.retain(|found| kept.as_ref().is_none_or(|kept| kept.id != found.id));
        }
    }

    /// Removes these runs, and writes one, unless one is kept.
    async fn replace(&self, run: &MlflowRun, before: &[Found], is_kept: bool) -> Result<(), Refusal> {
        for found in before {
            self.server.post("runs/delete", &json!({ "run_id": found.id }), Repeat::May).await?;
        }
        if is_kept {
            return Ok(());
        }
        let created = self.server.post("runs/create", &run.create(&self.experiment), Repeat::MayNot).await?;
        let id = text(&created["run"]["info"]["run_id"]);
        let id = id.ok_or_else(|| Refusal::Unknown("the answer names no run".to_owned()))?;
        for batch in run.batches(&id) {
            self.server.post("runs/log-batch", &batch, Repeat::MayNot).await?;
        }
        self.server.post("runs/update", &run.end(&id), Repeat::May).await?;
        self.server.post("runs/log-batch", &run.whole(&id), Repeat::May).await?;
        Ok(())
    }
}

/// A text that is there.
fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// The value of a tag.
fn tag(tags: &Value, key: &str) -> Option<String> {
    text(&tags.as_array()?.iter().find(|tag| tag["key"] == key)?["value"])
}

fn no_answer(server: &Server, what: &str) -> Failure {
    failed(server, what, &Refusal::Unknown("the answer has no id".to_owned()))
}

/// Whether the server wants to know who asks.
fn is_of_access(code: &str) -> bool {
    ["401", "403", "PERMISSION_DENIED", "UNAUTHENTICATED"].iter().any(|known| code.starts_with(known))
}

/// What to tell of a request that came to nothing.
fn failed(server: &Server, what: &str, refusal: &Refusal) -> Failure {
    let address = server.address();
    Failure::operation(match refusal {
        Refusal::Refused { code, message } if is_of_access(code) => format!(
            "MLflow at {address} does not let us write {what} ({code}: {message}); set MLFLOW_TRACKING_TOKEN, or \
             MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        ),
        Refusal::Refused { code, message } => {
            format!("MLflow at {address} refused {what} ({code}: {message})")
        }
        Refusal::Unknown(reason) => format!(
            "{what} could not be written to MLflow at {address}: {reason}; export again once the server answers: what is \
             there is not written twice"
        ),
    })
}
