//! Tools that change nothing.

use std::{cmp::Reverse, time::Duration};

use proto::v1::{self, watch_sweep_response::Event};
use report::FailureReasons;
use serde_json::{Value, json};
use terms::JobState;

use super::{
    Assistant,
    progress::{News, Waited},
    tools::{JobsOf, OfEither, OfJob, OfSweep, PageOf, ROWS_MAX, WAIT_SECONDS_MAX, WaitFor},
};
use crate::{
    cli::{
        failure::Failure,
        follow::{Follower, is_final},
    },
    shapes,
};

/// Jobs whose reasons are read, and reasons that are told.
const FAILURES_READ_MAX: u32 = 1_000;
const REASONS_TOLD_MAX: usize = 10;

/// A thing as JSON.
pub(super) fn shape(thing: &impl serde::Serialize) -> Result<Value, Failure> {
    serde_json::to_value(thing).map_err(|error| Failure::operation(format!("the answer is no JSON: {error}")))
}

/// How many rows are asked for.
fn rows(asked: u32) -> u32 {
    asked.clamp(1, ROWS_MAX)
}

/// A page of a list.
fn page(items: Vec<Value>, next: String) -> Value {
    json!({"items": Value::Array(items), "next": Some(next).filter(|next| !next.is_empty())})
}

/// The states of these names.
fn states(names: &[String]) -> Result<Vec<i32>, Failure> {
    let state = |name: &String| {
        let state = JobState::from_name(name).ok_or_else(|| Failure::usage(format!("no job is {name:?}")))?;
        Ok(v1::JobState::from(state).into())
    };
    names.iter().map(state).collect()
}

impl Assistant {
    /// A sweep as its coordinator has it.
    pub(super) async fn asked(&self, sweep_id: u64) -> Result<v1::Sweep, Failure> {
        self.target.call(async |client| client.get_sweep(v1::GetSweepRequest { sweep_id }).await).await
    }

    pub(super) async fn sweeps(&self, asked: PageOf) -> Result<Value, Failure> {
        let request = v1::ListSweepsRequest { page_size: rows(asked.rows), page_token: asked.after };
        let listed = self.target.call(async |client| client.list_sweeps(request.clone()).await).await?;
        let items =
            listed.sweeps.iter().map(|sweep| shape(&shapes::listed(sweep))).collect::<Result<_, _>>()?;
        Ok(page(items, listed.next_page_token))
    }

    pub(super) async fn sweep(&self, asked: OfSweep) -> Result<Value, Failure> {
        shape(&shapes::whole(&self.asked(asked.sweep).await?))
    }

    pub(super) async fn jobs(&self, asked: JobsOf) -> Result<Value, Failure> {
        let states = states(&asked.states)?;
        let sweep = self.asked(asked.sweep).await?;
        let request = v1::ListJobsRequest {
            sweep_id: asked.sweep,
            states,
            page_size: rows(asked.rows),
            page_token: asked.after,
        };
        let listed = self.target.call(async |client| client.list_jobs(request.clone()).await).await?;
        let mut shapes = shapes::Jobs::new(&sweep);
        let items = listed.jobs.into_iter().map(|job| shape(&shapes.job(job))).collect::<Result<_, _>>()?;
        Ok(page(items, listed.next_page_token))
    }

    pub(super) async fn job(&self, asked: OfJob) -> Result<Value, Failure> {
        let sweep = self.asked(asked.sweep).await?;
        let detail = self.detail(asked.sweep, asked.job).await?;
        shape(&shapes::Jobs::new(&sweep).detail(detail))
    }

    async fn detail(&self, sweep_id: u64, job: u64) -> Result<v1::JobDetail, Failure> {
        let request = v1::GetJobRequest { sweep_id, job };
        self.target.call(async |client| client.get_job(request).await).await
    }

    pub(super) async fn explain(&self, asked: OfEither) -> Result<Value, Failure> {
        match asked.job {
            Some(job) => self.explain_job(asked.sweep, job).await,
            None => self.explain_sweep(asked.sweep).await,
        }
    }

    async fn explain_sweep(&self, sweep_id: u64) -> Result<Value, Failure> {
        let sweep = self.asked(sweep_id).await?;
        let failures = self.failures(&sweep).await?;
        let whole = shapes::whole(&sweep);
        let waiting = sweep.waiting.as_ref();
        let mut told = shape(&shapes::listed(&sweep))?;
        if let (Value::Object(told), Some(details)) = (&mut told, &whole.details) {
            told.insert("waiting".to_owned(), json!(details.waiting));
            told.insert(
                "nothing_ran_for_seconds".to_owned(),
                json!(waiting.map(|waiting| waiting.idle_ms / 1_000)),
            );
            told.insert("why_stopped".to_owned(), json!(details.why_stopped));
            told.insert("cannot_pause".to_owned(), json!(details.cannot_pause));
            told.insert("failures".to_owned(), failures);
        }
        Ok(told)
    }

    /// Why jobs failed and diverged, the most frequent reasons first.
    async fn failures(&self, sweep: &v1::Sweep) -> Result<Value, Failure> {
        let counts = sweep.counts.unwrap_or_default();
        let mut found = Vec::new();
        for (state, jobs) in [(JobState::Failed, counts.failed), (JobState::Diverged, counts.diverged)] {
            if jobs > 0 {
                let reasons = self.reasons(sweep.sweep_id, state).await?;
                found.extend(reasons.into_iter().map(|reason| (state, reason)));
            }
        }
        // Of equal ones, failures come first.
        found.sort_by_key(|(_, (_, count, _))| Reverse(*count));
        found.truncate(REASONS_TOLD_MAX);
        let told = |(state, (reason, count, jobs)): (JobState, (String, u64, String))| json!({"state": state.as_str(), "reason": reason, "count": count, "jobs": jobs});
        Ok(found.into_iter().map(told).collect())
    }

    /// The reasons of a sweep's jobs in this state, with how many have each and some of their numbers.
    async fn reasons(&self, sweep_id: u64, state: JobState) -> Result<Vec<(String, u64, String)>, Failure> {
        let request = v1::ListJobsRequest {
            sweep_id,
            states: vec![v1::JobState::from(state).into()],
            page_size: FAILURES_READ_MAX,
            page_token: String::new(),
        };
        let listed = self.target.call(async |client| client.list_jobs(request.clone()).await).await?;
        let mut reasons = FailureReasons::default();
        for job in &listed.jobs {
            reasons.add(job.point.as_ref().map_or(0, |point| point.job), &job.reason);
        }
        Ok(reasons.most_frequent())
    }

    async fn explain_job(&self, sweep_id: u64, job: u64) -> Result<Value, Failure> {
        let sweep = self.asked(sweep_id).await?;
        let detail = self.detail(sweep_id, job).await?;
        let log = detail.attempts.iter().rev().find(|attempt| !attempt.log_tail.is_empty());
        let log = log.map(|attempt| json!({"attempt": attempt.attempt, "lines": attempt.log_tail.clone()}));
        let waiting = sweep.waiting.as_ref().map(|waiting| waiting.text.clone());
        let mut told =
            shape(&shapes::Jobs::new(&sweep).detail(v1::JobDetail { epochs: Vec::new(), ..detail }))?;
        if let Value::Object(told) = &mut told {
            told.insert("log".to_owned(), json!(log));
            told.insert("why_jobs_of_its_sweep_wait".to_owned(), json!(waiting));
        }
        Ok(told)
    }

    pub(super) async fn workers(&self, asked: PageOf) -> Result<Value, Failure> {
        let request = v1::ListWorkersRequest { page_size: rows(asked.rows), page_token: asked.after };
        let listed = self.target.call(async |client| client.list_workers(request.clone()).await).await?;
        let items =
            listed.workers.iter().map(|worker| shape(&shapes::worker(worker))).collect::<Result<_, _>>()?;
        Ok(page(items, listed.next_page_token))
    }

    /// Waits, and says in `news` how far the sweep is.
    pub(super) async fn wait(&self, asked: WaitFor, news: &News) -> Result<Value, Failure> {
        let patience = Duration::from_secs(asked.seconds.clamp(1, WAIT_SECONDS_MAX).into());
        let mut last = self.asked(asked.sweep).await?;
        if !is_final(&last) {
            news.send_replace(Some(Waited { sweep: last.clone(), patience }));
            let mut follower = Follower::new(&self.target, asked.sweep);
            let follow = async {
                while let Some(event) = follower.next().await? {
                    if let Event::Snapshot(v1::WatchSnapshot { sweep: Some(sweep), .. }) = event {
                        news.send_replace(Some(Waited { sweep: sweep.clone(), patience }));
                        last = sweep;
                    }
                }
                Ok::<_, Failure>(())
            };
            if let Ok(ended) = tokio::time::timeout(patience, follow).await {
                ended?;
            }
        }
        let mut told = shape(&shapes::listed(&last))?;
        if let Value::Object(told) = &mut told {
            told.insert("has_ended".to_owned(), is_final(&last).into());
            told.insert("waiting".to_owned(), json!(last.waiting.map(|waiting| waiting.text)));
        }
        Ok(told)
    }
}
