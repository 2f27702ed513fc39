//! What the results of a sweep say.

use serde::Serialize;
use terms::Objective;
use utoipa::ToSchema;

use super::Metric;

/// What the results of a sweep say: the keys of [`analysis::Analysis`], whose documentation says what they mean.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SweepAnalysis)]
pub struct Analysis<'a> {
    /// What ranked the jobs, and so what is analysed.
    pub metric: Metric,
    #[serde(flatten)]
    pub analysis: &'a analysis::Analysis,
}

impl<'a> Analysis<'a> {
    pub fn new(objective: &Objective, analysis: &'a analysis::Analysis) -> Self {
        Self { metric: Metric::of(objective), analysis }
    }
}
