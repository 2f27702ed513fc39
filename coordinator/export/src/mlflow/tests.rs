//! The bodies that are sent; that a server takes them is tested with a server.

use terms::{MetricRow, MetricSchema, ParameterMap, ParameterValue};

use super::*;
use crate::samples;

#[test]
fn batches_stay_within_the_bounds_of_the_server() {
    let (mut sweep, _, jobs) = samples::sweep();
    let (mut job, mut epochs) = jobs.into_iter().next().unwrap();
    sweep.metrics = MetricSchema::of(
        (0..100).map(|place| format!("{place:0100}")).collect::<Vec<_>>().iter().map(String::as_str),
    )
    .unwrap();
    sweep.parameters = (0..128).map(|place| format!("p{place}")).collect();
    let long = ParameterValue::Text("語".repeat(7_000));
    job.parameters = ParameterMap(sweep.parameters.iter().map(|name| (name.clone(), long.clone())).collect());
    epochs = (1..=35)
        .map(|number| Epoch { number, metrics: MetricRow::new(&[0.1; 100]), ..epochs[0].clone() })
        .collect();
    let run = MlflowExperiment::new(&sweep).run(&job, &epochs).unwrap();
    let (mut parameters, mut metrics, mut tags) = (0, 0, 0);
    for body in run.batches("run") {
        assert!(body.to_string().len() < 1_000_000);
        let count = |key: &str| body[key].as_array().map_or(0, Vec::len);
        assert!(count("metrics") <= 1_000 && count("params") <= 100 && count("tags") <= 100);
        for parameter in body["params"].as_array().into_iter().flatten() {
            assert_eq!(parameter["value"].as_str().unwrap().chars().count(), 6_000);
        }
        parameters += count("params");
        metrics += count("metrics");
        tags += count("tags");
    }
    // The time of each epoch, and the best value where the objective has one.
    assert_eq!((parameters, metrics, tags), (128, 35 * 101, 5));
}

#[test]
fn a_run_says_what_its_job_was_and_one_that_never_began_has_none() {
    let (sweep, _, jobs) = samples::sweep();
    let experiment = MlflowExperiment::new(&sweep);
    let runs: Vec<_> = jobs.iter().map(|(job, epochs)| experiment.run(job, epochs)).collect();
    let [Some(done), Some(diverged), None] = &runs[..] else { panic!("{runs:?}") };
    assert_eq!(done.written, "done, attempt 1, 2 epochs, 2 metrics");
    assert_eq!(
        done.end("r"),
        json!({ "run_id": "r", "status": "FINISHED", "end_time": 1_700_000_006_000_u64 })
    );
    assert_eq!(diverged.end("r")["status"], "FAILED");
    let metrics: Vec<Value> = diverged.batches("r").filter_map(|body| body.get("metrics").cloned()).collect();
    let loss = &metrics[0].as_array().unwrap()[3];
    assert_eq!(
        *loss,
        json!({ "key": "loss", "value": "NaN", "timestamp": 1_700_000_005_000_u64, "step": 2 })
    );
    assert!(experiment.is_own(experiment.create("x")["tags"][0]["value"].as_str().unwrap()));
    let other = Sweep { created_unix_ms: 1, ..sweep };
    assert!(
        !MlflowExperiment::new(&other).is_own(experiment.create("x")["tags"][0]["value"].as_str().unwrap())
    );
}
