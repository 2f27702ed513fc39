//! Tools that change something, and the check of a file before.

use std::path::Path;

use domain::{
    points::Jobs,
    specification::{FILE_BYTES_MAX, Specification},
};
use proto::v1;
use report::view;
use serde_json::{Value, json};

use super::{
    Assistant,
    budget::Cost,
    looking::shape,
    tools::{Again, Extension, OfEither, OfSweep, SweepText},
};
use crate::{
    api::Source,
    cli::{failure::Failure, files, submit},
    shapes,
};

/// Jobs of a file that a check shows.
const PREVIEW: u64 = 5;
/// The name of an assistant's file, in messages about it.
const FILE_NAME: &str = "sweep file";

/// A sweep file as it was understood.
struct Checked {
    source: v1::SweepSource,
    specification: Specification,
    jobs: Jobs,
}

impl Assistant {
    fn check(&self, asked: SweepText, is_extension: bool) -> Result<Checked, Failure> {
        let SweepText { file, changes } = asked;
        if file.len() > FILE_BYTES_MAX {
            return Err(Failure::usage(format!("a sweep file has at most {} MiB", FILE_BYTES_MAX >> 20)));
        }
        let source = v1::SweepSource {
            text: file,
            file_name: FILE_NAME.to_owned(),
            overrides: changes,
            manifests: self.manifests.clone(),
            ..v1::SweepSource::default()
        };
        let wrong = |error: &dyn std::fmt::Display| Failure::operation(error.to_string());
        let mut read = Source::from(source.clone()).specification().map_err(|error| wrong(&error))?;
        read.is_extension = is_extension;
        let (specification, jobs) = Specification::parse_with_jobs(&read).map_err(|error| wrong(&error))?;
        Ok(Checked { source, specification, jobs })
    }

    pub(super) async fn validate(&self, asked: SweepText) -> Result<Value, Failure> {
        let Checked { specification, jobs, .. } = self.check(asked, false)?;
        // Of a search that learns, points are not known before.
        let shown = if jobs.learned().is_some() { 0 } else { jobs.count().min(PREVIEW) };
        let first =
            (1..=shown).filter_map(|job| Some(view::Parameters(jobs.parameters(job)?))).collect::<Vec<_>>();
        let cost = Cost::new(jobs.count(), &specification);
        Ok(json!({
            "name": specification.name,
            "jobs": jobs.count(),
            "first_jobs": first,
            "notes": specification.notes,
            "is_of_program": specification.trainable.program().is_some(),
            "hours_at_most": cost.hours(),
            "budget_left": self.budget.lock().await.left(),
        }))
    }

    pub(super) async fn submit(&self, asked: SweepText) -> Result<Value, Failure> {
        self.send(asked, 0).await
    }

    pub(super) async fn extend(&self, asked: Extension) -> Result<Value, Failure> {
        let Extension { sweep, file, changes } = asked;
        if sweep == 0 {
            return Err(Failure::usage("sweeps are numbered from 1"));
        }
        self.send(SweepText { file, changes }, sweep).await
    }

    /// Submits a file, or adds what a sweep lacks of it. What is in doubt after an error stays counted.
    async fn send(&self, asked: SweepText, extend_sweep_id: u64) -> Result<Value, Failure> {
        let Checked { mut source, specification, jobs } = self.check(asked, extend_sweep_id > 0)?;
        self.check_program(&specification)?;
        let (new, goes_on) = match extend_sweep_id {
            0 => (jobs.count(), 0),
            sweep => {
                let before = self.asked(sweep).await?;
                (
                    submit::lacks(&before, &specification, &jobs).unwrap_or(jobs.count()),
                    gone_on_with(&before, &specification)?,
                )
            }
        };
        let cost = |jobs| Cost::new(jobs, &specification);
        let all = new.saturating_add(goes_on);
        self.reserve(cost(all)).await?;
        if let Err(failure) = files::send_with(&mut source, Path::new(""), &self.target).await {
            self.budget.lock().await.give_back(cost(all));
            return Err(failure);
        }
        let sent = async {
            let request_id = uuid::Uuid::new_v4().to_string();
            let request = v1::SubmitRequest { source: Some(source), request_id, extend_sweep_id };
            self.target.call(async |client| client.submit(request.clone()).await).await
        };
        let answer = match sent.await {
            Ok(answer) => answer,
            Err(failure) => {
                if matches!(failure, Failure::Refused(_) | Failure::Usage(_)) {
                    self.budget.lock().await.give_back(cost(all));
                }
                return Err(failure);
            }
        };
        match (extend_sweep_id, &answer.sweep) {
            (0, Some(sweep)) => _ = self.paid.lock().await.insert(sweep.sweep_id),
            (0, None) => {}
            _ => {
                let mut budget = self.budget.lock().await;
                budget.give_back(cost(new.saturating_sub(answer.added_jobs)));
                budget.overdraw(cost(answer.added_jobs.saturating_sub(new)));
            }
        }
        let sweep = answer.sweep.as_ref().map(shapes::listed);
        Ok(json!({
            "sweep": shape(&sweep)?,
            "added_jobs": if extend_sweep_id > 0 { answer.added_jobs } else { jobs.count() },
            "notes": answer.notes,
            "budget_left": self.budget.lock().await.left(),
        }))
    }

    /// Refuses a sweep of a program where its user has not allowed them, whoever wrote it: jobs that start run it.
    fn check_program(&self, specification: &Specification) -> Result<(), Failure> {
        if specification.trainable.program().is_none() || self.allows_programs {
            return Ok(());
        }
        Err(Failure::usage(
            "`sweep mcp` was started without --allow-programs, so it starts jobs of models alone: a program runs any code on the workers",
        ))
    }

    async fn reserve(&self, cost: Cost) -> Result<(), Failure> {
        self.budget.lock().await.take(cost).map_err(Failure::Operation)
    }

    pub(super) async fn pause(&self, asked: OfSweep) -> Result<Value, Failure> {
        let request = v1::PauseSweepRequest { sweep_id: asked.sweep };
        shown(&self.target.call(async |client| client.pause_sweep(request).await).await?)
    }

    /// Resumes a sweep. Of one that was not submitted here, the jobs that may start then are counted.
    pub(super) async fn resume(&self, asked: OfSweep) -> Result<Value, Failure> {
        let sweep = self.asked(asked.sweep).await?;
        let specification = specification(&sweep)?;
        self.check_program(&specification)?;
        let counts = sweep.counts.unwrap_or_default();
        let is_paid = self.paid.lock().await.contains(&sweep.sweep_id);
        let jobs = if is_paid { 0 } else { counts.pending + counts.paused };
        let cost = Cost::new(jobs, &specification);
        self.reserve(cost).await?;
        let request = v1::ResumeSweepRequest { sweep_id: asked.sweep };
        let answer = self.target.call(async |client| client.resume_sweep(request).await).await;
        if matches!(answer, Err(Failure::Refused(_))) {
            self.budget.lock().await.give_back(cost);
        }
        shown(&answer?)
    }

    pub(super) async fn stop(&self, asked: OfEither) -> Result<Value, Failure> {
        let request = v1::StopSweepRequest { sweep_id: asked.sweep, job: one(asked.job)? };
        shown(&self.target.call(async |client| client.stop_sweep(request).await).await?)
    }

    pub(super) async fn cancel(&self, asked: OfEither) -> Result<Value, Failure> {
        let request = v1::CancelSweepRequest { sweep_id: asked.sweep, job: one(asked.job)? };
        shown(&self.target.call(async |client| client.cancel_sweep(request).await).await?)
    }

    pub(super) async fn retry(&self, asked: Again) -> Result<Value, Failure> {
        let Again { sweep: sweep_id, job, cancelled_too } = asked;
        let job = one(job)?;
        let sweep = self.asked(sweep_id).await?;
        let specification = specification(&sweep)?;
        self.check_program(&specification)?;
        if is_ended_early(&sweep) && (job > 0 || !cancelled_too) {
            return Err(Failure::usage(format!(
                "sweep {sweep_id} has ended early, so that its jobs go on together or not at all: ask again without `job`, with \
                 `cancelled_too`: true"
            )));
        }
        let counts = sweep.counts.unwrap_or_default();
        let cost = |jobs| Cost::new(jobs, &specification);
        let jobs = match job {
            0 if is_ended_early(&sweep) => counts.failed + counts.cancelled + counts.stopped,
            0 => counts.failed + if cancelled_too { counts.cancelled } else { 0 },
            _ => 1,
        };
        self.reserve(cost(jobs)).await?;
        let request = v1::RetrySweepRequest { sweep_id, job, cancelled_too };
        let answer = self.target.call(async |client| client.retry_sweep(request).await).await;
        let tried = match &answer {
            Ok(answer) => answer.jobs,
            Err(Failure::Refused(_)) => 0,
            Err(_) => jobs,
        };
        let mut budget = self.budget.lock().await;
        budget.give_back(cost(jobs.saturating_sub(tried)));
        budget.overdraw(cost(tried.saturating_sub(jobs)));
        drop(budget);
        let sweep = answer?.sweep.as_ref().map(shapes::listed);
        Ok(json!({"sweep": shape(&sweep)?, "retried": tried, "budget_left": self.budget.lock().await.left()}))
    }
}

/// The job of a request, in which 0 stands for all.
fn one(job: Option<u64>) -> Result<u64, Failure> {
    match job {
        Some(0) => Err(Failure::usage("jobs are numbered from 1; leave `job` out for the whole sweep")),
        job => Ok(job.unwrap_or(0)),
    }
}

/// Whether a sweep has ended with jobs that never began or were paused: they go on with it.
fn is_ended_early(sweep: &v1::Sweep) -> bool {
    matches!(sweep.state(), v1::SweepState::Stopped | v1::SweepState::Cancelled)
}

/// How many of its own jobs a sweep trains because of an extension: those with which it goes on if its target had stopped it, and those
/// that have not ended yet where they may take longer than before.
fn gone_on_with(before: &v1::Sweep, after: &Specification) -> Result<u64, Failure> {
    let counts = before.counts.unwrap_or_default();
    if is_ended_early(before) {
        return Ok(counts.cancelled + counts.stopped);
    }
    let is_run_alike = specification(before)?.execution == after.execution;
    Ok(if is_run_alike { 0 } else { counts.pending + counts.running + counts.paused })
}

/// What a sweep is.
fn specification(sweep: &v1::Sweep) -> Result<Specification, Failure> {
    shapes::specification(sweep)
        .map_err(|error| Failure::operation(format!("the file of sweep {}: {error}", sweep.sweep_id)))
}

fn shown(sweep: &v1::Sweep) -> Result<Value, Failure> {
    shape(&shapes::listed(sweep))
}
