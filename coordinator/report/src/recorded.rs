//! What the record says of a sweep's method: read from the sweep file as it was understood.

use serde::Deserialize;

/// What separates the file with which a sweep began from those that extended it.
pub(super) const SEPARATOR: &str = "\n---\n";

/// The keys of the file that a report names. One that is missing is left out; where one is of another kind than any version writes, all are.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Recorded {
    pub(super) description: String,
    pub(super) model: String,
    pub(super) program: String,
    pub(super) command: Vec<String>,
    /// How points are chosen.
    pub(super) method: String,
    pub(super) search_seed: Option<u64>,
    pub(super) dataset: Dataset,
    pub(super) early_terminate: Option<EarlyTermination>,
    execution: Execution,
    /// How many files extended the sweep.
    #[serde(skip)]
    pub(super) extensions: usize,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Dataset {
    pub(super) path: String,
    pub(super) image_size: Option<u64>,
    pub(super) val_fraction: Option<f64>,
    pub(super) split_seed: Option<u64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct EarlyTermination {
    #[serde(rename = "type")]
    pub(super) kind: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Execution {
    files: Vec<String>,
    snapshot: Option<String>,
}

impl Recorded {
    /// Reads the specification of a sweep. One that this version does not understand says nothing.
    pub(super) fn read(specification: &str) -> Self {
        let mut documents = specification.split(SEPARATOR);
        let first = documents.next().unwrap_or_default();
        let read: Self = serde_yaml::from_str(first).unwrap_or_default();
        Self { extensions: documents.count(), ..read }
    }

    /// The files of a program, and the hash by which the record knows them.
    pub(super) fn files(&self) -> Option<(&[String], &str)> {
        let hash = self.execution.snapshot.as_deref()?;
        Some((&self.execution.files, hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_a_file_are_read_and_what_is_not_understood_says_nothing() {
        let text = "name: x\ndescription: |\n  why\n  so\nmodel: simple_cnn\nmethod: tpe\nsearch_seed: 7\ndataset:\n  path: /data\n  \
                    val_fraction: 0.2\n  split_seed: 3\nparameters:\n  a:\n    values: [1, x]\n---\nname: x\n";
        let read = Recorded::read(text);
        assert_eq!((read.description.as_str(), read.method.as_str()), ("why\nso\n", "tpe"));
        assert_eq!((read.search_seed, read.dataset.val_fraction, read.extensions), (Some(7), Some(0.2), 1));
        assert_eq!((read.dataset.split_seed, read.files()), (Some(3), None));
        for other in ["", "- 1", "method: [1]", "a: b: c"] {
            assert_eq!(Recorded::read(other).method, "", "{other}");
        }
    }
}
