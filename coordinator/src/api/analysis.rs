//! What the results of a sweep say: read from the store in pages, and computed beside the engine.

use std::sync::Arc;

use analysis::{Analysis, Collector, End};
use domain::definition::SweepDefinition;
use report::{
    compare::{Comparison, Side, Trained, compare},
    planned_trainings,
};
use store::JobRow;
use terms::{JobState, MetricUse, Objective, SweepId, manifest::seed_of};
use tokio::sync::OwnedSemaphorePermit;

use super::{Api, ApiError, task_ended};

/// An analysis, and what it is of.
#[derive(Debug)]
pub struct Analyzed {
    /// What ranks the jobs.
    pub objective: Objective,
    pub analysis: Analysis,
}

impl Api {
    /// The analysis of a sweep. It waits for another one that is being made, as each takes a processor for up to a few seconds.
    ///
    /// # Errors
    /// There is no such sweep, or the store cannot be read.
    pub async fn analysis(&self, sweep: SweepId) -> Result<Analyzed, ApiError> {
        let place = self.turn().await?;
        let view = self.view(sweep).await?;
        let (definition, dataset) = (view.definition, view.dataset);
        let names: Vec<String> = definition.varying.iter().map(ToString::to_string).collect();
        let manifest = definition.specification.trainable.model().map(|model| &**model.manifest());
        let (objective, count) = (definition.metric.clone(), definition.job_count());
        let mut collector = Collector::new(&objective, &names, manifest, dataset.as_deref(), count);
        let begun = self.each_row(sweep, |row| take(&mut collector, &definition, row)).await?;
        // A job that never started has no row.
        collector.unfinished(count.saturating_sub(begun));
        let made = tokio::task::spawn_blocking(move || {
            // As long as the work, which goes on when its caller hangs up.
            let _place = place;
            collector.with_planned_trainings(planned(&definition)).analyze()
        });
        Ok(Analyzed { objective, analysis: made.await.map_err(|_| task_ended())? })
    }

    /// Compares sweeps, of which nothing but these sides is known yet. It waits for its turn among analyses with each sweep that it
    /// reads, so that none of them waits until all are read.
    ///
    /// # Errors
    /// There is no such sweep, or the store cannot be read.
    pub async fn compare(&self, sides: Vec<(SweepId, Side)>) -> Result<Comparison, ApiError> {
        let mut whole = Vec::new();
        for (sweep, mut side) in sides {
            let place = self.turn().await?;
            let definition = self.view(sweep).await?.definition;
            self.each_row(sweep, |row| take_in(&mut side, &definition, row)).await?;
            if let Some(best) = side.best_job() {
                side.set_best_parameters(definition.parameters(best));
            }
            whole.push(side);
            drop(place);
        }
        let place = self.turn().await?;
        let made = tokio::task::spawn_blocking(move || {
            let _place = place;
            compare(&whole)
        });
        made.await.map_err(|_| task_ended())
    }

    /// The right to read a sweep and compute, after those who came before.
    async fn turn(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        Arc::clone(&self.analyses).acquire_owned().await.map_err(|_| task_ended())
    }

    /// Gives each job that has begun to `take`, in the order of their numbers; returns how many there are.
    async fn each_row(&self, sweep: SweepId, mut take: impl FnMut(&JobRow)) -> Result<u64, ApiError> {
        let (mut pages, mut begun) = (self.pages(sweep), 0);
        while let Some(rows) = pages.next().await? {
            begun += rows.len() as u64;
            rows.iter().for_each(&mut take);
            tokio::task::yield_now().await;
        }
        Ok(begun)
    }
}

/// How many trainings each configuration is planned to have, as a report and a comparison take it from the same text.
fn planned(definition: &SweepDefinition) -> u64 {
    let manifest = definition.specification.trainable.model().map(|model| &**model.manifest());
    planned_trainings(definition.specification.repeats, &definition.shown_text(), seed_of(manifest))
}

/// Takes a job into a comparison.
pub(crate) fn take_in(side: &mut Side, definition: &SweepDefinition, row: &JobRow) {
    side.job(Trained {
        job: row.job,
        parameters: &definition.parameters(row.job),
        state: Some(row.state),
        value: value(definition, row),
        epochs: row.epochs_done,
        seconds: row.train_seconds,
        pack_size: row.pack_size,
    });
}

fn take(collector: &mut Collector, definition: &SweepDefinition, row: &JobRow) {
    let end = match row.state {
        JobState::Done => End::Done(value(definition, row)),
        JobState::Diverged => End::Diverged,
        _ => End::Unfinished,
    };
    collector.job(row.job, &definition.parameters(row.job), end);
}

/// The value by which a job is ranked.
fn value(definition: &SweepDefinition, row: &JobRow) -> Option<f64> {
    match definition.metric.used {
        MetricUse::Best => row.best.as_ref().map(|best| best.value),
        MetricUse::Last => row.objective,
    }
}
