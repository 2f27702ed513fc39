//! The vocabulary that every crate of the workspace shares: identifiers, states, parameter values, summaries of data
//! sets, bounds. Pure data: no wire format, no I/O. The crate imports no other crate of the workspace.
#![warn(missing_docs)]

mod address;
mod bounds;
pub mod command;
mod dataset;
mod devices;
mod end;
mod gpu_use;
mod ids;
pub mod manifest;
pub mod metrics;
mod number;
pub mod outputs;
mod parameter;
mod progress;
mod role;
pub mod snapshot;
mod state;

pub use address::coordinator_url;
pub use bounds::{
    EPOCH_SECONDS_MAX, EPOCHS_MAX, LOG_LINES_MAX, TEXT_CHARACTERS_MAX, WORKER_MESSAGE_BYTES_MAX, cut,
};
pub use dataset::{DatasetSummary, LeftOut, notes_on_classes, set_of_pictures};
pub use devices::{DeviceChoice, DeviceChoiceError};
pub use end::{Again, EndDetails, ParameterUse};
pub use gpu_use::GpuUse;
pub use ids::{AttemptKey, JobKey, SweepId, WorkerName, WorkerNameError};
pub use metrics::{
    Epoch, EpochReport, Goal, METRIC_NAME_CHARACTERS_MAX, METRICS_MAX, METRICS_REPORTED_MAX, MISSING,
    MetricName, MetricNameError, MetricRow, MetricRowError, MetricSchema, MetricUse, Objective,
    ReportedMetrics, RowBytes, Standing,
};
pub use number::{count, shortest};
pub use parameter::{ParameterMap, ParameterValue};
pub use progress::Progress;
pub use role::Role;
pub use state::{AttemptState, JobState, Outcome, SweepState};
/// `JobState::VARIANTS` and the like.
pub use strum::VariantArray;
