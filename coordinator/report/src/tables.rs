//! The files for programs: `results.csv`, `epochs.csv`, `results.json`, written row by row.

use std::io::{BufWriter, Write};

use proto::v1;
use serde_json::{Map, Value, json};
use tempfile::NamedTempFile;
use terminal::text::{self, csv_cell};
use terms::ParameterValue;

use super::rows::{JobRow, cut};

/// Open tables of one report.
#[derive(Debug)]
pub(super) struct Tables {
    parameters: Vec<String>,
    results: csv::Writer<NamedTempFile>,
    epochs: csv::Writer<NamedTempFile>,
    json: BufWriter<NamedTempFile>,
    json_jobs: u64,
}

/// The finished tables.
pub(super) struct Finished {
    pub(super) results: NamedTempFile,
    pub(super) epochs: NamedTempFile,
    pub(super) json: NamedTempFile,
}

impl Tables {
    /// Begins tables in three new files.
    pub(super) fn new(
        header: &v1::ReportHeader,
        mut file: impl FnMut() -> std::io::Result<NamedTempFile>,
    ) -> std::io::Result<Self> {
        let parameters = header.parameters.clone();
        let mut results = csv::Writer::from_writer(file()?);
        let rest = [
            "state",
            "attempts",
            "worker",
            "epochs_done",
            "train_seconds",
            "val_accuracy",
            "train_loss",
            "pack_size",
            "val_loss",
            "train_accuracy",
            "best_epoch",
            "best_val_accuracy",
            "reason",
        ];
        let names: Vec<_> = parameters.iter().map(|name| csv_cell(name)).collect();
        results.write_record(std::iter::once("job").chain(names.iter().map(AsRef::as_ref)).chain(rest))?;
        let mut epochs = csv::Writer::from_writer(file()?);
        epochs.write_record([
            "job",
            "attempt",
            "epoch",
            "train_loss",
            "val_accuracy",
            "epoch_seconds",
            "val_loss",
            "train_accuracy",
        ])?;
        let mut json = BufWriter::new(file()?);
        let sweep = header.sweep.clone().unwrap_or_default();
        write!(json, "{{\n\"sweep\": {},\n\"jobs\": [", text::json(&sweep_json(&sweep).to_string()))?;
        Ok(Self { parameters, results, epochs, json, json_jobs: 0 })
    }

    /// Adds one job and its epochs.
    pub(super) fn job(&mut self, row: &JobRow, epochs: &[v1::EpochRow]) -> std::io::Result<()> {
        let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
        let mut record = vec![row.number.to_string()];
        record.extend(self.parameters.iter().map(|name| parameter_cell(row, name)));
        record.extend([
            row.state.to_owned(),
            row.attempts.to_string(),
            csv_cell(&row.worker).into_owned(),
            row.epochs_done.to_string(),
            number(row.train_seconds),
            number(row.val_accuracy),
            number(row.train_loss),
            row.pack_size.to_string(),
            number(row.val_loss),
            number(row.train_accuracy),
            row.best.map_or_else(String::new, |(epoch, _)| epoch.to_string()),
            number(row.best.map(|(_, accuracy)| accuracy)),
            csv_cell(&cut(&row.reason)).into_owned(),
        ]);
        self.results.write_record(record)?;
        for epoch in epochs {
            let record = epoch.record.clone().unwrap_or_default();
            self.epochs.write_record([
                row.number.to_string(),
                epoch.attempt.to_string(),
                record.epoch.to_string(),
                record.train_loss.to_string(),
                record.val_accuracy.to_string(),
                record.epoch_seconds.to_string(),
                number(record.val_loss),
                number(record.train_accuracy),
            ])?;
        }
        write!(
            self.json,
            "{}\n{}",
            if self.json_jobs == 0 { "" } else { "," },
            text::json(&job_json(row, epochs).to_string())
        )?;
        self.json_jobs += 1;
        Ok(())
    }

    /// Ends the tables.
    pub(super) fn finish(mut self) -> std::io::Result<Finished> {
        self.json.write_all(b"\n]\n}\n")?;
        Ok(Finished {
            results: self.results.into_inner().map_err(|error| std::io::Error::other(error.to_string()))?,
            epochs: self.epochs.into_inner().map_err(|error| std::io::Error::other(error.to_string()))?,
            json: self.json.into_inner().map_err(std::io::IntoInnerError::into_error)?,
        })
    }
}

/// A parameter's value: a text is made safe, a number is written as it is.
fn parameter_cell(row: &JobRow, name: &str) -> String {
    match row.parameters.get(name) {
        Some(ParameterValue::Text(text)) => csv_cell(text).into_owned(),
        _ => row.parameter(name),
    }
}

fn sweep_json(sweep: &v1::Sweep) -> Value {
    let state = terms::SweepState::try_from(sweep.state()).ok();
    let dataset = sweep.dataset.as_ref().map(|dataset| {
        json!({
            "content_hash": dataset.content_hash,
            "classes": dataset.classes,
            "train_images": dataset.train_images,
            "val_images": dataset.val_images,
            "skipped": dataset.skipped,
            "skipped_count": dataset.skipped_count,
            "train_by_class": dataset.train_by_class,
            "val_by_class": dataset.val_by_class,
            "validation": (!dataset.validation.is_empty()).then_some(&dataset.validation),
            "left_out": dataset.left_out.iter().map(|one| json!({
                "reason": one.reason, "detail": one.detail, "count": one.count, "examples": one.examples,
            })).collect::<Vec<_>>(),
        })
    });
    json!({
        "id": sweep.sweep_id,
        "name": sweep.name,
        "state": state.map_or("", terms::SweepState::as_str),
        "job_count": sweep.job_count,
        "metric": sweep.metric.as_ref().map(metric_json),
        "best_job": sweep.best.as_ref().and_then(|best| Some(best.point.as_ref()?.job)),
        "best_weights": sweep.best_weights.as_ref().map(|best| {
            json!({"job": best.job, "attempt": best.attempt, "bytes": best.bytes, "blake3": best.blake3})
        }),
        "varying": sweep.varying,
        "created_unix_ms": sweep.created_unix_ms,
        "ended_unix_ms": (sweep.ended_unix_ms > 0).then_some(sweep.ended_unix_ms),
        "dataset": dataset,
        "specification": sweep.specification,
    })
}

fn metric_json(metric: &v1::Metric) -> Value {
    let used = if metric.use_best { "best" } else { "last" };
    json!({"name": metric.name, "maximize": metric.maximize, "use": used})
}

fn job_json(row: &JobRow, epochs: &[v1::EpochRow]) -> Value {
    let value = |value: &ParameterValue| serde_json::to_value(value).unwrap_or(Value::Null);
    let parameters: Map<_, _> = row.parameters.0.iter().map(|(name, v)| (name.clone(), value(v))).collect();
    let epoch = |epoch: &v1::EpochRow| {
        let record = epoch.record.clone().unwrap_or_default();
        json!({
            "attempt": epoch.attempt,
            "epoch": record.epoch,
            "train_loss": record.train_loss,
            "val_accuracy": record.val_accuracy,
            "epoch_seconds": record.epoch_seconds,
            "val_loss": record.val_loss,
            "train_accuracy": record.train_accuracy,
        })
    };
    json!({
        "job": row.number,
        "parameters": parameters,
        "state": row.state,
        "attempts": row.attempts,
        "worker": row.worker,
        "epochs_done": row.epochs_done,
        "train_seconds": row.train_seconds,
        "val_accuracy": row.val_accuracy,
        "train_loss": row.train_loss,
        "pack_size": row.pack_size,
        "val_loss": row.val_loss,
        "train_accuracy": row.train_accuracy,
        "best_epoch": row.best.map(|(epoch, _)| epoch),
        "best_val_accuracy": row.best.map(|(_, accuracy)| accuracy),
        "reason": cut(&row.reason),
        "weights": (!row.weights.is_empty()).then_some(&row.weights),
        "epochs": epochs.iter().map(epoch).collect::<Vec<_>>(),
    })
}
