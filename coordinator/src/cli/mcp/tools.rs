//! The tools: their names, what they say of themselves, and what they take.

use std::sync::Arc;

use rmcp::{
    handler::server::tool::schema_for_input,
    model::{self, JsonObject, ToolAnnotations},
    schemars::JsonSchema,
};
use serde::Deserialize;
use strum::VariantArray;

/// Most rows of a list.
pub(super) const ROWS_MAX: u32 = 100;
/// Rows where none are asked for.
const ROWS_DEFAULT: u32 = 20;
/// Longest wait of one call, in seconds: clients give up on a call that takes much longer.
pub(super) const WAIT_SECONDS_MAX: u32 = 300;
/// Half of what a client of the usual libraries waits for an answer that it hears nothing of.
const WAIT_SECONDS_DEFAULT: u32 = 30;

/// What an assistant may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr, strum::EnumString, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(super) enum Tool {
    ListSweeps,
    ShowSweep,
    ListJobs,
    ShowJob,
    BestJob,
    Explain,
    ListWorkers,
    WaitForSweep,
    ValidateSweep,
    SubmitSweep,
    ExtendSweep,
    PauseSweep,
    ResumeSweep,
    StopSweep,
    CancelSweep,
    RetrySweep,
}

/// A page of a list.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "rmcp::schemars")]
pub(super) struct PageOf {
    /// Rows, at most 100.
    #[serde(default = "rows")]
    #[schemars(range(min = 1, max = 100))]
    pub(super) rows: u32,
    /// `next` of the page before.
    #[serde(default)]
    pub(super) after: String,
}

/// A sweep.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "rmcp::schemars")]
pub(super) struct OfSweep {
    /// The sweep's number.
    #[schemars(range(min = 1))]
    pub(super) sweep: u64,
}

/// A job of a sweep.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "rmcp::schemars")]
pub(super) struct OfJob {
    /// The sweep's number.
    #[schemars(range(min = 1))]
    pub(super) sweep: u64,
    /// The job's number within the sweep.
    #[schemars(range(min = 1))]
    pub(super) job: u64,
}

/// A sweep, or one job of it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "rmcp::schemars")]
pub(super) struct OfEither {
    /// The sweep's number.
    #[schemars(range(min = 1))]
    pub(super) sweep: u64,
    /// The number of one job; without it, the whole sweep.
    #[schemars(range(min = 1))]
    pub(super) job: Option<u64>,
}

/// Jobs of a sweep.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "rmcp::schemars")]
pub(super) struct JobsOf {
    /// The sweep's number.
    #[schemars(range(min = 1))]
    pub(super) sweep: u64,
    /// Only jobs in these states: pending, running, paused, done, diverged, stopped, failed, cancelled.
    #[serde(default)]
    pub(super) states: Vec<String>,
    /// Rows, at most 100.
    #[serde(default = "rows")]
    #[schemars(range(min = 1, max = 100))]
    pub(super) rows: u32,
    /// `next` of the page before.
    #[serde(default)]
    pub(super) after: String,
}

/// How long to wait.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "rmcp::schemars")]
pub(super) struct WaitFor {
    /// The sweep's number.
    #[schemars(range(min = 1))]
    pub(super) sweep: u64,
    /// Longest wait in seconds, at most 300; call again to wait longer. Many clients give up on a call after 60 seconds.
    #[serde(default = "seconds")]
    #[schemars(range(min = 1, max = 300))]
    pub(super) seconds: u32,
}

/// A sweep file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "rmcp::schemars")]
pub(super) struct SweepText {
    /// The text of a sweep file (YAML), such as "name: rates\ndataset: {path: data/train}\nparameters: {learning_rate: {values: [0.1, 0.01]}}".
    pub(super) file: String,
    /// Changes of the file, each as KEY=VALUE, such as "epochs=5".
    #[serde(default)]
    pub(super) changes: Vec<String>,
}

/// A sweep file and the sweep that it is for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "rmcp::schemars")]
pub(super) struct Extension {
    /// The number of the sweep that gets the jobs which it lacks.
    #[schemars(range(min = 1))]
    pub(super) sweep: u64,
    /// The text of the sweep file: the sweep's own, with more values, jobs or other limits.
    pub(super) file: String,
    /// Changes of the file, each as KEY=VALUE.
    #[serde(default)]
    pub(super) changes: Vec<String>,
}

/// What to try again.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "rmcp::schemars")]
pub(super) struct Again {
    /// The sweep's number.
    #[schemars(range(min = 1))]
    pub(super) sweep: u64,
    /// The number of one job; without it, all failed ones.
    #[schemars(range(min = 1))]
    pub(super) job: Option<u64>,
    /// Cancelled jobs, too. Someone ended them, so they are tried again only where this is said.
    #[serde(default)]
    pub(super) cancelled_too: bool,
}

fn rows() -> u32 {
    ROWS_DEFAULT
}

fn seconds() -> u32 {
    WAIT_SECONDS_DEFAULT
}

impl Tool {
    /// Those that an assistant gets: with `is_read_only`, those that change nothing.
    pub(super) fn offered(is_read_only: bool) -> impl Iterator<Item = Self> {
        Self::VARIANTS.iter().copied().filter(move |tool| !is_read_only || !tool.changes())
    }

    /// Whether it changes something.
    fn changes(self) -> bool {
        matches!(
            self,
            Self::SubmitSweep
                | Self::ExtendSweep
                | Self::PauseSweep
                | Self::ResumeSweep
                | Self::StopSweep
                | Self::CancelSweep
                | Self::RetrySweep
        )
    }

    /// What it is for.
    fn description(self) -> &'static str {
        match self {
            Self::ListSweeps => "Lists sweeps, newest first: state, counts of jobs by state, the best job.",
            Self::ShowSweep => "Shows a sweep with its file, its best job, and why jobs wait.",
            Self::ListJobs => {
                "Lists jobs of a sweep with their parameters and last metrics, in the order of their numbers."
            }
            Self::ShowJob => {
                "Shows a job: parameters, attempts with the reasons of their ends, metrics of each epoch."
            }
            Self::BestJob => {
                "Shows the best configuration of a sweep so far, by the sweep's metric: its first job; with `repeats`, `best_of_sweep` is the mean of \
                 `best_trainings` trainings. `analysis.best` compares it with the runner-up: `separable` is true where a test tells it from that, \
                 false where it may be chance, and null where no test was possible (`not_tested` says why); `not_separable` counts the other \
                 configurations that it is not better than. It is null in sweeps of more than 200,000 jobs."
            }
            Self::Explain => {
                "Says why nothing moves in a sweep and why its jobs failed or diverged, the most frequent reasons first; with a job, why that \
                 one is in its state, with the last lines of its log."
            }
            Self::ListWorkers => "Lists workers: slots, what runs, and why one takes no jobs.",
            Self::WaitForSweep => {
                "Waits until a sweep has ended, or for some seconds; returns the sweep as it is then."
            }
            Self::ValidateSweep => {
                "Checks a sweep file without submitting it: its number of jobs, the first of them, notes, and `hours_at_most` as the budget counts \
                 them."
            }
            Self::SubmitSweep => {
                "Submits a sweep file and starts its jobs, within the budget. Validate it first. The answer says what is left of the budget: \
                 its hours count job_timeout for each attempt that may fail or end at a rung, times the GPUs of a job, and not attempts that \
                 are lost or handed back."
            }
            Self::ExtendSweep => {
                "Adds the jobs that a sweep lacks of a file to it, within the budget; finished jobs stay."
            }
            Self::PauseSweep => "Starts no more jobs of a sweep until it is resumed; those that run go on.",
            Self::ResumeSweep => "Starts jobs of a paused sweep again.",
            Self::StopSweep => {
                "Starts no more jobs of a sweep, or no more attempts of one job; what runs comes to its end."
            }
            Self::CancelSweep => {
                "Ends a sweep with all that runs of it, or one job. What ran and was not done is lost."
            }
            Self::RetrySweep => "Tries failed jobs again, or one job, within the budget.",
        }
    }

    fn schema(self) -> Result<Arc<JsonObject>, String> {
        match self {
            Self::ListSweeps | Self::ListWorkers => schema_for_input::<PageOf>(),
            Self::ShowSweep | Self::BestJob | Self::PauseSweep | Self::ResumeSweep => {
                schema_for_input::<OfSweep>()
            }
            Self::ListJobs => schema_for_input::<JobsOf>(),
            Self::ShowJob => schema_for_input::<OfJob>(),
            Self::Explain | Self::StopSweep | Self::CancelSweep => schema_for_input::<OfEither>(),
            Self::WaitForSweep => schema_for_input::<WaitFor>(),
            Self::ValidateSweep | Self::SubmitSweep => schema_for_input::<SweepText>(),
            Self::ExtendSweep => schema_for_input::<Extension>(),
            Self::RetrySweep => schema_for_input::<Again>(),
        }
    }

    /// The tool as the protocol describes it.
    ///
    /// # Errors
    /// Its schema is none of an object.
    pub(super) fn described(self) -> Result<model::Tool, String> {
        let ends = matches!(self, Self::StopSweep | Self::CancelSweep);
        let hints = ToolAnnotations::new().read_only(!self.changes()).destructive(ends).open_world(false);
        let name: &str = self.into();
        Ok(model::Tool::new(name, self.description(), self.schema()?).with_annotations(hints))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tool_describes_itself_and_its_bounds() {
        for tool in Tool::offered(false) {
            let described = tool.described().unwrap();
            assert!(described.description.as_ref().is_some_and(|text| text.ends_with('.')), "{tool:?}");
            let schema = described.input_schema;
            assert_eq!(schema["additionalProperties"], false, "{tool:?}");
            for (name, property) in schema["properties"].as_object().unwrap() {
                assert!(property["description"].is_string(), "{tool:?} {name}");
                let is_number = property["type"] == "integer" || property["type"][0] == "integer";
                assert!(!is_number || property["minimum"] == 1, "{tool:?} {name}: {property}");
            }
        }
        let rows = Tool::ListJobs.described().unwrap().input_schema["properties"]["rows"].clone();
        assert_eq!(rows["maximum"], ROWS_MAX, "{rows}");
        let seconds = Tool::WaitForSweep.described().unwrap().input_schema["properties"]["seconds"].clone();
        assert_eq!(
            (&seconds["maximum"], &seconds["default"]),
            (&WAIT_SECONDS_MAX.into(), &30.into()),
            "{seconds}"
        );
    }

    #[test]
    fn who_only_looks_gets_no_tool_that_changes_anything() {
        let names: Vec<&str> = Tool::offered(true).map(Into::into).collect();
        assert_eq!(names.len(), 9, "{names:?}");
        for tool in Tool::offered(false) {
            let hints = tool.described().unwrap().annotations.unwrap();
            let name: &str = tool.into();
            assert_eq!(hints.read_only_hint, Some(names.contains(&name)), "{name}");
        }
    }
}
