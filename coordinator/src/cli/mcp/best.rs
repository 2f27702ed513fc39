//! The best configuration of a sweep, and whether it can be told from the runner-up.

use analysis::{Collector, End, JOBS_MAX};
use proto::v1;
use report::{planned_trainings, view};
use serde_json::{Map, Value, json};
use terms::{JobState, MetricUse, manifest::seed_of};

use super::{
    Assistant,
    looking::shape,
    tools::{OfJob, OfSweep},
};
use crate::{
    cli::{failure::Failure, inspect::each_job_page},
    shapes::{self, rows},
};

/// The keys of an analysis that are told: the whole of it is longer than an assistant reads.
const TOLD: [&str; 3] = ["metric", "jobs", "best"];

impl Assistant {
    pub(super) async fn best_job(&self, asked: OfSweep) -> Result<Value, Failure> {
        let sweep = self.asked(asked.sweep).await?;
        let Some(point) = sweep.best.as_ref().and_then(|best| best.point.as_ref()) else {
            return Err(Failure::operation(format!("no job of sweep {} is done yet", asked.sweep)));
        };
        let mut job = self.job(OfJob { sweep: asked.sweep, job: point.job }).await?;
        let listed = shapes::listed(&sweep);
        if let Value::Object(job) = &mut job {
            job.insert("best_of_sweep".to_owned(), json!(listed.best));
            job.insert("best_trainings".to_owned(), json!(listed.best_trainings));
            job.insert("analysis".to_owned(), self.analysis(sweep).await?);
        }
        Ok(job)
    }

    /// The part of a sweep's analysis that says whether its best is better than the runner-up, with the keys of the JSON API.
    async fn analysis(&self, sweep: v1::Sweep) -> Result<Value, Failure> {
        // No best is named where not all jobs are looked at, and so none of them needs to be read.
        if sweep.job_count > JOBS_MAX {
            return Ok(json!({"best": null, "jobs": {"not_looked_at": sweep.job_count}}));
        }
        // Each holds all jobs of a sweep.
        let _alone = self.analysing.lock().await;
        let (id, metric_names) = (sweep.sweep_id, sweep.metric_names.clone());
        let sweep = rows::sweep(sweep, Vec::new(), &metric_names);
        let (objective, manifest) = (&sweep.objective, sweep.manifest.as_deref());
        let dataset = sweep.dataset.as_ref();
        let planned = planned_trainings(sweep.repeats, &sweep.specification, seed_of(manifest));
        let mut collector = Collector::new(objective, &sweep.varying, manifest, dataset, sweep.job_count)
            .with_planned_trainings(planned);
        each_job_page(&self.target, id, &[], |page| {
            page.iter().for_each(|job| take(&mut collector, job, objective.used, &objective.name));
            Ok(())
        })
        .await?;
        let made = tokio::task::spawn_blocking(move || collector.analyze()).await;
        let made =
            made.map_err(|error| Failure::operation(format!("the analysis: {error}; this is a bug")))?;
        let Value::Object(mut whole) = shape(&view::Analysis::new(objective, &made))? else {
            return Ok(Value::Null);
        };
        let told = TOLD.into_iter().filter_map(|key| Some((key.to_owned(), whole.remove(key)?)));
        Ok(Value::Object(told.collect::<Map<_, _>>()))
    }
}

/// Takes a job into an analysis.
fn take(collector: &mut Collector, job: &v1::Job, used: MetricUse, objective: &str) {
    let end = match JobState::try_from(job.state()).ok() {
        Some(JobState::Done) => End::Done(match used {
            MetricUse::Best => rows::best_objective_of(job, objective),
            MetricUse::Last => rows::metric_of(job, objective),
        }),
        Some(JobState::Diverged) => End::Diverged,
        _ => End::Unfinished,
    };
    let point = job.point.clone().unwrap_or_default();
    collector.job(point.job, &proto::parameters_from_wire(point.parameters), end);
}
