//! The parameters of jobs as columns, computed when someone asks: a page draws what was measured before that.

use std::sync::{Arc, OnceLock};

use domain::definition::SweepDefinition;
use terms::ParameterValue;

use super::filling::{Filling, ParameterColumn};

/// The parameters of some jobs that vary.
#[derive(Debug, Default)]
pub struct JobParameters {
    /// What computes them.
    definition: Option<Arc<SweepDefinition>>,
    made: OnceLock<Vec<(String, ParameterColumn)>>,
}

impl JobParameters {
    /// Those that this definition computes.
    pub(super) fn of(definition: Arc<SweepDefinition>) -> Self {
        Self { definition: Some(definition), made: OnceLock::new() }
    }

    /// Their names, in the order of the space.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let defined = self.definition.iter().flat_map(|definition| &definition.varying);
        let made = self.made.get().filter(|_| self.definition.is_none());
        defined.map(|name| &**name).chain(made.into_iter().flatten().map(|(name, _)| name.as_str()))
    }

    /// One column for each, with one entry for each of these jobs, which are always the same.
    pub(super) fn columns(&self, jobs: &[u32]) -> &[(String, ParameterColumn)] {
        let make = || self.definition.as_ref().map(|definition| filled(definition, jobs)).unwrap_or_default();
        self.made.get_or_init(make)
    }
}

impl From<Vec<(String, ParameterColumn)>> for JobParameters {
    fn from(made: Vec<(String, ParameterColumn)>) -> Self {
        Self { definition: None, made: made.into() }
    }
}

fn filled(definition: &SweepDefinition, jobs: &[u32]) -> Vec<(String, ParameterColumn)> {
    let varying = &definition.varying;
    let mut fillings: Vec<Filling> = varying.iter().map(|_| Filling::new()).collect();
    let mut values: Vec<Option<ParameterValue>> = vec![None; varying.len()];
    for job in jobs {
        let mut next = 0;
        definition.visit_parameters(u64::from(*job), |name, value| {
            // Mostly they come in the order of those that vary.
            let place = (next..varying.len()).chain(0..next).find(|place| *varying[*place] == *name);
            if let Some(place) = place {
                values[place] = Some(value);
                next = place + 1;
            }
        });
        for (filling, value) in fillings.iter_mut().zip(&mut values) {
            filling.push(value.take().as_ref());
        }
    }
    let names = varying.iter().map(ToString::to_string);
    names.zip(fillings.into_iter().map(|filling| filling.column)).collect()
}
