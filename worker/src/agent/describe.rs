//! `sweep-worker describe`: what the trainer says that it trains. It is started as a worker would start it, and ended once it is
//! ready.

use std::{io::Write, process::ExitCode};

use anyhow::Context;
use proto::v1;
use terms::manifest::{Manifest, builtins};

use super::{
    options::StartOptions,
    own_trainer::OwnTrainer,
    slots::{Bringing, Slots, Trainers},
};

/// Prints the manifests of what the trainer trains, one after another, as `--manifest` of `sweep` reads them.
///
/// # Errors
/// The trainer does not get ready, or standard output is closed.
pub fn describe(options: &StartOptions) -> anyhow::Result<ExitCode> {
    let own = options.trainer.is_none().then(OwnTrainer::find).transpose()?;
    let program = own.as_ref().map(OwnTrainer::executable).unwrap_or_default();
    let slot = v1::Slot { device: "cpu".to_owned(), pack_size_max: 1, ..v1::Slot::default() };
    let mut model = options.trainer_command(&slot, &program, None);
    model.ahead = true;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")?;
    let told = runtime.block_on(async {
        let (mut slots, _events) = Slots::start(
            vec![Trainers { device: "cpu".to_owned(), model, program: None }],
            &Bringing::default(),
        );
        let told = slots.prepared().await;
        slots.shut_down().await;
        told
    });
    let mut manifests = told.map_err(anyhow::Error::msg)?;
    if manifests.is_empty() {
        // So trainers say it that name none.
        manifests = builtins().iter().take(1).map(Manifest::clone).collect();
    }
    let mut output = std::io::stdout().lock();
    for manifest in &manifests {
        writeln!(output, "{}", serde_json::to_string_pretty(manifest)?)?;
    }
    output.flush()?;
    Ok(ExitCode::SUCCESS)
}
