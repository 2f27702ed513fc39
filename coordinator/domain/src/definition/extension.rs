//! What a sweep takes when it is extended or set: points that it lacks, a larger cap, and settings.

use std::sync::Arc;

use terms::{ParameterValue, manifest::Described};

use super::{DefinitionError, SweepDefinition, TEXT_BYTES_MAX, is_of_rule};
use crate::{
    known_points::KnownPoints,
    points::{Jobs, Method},
    space::{Domain, Name, ValueKey},
    specification::{Change, Specification, is_setting},
};

impl SweepDefinition {
    /// This sweep with the new points of `extension`, and its settings. Takes time in proportion to the number of
    /// points and to the values of all specifications.
    pub fn extended(&self, extension: Specification) -> Result<Self, DefinitionError> {
        let jobs = extension.jobs().map_err(DefinitionError::Points)?;
        self.extended_with(extension, jobs)
    }

    /// The same, with the jobs of the extension already built.
    pub fn extended_with(
        &self,
        mut extension: Specification,
        mut jobs: Jobs,
    ) -> Result<Self, DefinitionError> {
        let is_reordered = self.check_kind(&mut extension)?;
        if self.specification.method != Method::Grid {
            return self.raised(&extension, is_reordered);
        }
        check_cap(Some(self.job_count()), extension.run_cap)?;
        if self.write_zeros_alike(&mut extension) || is_reordered {
            jobs = extension.jobs().map_err(DefinitionError::Points)?;
        }
        let mut known = KnownPoints::default();
        self.parts.iter().for_each(|part| known.add(&part.jobs));
        let jobs = self.new_of(&extension, jobs, &known)?;
        let mut definition = self.clone();
        definition.take_settings(&extension);
        if jobs.count() > 0 {
            definition.add(extension, jobs)?;
            // Not checked for a stored sweep: older versions accepted more.
            let bytes = definition.text_bytes();
            if bytes > TEXT_BYTES_MAX {
                return Err(DefinitionError::TooLong(bytes));
            }
            definition.varying = definition.find_varying();
        }
        Ok(definition)
    }

    /// The jobs of an extension whose points are not `known`, as far as its `run_cap` leaves room for them.
    pub(super) fn new_of(
        &self,
        extension: &Specification,
        jobs: Jobs,
        known: &KnownPoints,
    ) -> Result<Jobs, DefinitionError> {
        let points_max = extension.points_max().map_err(DefinitionError::Points)?;
        let before = self.job_count() / u64::from(extension.repeats.max(1));
        Ok(jobs.without(known, points_max.map(|max| max.saturating_sub(before))))
    }

    /// What to say of an extension whose `run_cap` leaves room for no other job: it may still be meant for its settings.
    pub fn note_on_cap(&self, extension: &Specification) -> Option<String> {
        let own = match self.specification.method {
            Method::Grid => Some(self.job_count()),
            _ => self.specification.run_cap,
        };
        let cap = extension.run_cap.filter(|cap| own == Some(*cap))?;
        Some(format!(
            "`run_cap: {cap}` is what the sweep has already, so that no jobs are added; raise it for more"
        ))
    }

    /// This search with the `run_cap` of an extension, and its settings. All else is the same in both.
    fn raised(&self, extension: &Specification, is_reordered: bool) -> Result<Self, DefinitionError> {
        let own = &self.specification;
        let same = Specification { run_cap: own.run_cap, ..extension.clone() };
        if is_reordered {
            return Err(DefinitionError::Search("parameters".to_owned()));
        }
        let changes = same.changes_from(own);
        if let Some(change) = changes.into_iter().find(|change| !is_setting(&change.key)) {
            return Err(DefinitionError::Search(change.key));
        }
        check_cap(own.run_cap, extension.run_cap)?;
        let mut specification = own.clone();
        specification.take_settings(extension);
        // No cap is the largest.
        specification.run_cap = own.run_cap.zip(extension.run_cap).map(|(own, other)| own.max(other));
        Self::new(self.id, specification)
    }

    /// This sweep with some of its settings changed, each as `KEY=VALUE`.
    pub fn set(&self, overrides: &[String]) -> Result<Self, DefinitionError> {
        // Before it is read: where the sweep has no such rule, a part of one would be called incomplete.
        let keys = overrides.iter().filter_map(|set| Some(set.split_once('=')?.0.trim()));
        if let Some(key) = keys.into_iter().find(|key| is_of_rule(key)) {
            return Err(DefinitionError::Rule(key.to_owned()));
        }
        let changed = self.specification.with_overrides(overrides)?;
        for change in changed.changes_from(&self.specification) {
            if !is_setting(&change.key) {
                let section = change.key.split('.').next().unwrap_or_default();
                let is_jobs = ["parameters", "exclude", "include", "run_cap"].contains(&section);
                return Err(if is_jobs {
                    DefinitionError::Jobs(change.key)
                } else {
                    DefinitionError::Differs(change)
                });
            }
        }
        let mut definition = self.clone();
        definition.take_settings(&changed);
        Ok(definition)
    }

    /// Takes over the settings that cannot change a result. The first and the last part have them, as the limits of the
    /// last one count when the text is read.
    fn take_settings(&mut self, settings: &Specification) {
        if self.specification.has_settings_of(settings) {
            return;
        }
        self.specification.take_settings(settings);
        self.execution = self.specification.execution.clone();
        self.metric = self.specification.metric.clone();
        let last = self.parts.len() - 1;
        for index in [0, last] {
            let part = &mut self.parts[index];
            let mut specification = Specification::clone(&part.specification);
            specification.take_settings(settings);
            part.text = specification.to_yaml().into();
            part.specification = Arc::new(specification);
        }
    }

    /// Checks that everything that decides results is as in the sweep, except the points. Puts the parameters into the
    /// order that they have in the sweep, and says whether it had to.
    pub(super) fn check_kind(&self, extension: &mut Specification) -> Result<bool, DefinitionError> {
        if let (Some(own), Some(other)) = (self.specification.trainable.model(), extension.trainable.model())
            && own.name == other.name
            && own != other
        {
            let words = |model: &Described| format!("version {} ({})", model.version, model.hash());
            let (before, after) = (words(own), words(other));
            return Err(DefinitionError::Differs(Change {
                key: format!("model {}", own.name),
                before,
                after,
            }));
        }
        let changes = extension.kind_changes_from(&self.specification);
        if let Some(change) = changes.into_iter().find(|change| !is_setting(&change.key)) {
            return Err(DefinitionError::Differs(change));
        }
        let place = |name: &Name| self.specification.axes.iter().position(|axis| axis.name == *name);
        let is_ordered = extension.axes.is_sorted_by_key(|axis| place(&axis.name));
        if !is_ordered {
            extension.axes.sort_by_key(|axis| place(&axis.name));
        }
        Ok(!is_ordered)
    }

    /// Writes zeros as the sweep has them: one of an earlier version may have -0.0, which is read as 0.0 today, and its jobs
    /// must be recognised. Says whether there were any.
    fn write_zeros_alike(&self, extension: &mut Specification) -> bool {
        let zero = |sign: f64| ValueKey::from(&ParameterValue::Float(0.0_f64.copysign(sign)));
        let has = |name: &Name, key: &ValueKey| {
            let axes = self.parts.iter().flat_map(|part| &part.specification.axes);
            axes.filter(|axis| axis.name == *name)
                .any(|axis| axis.values().iter().any(|value| ValueKey::from(value) == *key))
        };
        let mut is_changed = false;
        let mut write = |name: &Name, value: &mut ParameterValue| {
            if ValueKey::from(&*value) == zero(1.0) && has(name, &zero(-1.0)) && !has(name, &zero(1.0)) {
                *value = ParameterValue::Float(-0.0);
                is_changed = true;
            }
        };
        for axis in &mut extension.axes {
            if let Domain::Values(values) = &mut axis.domain {
                values.iter_mut().for_each(|value| write(&axis.name, value));
            }
        }
        let points = extension.exclude.iter_mut().chain(&mut extension.include).flatten();
        points.for_each(|(name, value)| write(name, value));
        is_changed
    }
}

/// Refuses an extension that may have fewer jobs than the sweep.
fn check_cap(own: Option<u64>, other: Option<u64>) -> Result<(), DefinitionError> {
    match own.zip(other) {
        Some((own, other)) if other < own => Err(DefinitionError::Cap { own, other }),
        _ => Ok(()),
    }
}
