//! Keys that a sweep brings itself: its parameters and metrics, by the names of its columns.

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::Value;

use super::number;
use crate::{columns::Columns, model};

/// Keys with their values, in order.
#[derive(Debug, Clone)]
pub(super) struct Own(Vec<(String, Value)>);

impl Own {
    /// Of a job: the parameters of its sweep, the metrics of its last epoch, and the objective at its best epoch. A parameter that the
    /// job does not have is null, and one with the name of a key of the job is in `parameters` alone.
    pub(super) fn of_job(
        names: &[String],
        columns: &Columns,
        job: &model::Job,
        best: Option<f64>,
        has_epochs: bool,
    ) -> Self {
        let is_taken = |column: &str| column == "parameters" || (has_epochs && column == "epochs");
        let parameter = |(name, column): (&String, &String)| {
            let value = job.parameters.get(name).map(serde_json::to_value);
            (column.clone(), value.and_then(Result::ok).unwrap_or(Value::Null))
        };
        let parameters = names.iter().zip(&columns.parameters).filter(|(_, column)| !is_taken(column));
        let metric = |(index, column): &(Option<usize>, String)| {
            (column.clone(), number(index.and_then(|index| job.metrics.get(index))))
        };
        let mut own: Vec<_> = parameters.map(parameter).collect();
        own.extend(columns.metrics.iter().map(metric));
        own.push((columns.best.clone(), number(best)));
        Self(own)
    }

    /// Of an epoch: its metrics.
    pub(super) fn of_epoch(columns: &Columns, epoch: &model::Epoch) -> Self {
        let metric = |(index, column): (usize, &String)| (column.clone(), number(epoch.metrics.get(index)));
        Self(columns.of_epochs.iter().enumerate().map(metric).collect())
    }
}

impl Serialize for Own {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}
