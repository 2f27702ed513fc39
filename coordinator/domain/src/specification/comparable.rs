//! Whether the metric that ranks the jobs measures the same in all of them.

use terms::manifest::ManifestMetric;

use super::{Specification, Trainable};
use crate::space::Name;

impl Specification {
    /// What to tell people where the metric that ranks the jobs depends on a parameter in which they differ.
    pub(super) fn note_on_metric(&self) -> Option<String> {
        let varying = self.varying();
        self.note_where(|name| varying.iter().any(|varies| **varies == *name))
    }

    /// The same of jobs that are added to those of `before`, where it says nothing of either alone.
    pub fn note_on_metric_after(&self, before: &Self) -> Option<String> {
        let first = |of: &Self, name: &str| {
            of.axes.iter().find(|axis| *axis.name == *name).map(|axis| axis.domain.first())
        };
        let is_told = self.note_on_metric().is_some();
        let told = before
            .note_on_metric()
            .or_else(|| self.note_where(|name| first(self, name) != first(before, name)));
        told.filter(|_| !is_told)
    }

    fn note_where(&self, differs: impl Fn(&str) -> bool) -> Option<String> {
        let Trainable::Model(model) = &self.trainable else { return None };
        let depends = |metric: &ManifestMetric| {
            metric.redefined_by.iter().find(|name| differs(name)).map(|name| Name::from(name.as_str()))
        };
        let metric = model.metric(&self.metric.name)?;
        let parameter = depends(metric)?;
        let others = model.metrics.iter().filter(|metric| depends(metric).is_none());
        let others: Vec<String> = others.map(|metric| format!("`{}`", metric.name)).collect();
        let instead = match others.as_slice() {
            [] => String::new(),
            others => format!("; rank by {} instead", others.join(" or ")),
        };
        Some(format!(
            "`{}` ranks the jobs, and what it measures depends on `{parameter}`, in which they differ, so that it does not tell \
             which is better{instead}",
            metric.name
        ))
    }
}
