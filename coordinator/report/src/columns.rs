//! The names of columns and of JSON keys: one row of a job has the same names in every table and every document.
//!
//! Parameters and metrics are the sweep's own and may have any name; one that is already taken gets a prefix.

use std::collections::HashSet;

use terms::MetricSchema;

/// Columns that every job has, in any sweep. A parameter or a metric of such a name gets a prefix.
pub const JOB_COLUMNS: [&str; 12] = [
    "job",
    "state",
    "attempts",
    "worker",
    "epochs_done",
    "train_seconds",
    "pack_size",
    "best_epoch",
    "reason",
    "weights",
    "started",
    "ended",
];
/// Other keys of a job's JSON. A metric of such a name gets a prefix.
const JOB_KEYS: [&str; 2] = ["parameters", "epochs"];
/// Columns that every epoch has.
pub const EPOCH_COLUMNS: [&str; 4] = ["job", "attempt", "epoch", "epoch_seconds"];

/// Prefix of a parameter whose name is taken.
const PARAMETER: &str = "parameters.";
/// Prefix of a metric whose name is taken.
const METRIC: &str = "metrics.";

/// The names of the columns that depend on the sweep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    /// Of its parameters, in order.
    pub parameters: Vec<String>,
    /// Of its metrics in the tables of jobs, the objective first: its index in a row of metrics, and its name.
    pub metrics: Vec<(Option<usize>, String)>,
    /// Of the objective at the best epoch.
    pub best: String,
    /// Of its metrics in the tables of epochs, in the order of the schema.
    pub of_epochs: Vec<String>,
}

impl Columns {
    /// The columns of a sweep with these parameters and metrics.
    pub fn new(parameters: &[String], metrics: &MetricSchema, objective: &str) -> Self {
        let mut names = Names(JOB_COLUMNS.map(str::to_owned).into());
        let of_parameters = parameters.iter().map(|name| names.free(PARAMETER, name)).collect();
        names.0.extend(JOB_KEYS.map(str::to_owned));
        let others = metrics.names().iter().map(|name| &**name).filter(|name| *name != objective);
        let metrics_of_jobs = std::iter::once(objective).chain(others);
        let of_jobs = metrics_of_jobs.map(|name| (metrics.index(name), names.free(METRIC, name))).collect();
        let best = names.free(METRIC, &format!("best_{objective}"));
        let mut names = Names(EPOCH_COLUMNS.map(str::to_owned).into());
        let of_epochs = metrics.names().iter().map(|name| names.free(METRIC, name)).collect();
        Self { parameters: of_parameters, metrics: of_jobs, best, of_epochs }
    }
}

/// Names that are taken.
struct Names(HashSet<String>);

impl Names {
    /// The name, with as many prefixes as it takes to be free.
    fn free(&mut self, prefix: &str, name: &str) -> String {
        let mut name = name.to_owned();
        while !self.0.insert(name.clone()) {
            name.insert_str(0, prefix);
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_two_columns_have_one_name(
            parameters in proptest::collection::hash_set("(metrics\\.)?(job|state|loss|epochs|best_loss|x)", 0..6),
            metrics in proptest::collection::hash_set("(metrics\\.|parameters\\.)?(job|epoch|loss|epochs|best_loss|x)", 0..8),
        ) {
            let parameters: Vec<String> = parameters.into_iter().collect();
            let schema = MetricSchema::of(metrics.iter().map(String::as_str)).unwrap();
            let columns = Columns::new(&parameters, &schema, "loss");
            let fixed = JOB_COLUMNS.iter().map(|name| (*name).to_owned());
            let own = columns.metrics.iter().map(|(_, name)| name.clone());
            let names: Vec<String> = fixed.chain(columns.parameters).chain(own).chain([columns.best]).collect();
            prop_assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
            let fixed = EPOCH_COLUMNS.iter().map(|name| (*name).to_owned());
            let names: Vec<String> = fixed.chain(columns.of_epochs).collect();
            prop_assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
        }
    }

    #[test]
    fn the_objective_comes_first_and_other_metrics_keep_their_order() {
        let metrics = MetricSchema::of(["train_loss", "val_accuracy", "val_loss"]).unwrap();
        let columns = Columns::new(&["lr".to_owned()], &metrics, "val_accuracy");
        let names: Vec<&str> = columns.metrics.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(names, ["val_accuracy", "train_loss", "val_loss"]);
        assert_eq!(columns.metrics[0].0, Some(1));
        assert_eq!(
            (columns.best.as_str(), columns.of_epochs[0].as_str()),
            ("best_val_accuracy", "train_loss")
        );
    }

    #[test]
    fn a_name_that_is_taken_has_a_prefix() {
        let metrics = MetricSchema::of(["job", "loss", "best_loss", "state", "parameters"]).unwrap();
        let parameters = ["state", "epochs", "loss"].map(str::to_owned);
        let columns = Columns::new(&parameters, &metrics, "loss");
        assert_eq!(columns.parameters, ["parameters.state", "epochs", "loss"]);
        let names: Vec<&str> = columns.metrics.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(
            names,
            ["metrics.loss", "metrics.job", "best_loss", "metrics.state", "metrics.parameters"]
        );
        assert_eq!(columns.best, "metrics.best_loss");
        assert_eq!(columns.of_epochs, ["metrics.job", "loss", "best_loss", "state", "parameters"]);
    }
}
