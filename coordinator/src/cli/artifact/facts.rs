//! What is written next to weights and files: what they are of, and how they are used.

use proto::v1;
use report::{Columns, view};
use serde_json::{Map, Value, json};
use terms::outputs::OutputIndex;

use super::{
    super::{client::Target, failure::Failure},
    MODEL_FILE,
};
use crate::shapes::{rows, specification};

/// What one needs to use the weights, and where they come from.
pub(super) async fn facts(
    sweep: v1::Sweep,
    artifact: &v1::Artifact,
    index: Option<&OutputIndex>,
    target: &Target,
) -> Result<Value, Failure> {
    let request = v1::GetJobRequest { sweep_id: sweep.sweep_id, job: artifact.job };
    let job = target.call(async |client| client.get_job(request).await).await?.job.unwrap_or_default();
    let metrics = metrics(&sweep, &job);
    let specification = specification(&sweep).map_err(|error| Failure::operation(error.to_string()))?;
    let dataset = sweep.dataset.unwrap_or_default();
    let point = job.point.unwrap_or_default();
    let parameters = view::Parameters(proto::parameters_from_wire(point.parameters));
    let mut facts = json!({
        "model": specification.trainable.name(),
        "parameters": parameters,
        "metrics": metrics,
        "sweep": {"id": sweep.sweep_id, "name": sweep.name, "created": view::time(sweep.created_unix_ms)},
        "job": artifact.job,
        "attempt": artifact.attempt,
    });
    // What a program reads, and how, it alone knows.
    if let Some(images) = &specification.dataset {
        let held_out = dataset.validation.is_empty();
        facts["classes"] = json!(dataset.classes);
        facts["transform"] = json!({
            "size": [images.image_size, images.image_size],
            "interpolation": "bilinear",
            "antialias": true,
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
        });
        facts["dataset"] = json!({
            "content_hash": dataset.content_hash,
            "train_images": dataset.train_images,
            "val_images": dataset.val_images,
            // Where there is a validation set, no share was held out.
            "validation": (!held_out).then_some(&dataset.validation),
            "val_fraction": held_out.then_some(images.val_fraction),
            "split_seed": held_out.then_some(images.split_seed),
        });
    }
    match index {
        None => {
            facts["weights"] =
                json!({"file": MODEL_FILE, "bytes": artifact.bytes, "blake3": artifact.blake3});
        }
        Some(index) => {
            facts["archive"] = json!({"bytes": artifact.bytes, "blake3": artifact.blake3});
            facts["files"] = json!(index.files);
            facts["left_out"] = json!(index.left_out);
        }
    }
    Ok(facts)
}

/// The metrics of the weights, which are those after the last epoch, even if another was better.
fn metrics(sweep: &v1::Sweep, job: &v1::Job) -> Value {
    let schema = rows::metrics(sweep, &sweep.metric_names);
    let objective = rows::objective(sweep).name;
    let columns = Columns::new(&[], &schema, &objective);
    let mut metrics = Map::new();
    metrics.insert("epochs".into(), job.epochs_done.into());
    metrics.insert("train_seconds".into(), job.train_seconds.into());
    metrics.insert("best_epoch".into(), job.best_epoch.into());
    for (index, column) in &columns.metrics {
        let name = index.and_then(|index| schema.names().get(index)).map_or(&*objective, |name| &**name);
        metrics.insert(column.clone(), view::number(rows::metric_of(job, name)));
    }
    metrics.insert(columns.best, view::number(rows::best_objective_of(job, &objective)));
    Value::Object(metrics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_and_the_data_set_are_read_from_a_text_that_is_shortened_for_people() {
        use domain::{
            definition::SweepDefinition,
            specification::{Specification, SpecificationSource},
        };
        let of = |seeds: std::ops::Range<u32>| {
            let seeds: Vec<String> = seeds.map(|seed| (1_000_000_000 + seed).to_string()).collect();
            let text = format!(
                "name: x\ndataset: {{path: d, image_size: 64}}\nparameters: {{seed: {{values: [{}]}}}}\n",
                seeds.join(", ")
            );
            Specification::parse(&SpecificationSource { text, ..SpecificationSource::default() }).unwrap()
        };
        let mut definition = SweepDefinition::new(terms::SweepId(1), of(0..10)).unwrap();
        for part in 1..30 {
            definition = definition.extended(of(part * 10_000..(part + 1) * 10_000)).unwrap();
        }
        let shown = definition.shown_text();
        assert!(shown.contains("extensions are left out here"));
        let manifest = definition.specification.trainable.model().unwrap().to_json();
        let sweep = v1::Sweep { specification: shown, manifest, ..v1::Sweep::default() };
        let read = specification(&sweep).unwrap();
        assert_eq!((read.trainable.name(), read.dataset.unwrap().image_size), ("simple_cnn", 64));
    }
}
