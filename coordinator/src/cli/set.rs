//! `sweep set`: changes settings of an existing sweep.

use proto::v1;

use super::{
    client::Target,
    failure::Failure,
    output::{Format, print},
    tables::print_sweep,
};

/// Arguments of `sweep set`.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "What decides the numbers of jobs cannot be set: a sweep gets other jobs with `sweep submit \
--extend`, and keeps its rule of early stopping. A limit counts for jobs that start from then on; jobs that have failed are tried again by `sweep retry`."
)]
pub(super) struct SetArguments {
    /// Sweep's number
    #[arg(value_parser = super::ids::sweep_id)]
    sweep: u64,
    /// name, dataset.path, metric.use, metric.target, artifacts.keep or a key of `execution` with its new value, such as
    /// execution.max_parallel=8; none lifts a limit or a target
    #[arg(required = true, value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

/// `sweep set`.
pub(super) async fn set(arguments: &SetArguments, target: &Target, format: Format) -> Result<(), Failure> {
    let request = v1::SetSweepRequest { sweep_id: arguments.sweep, settings: arguments.settings.clone() };
    let answer = target.call(async |client| client.set_sweep(request.clone()).await).await?;
    let sweep = answer.sweep.ok_or_else(|| Failure::operation("the coordinator's answer names no sweep"))?;
    if format != Format::Table {
        return print_sweep(&sweep, format);
    }
    match answer.changed.as_slice() {
        [] => print(&format!("sweep {} has these settings already\n", sweep.sweep_id)),
        changed => print(&format!("sweep {} changed\n{}", sweep.sweep_id, changes(changed))),
    }
}

/// One line for each setting that changed, with its consequences.
pub(super) fn changes(changed: &[v1::SettingChange]) -> String {
    let line = |change: &v1::SettingChange| {
        let v1::SettingChange { key, before, after } = change;
        let note = match key.as_str() {
            "execution.job_timeout"
            | "execution.stop_grace_period"
            | "execution.checkpoint_every_epochs"
            | "execution.pack_size_max" => "; running jobs keep the one they began with",
            "execution.attempts_max" => "; jobs that have failed stay so until `sweep retry`",
            "dataset.path" => "; a worker that finds other pictures there refuses its jobs",
            _ => "",
        };
        format!("  {key}: {before} -> {after}{note}\n")
    };
    changed.iter().map(line).collect()
}
