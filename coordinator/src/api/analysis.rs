//! What the results of a sweep say: read from the store in pages, and computed beside the engine.

use std::sync::Arc;

use analysis::{Analysis, Collector, End};
use domain::definition::SweepDefinition;
use store::JobRow;
use terms::{JobState, MetricUse, Objective, SweepId};

use super::{Api, ApiError, error::unreadable, task_ended};

/// Jobs read at a time: a few milliseconds, after which others have their turn.
const ROWS_READ: u32 = 2_000;

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
        let place = Arc::clone(&self.analyses).acquire_owned().await.map_err(|_| task_ended())?;
        let view = self.view(sweep).await?;
        let (definition, dataset) = (view.definition, view.dataset);
        let names: Vec<String> = definition.varying.iter().map(ToString::to_string).collect();
        let manifest = definition.specification.trainable.model().map(|model| &**model.manifest());
        let (objective, count) = (definition.metric.clone(), definition.job_count());
        let mut collector = Collector::new(&objective, &names, manifest, dataset.as_deref(), count);
        let (mut first, mut begun) = (1, 0);
        loop {
            let rows = self.store.jobs(sweep, first, ROWS_READ).await.map_err(unreadable)?;
            first = rows.last().map_or(first, |row| row.job + 1);
            begun += rows.len() as u64;
            rows.iter().for_each(|row| take(&mut collector, &definition, row));
            if rows.len() < ROWS_READ as usize {
                break;
            }
            tokio::task::yield_now().await;
        }
        // A job that never started has no row.
        collector.unfinished(count.saturating_sub(begun));
        let made = tokio::task::spawn_blocking(move || {
            // As long as the work, which goes on when its caller hangs up.
            let _place = place;
            collector.analyze()
        });
        Ok(Analyzed { objective, analysis: made.await.map_err(|_| task_ended())? })
    }
}

fn take(collector: &mut Collector, definition: &SweepDefinition, row: &JobRow) {
    let objective = match definition.metric.used {
        MetricUse::Best => row.best.as_ref().map(|best| best.value),
        MetricUse::Last => row.objective,
    };
    let end = match row.state {
        JobState::Done => End::Done(objective),
        JobState::Diverged => End::Diverged,
        _ => End::Unfinished,
    };
    collector.job(row.job, &definition.parameters(row.job), end);
}
