//! How the jobs of a sweep were trained, gathered job by job: what the report says of its method.

use std::collections::{BTreeMap, BTreeSet};

use terms::ParameterValue;

use super::rows::JobRow;

/// Most values of a parameter that are listed, each by itself.
const VALUES_MAX: usize = 20;
/// Most workers that are told apart: no one reads more, and each name takes memory.
const WORKERS_MAX: usize = 1_000;
/// Most devices that are told apart: all machines name theirs alike, and no one reads more. The jobs of others are counted together.
const DEVICES_MAX: usize = 64;

/// The values that jobs have of a parameter.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Values {
    /// Those that came first, each once.
    pub(super) some: Vec<ParameterValue>,
    /// Whether there are others.
    pub(super) more: bool,
    /// The smallest and the largest, where all are numbers.
    pub(super) range: Option<(f64, f64)>,
    others_than_numbers: bool,
}

/// How jobs were trained.
#[derive(Debug)]
pub(super) struct Training {
    /// Of each parameter, in the order of the space.
    values: Vec<(String, Values)>,
    /// Fewest and most epochs of the jobs that are done.
    pub(super) epochs: Option<(u32, u32)>,
    /// Epochs of all jobs that count.
    pub(super) epochs_in_all: u64,
    workers: BTreeSet<String>,
    /// Whether there were more workers than are told apart.
    pub(super) more_workers: bool,
    /// How many jobs with epochs that count had their last attempt on each device.
    pub(super) devices: BTreeMap<String, u64>,
    /// How many had it on devices beyond those.
    pub(super) on_other_devices: u64,
}

impl Training {
    pub(super) fn new(parameters: &[String]) -> Self {
        Self {
            values: parameters.iter().map(|name| (name.clone(), Values::default())).collect(),
            epochs: None,
            epochs_in_all: 0,
            workers: BTreeSet::new(),
            more_workers: false,
            devices: BTreeMap::new(),
            on_other_devices: 0,
        }
    }

    pub(super) fn job(&mut self, row: &JobRow) {
        for (name, values) in &mut self.values {
            if let Some(value) = row.parameters.get(name) {
                values.add(value);
            }
        }
        self.epochs_in_all += u64::from(row.epochs_done);
        if row.state == "done" {
            let (fewest, most) = self.epochs.unwrap_or((row.epochs_done, row.epochs_done));
            self.epochs = Some((fewest.min(row.epochs_done), most.max(row.epochs_done)));
        }
        if row.epochs_done > 0 && !row.device.is_empty() {
            let is_known = self.devices.contains_key(&row.device);
            if is_known || self.devices.len() < DEVICES_MAX {
                *self.devices.entry(row.device.clone()).or_default() += 1;
            } else {
                self.on_other_devices += 1;
            }
        }
        if !row.worker.is_empty() && !self.workers.contains(&row.worker) {
            match self.workers.len() < WORKERS_MAX {
                true => drop(self.workers.insert(row.worker.clone())),
                false => self.more_workers = true,
            }
        }
    }

    /// How many workers had the last attempts of jobs.
    pub(super) fn workers(&self) -> usize {
        self.workers.len()
    }

    /// The values that jobs have of a parameter.
    pub(super) fn values(&self, name: &str) -> Option<&Values> {
        self.values.iter().find(|(known, _)| known == name).map(|(_, values)| values)
    }

    /// The parameters that all jobs have with one value.
    pub(super) fn fixed(&self) -> impl Iterator<Item = (&str, &ParameterValue)> {
        self.values.iter().filter_map(|(name, values)| match values.some.as_slice() {
            [value] if !values.more => Some((name.as_str(), value)),
            _ => None,
        })
    }
}

impl Values {
    fn add(&mut self, value: &ParameterValue) {
        let number = match value {
            ParameterValue::Integer(number) => Some(*number as f64),
            ParameterValue::Float(number) => Some(*number),
            _ => None,
        };
        match number.filter(|_| !self.others_than_numbers) {
            Some(number) => {
                let (low, high) = self.range.unwrap_or((number, number));
                self.range = Some((low.min(number), high.max(number)));
            }
            None => (self.others_than_numbers, self.range) = (true, None),
        }
        if self.more || self.some.contains(value) {
            return;
        }
        match self.some.len() < VALUES_MAX {
            true => self.some.push(value.clone()),
            false => self.more = true,
        }
    }

    /// Those that are listed: numbers rising, others as they came.
    pub(super) fn in_order(&self) -> Vec<&ParameterValue> {
        let number = |value: &ParameterValue| match value {
            ParameterValue::Integer(number) => *number as f64,
            ParameterValue::Float(number) => *number,
            _ => 0.0,
        };
        let mut values: Vec<&ParameterValue> = self.some.iter().collect();
        if self.range.is_some() {
            values.sort_by(|one, other| number(one).total_cmp(&number(other)));
        }
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_values_are_listed_in_order_and_of_many_the_range_is_known() {
        let mut few = Values::default();
        for value in [0.01, 0.0001, 0.01, 0.005] {
            few.add(&ParameterValue::Float(value));
        }
        assert_eq!(
            few.in_order(),
            [0.0001, 0.005, 0.01].map(ParameterValue::Float).iter().collect::<Vec<_>>()
        );
        assert!(!few.more);
        let mut many = Values::default();
        (0..100_000).for_each(|number| many.add(&ParameterValue::Integer(number)));
        assert_eq!((many.some.len(), many.more, many.range), (VALUES_MAX, true, Some((0.0, 99_999.0))));
        many.add(&ParameterValue::Text("x".into()));
        many.add(&ParameterValue::Integer(1));
        assert_eq!(many.range, None, "not all are numbers");
    }
}
