//! What operators see of a program: the port for probes and scrapers (`admin`), the numbers that every process has
//! (`process`), checks of a set-up (`doctor`), and an answer to calls that came to the wrong port (`plain_calls`). Which numbers a program counts, and when it is ready, is its own matter.
//!
//! Imports no other crate of the workspace.

pub mod admin;
pub mod doctor;
pub mod plain_calls;
pub mod process;

/// The media type of [`encode`]'s text.
pub const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The metrics of a registry as text. What it is given were metrics that this crate's users made, so that it cannot fail but
/// for a bug, and then what was written stays away.
pub fn encode(registry: &prometheus_client::registry::Registry) -> String {
    let mut text = String::new();
    if let Err(error) = prometheus_client::encoding::text::encode(&mut text, registry) {
        tracing::error!(%error, "metrics cannot be written");
        text.clear();
    }
    text
}
