//! Sweeps next to each other.

use std::pin::pin;

use terms::SweepId;

use super::*;

#[tokio::test]
async fn sweeps_are_compared_with_the_first_and_what_is_no_list_of_sweeps_is_refused() {
    let served = filled::served().await;
    let text = FILE.replace("dataset: {path: d}", "dataset: {path: d, split_seed: 3}");
    let source = Source { text, file_name: "y.yaml".to_owned(), ..Source::default() };
    let submission = Submission { source, request_id: String::new(), extend: None };
    drop(served.api.submit(engine::Issuer::local(), submission).await.unwrap());
    let (status, compared) = served.json("/api/v1/compare?sweeps=1,2").await;
    assert_eq!(status, StatusCode::OK, "{compared}");
    let [first, second] = [&compared["sweeps"][0], &compared["sweeps"][1]];
    assert!(first["best"].is_number() && first["epochs"].as_u64() > Some(0), "{first}");
    assert_eq!((&second["best"], &second["best_job"]), (&Value::Null, &Value::Null));
    let pair = &compared["against_first"][0];
    assert_eq!((&pair["second"], &pair["common"], &pair["bests"]), (&2.into(), &0.into(), &Value::Null));
    let differences = compared["differences"].as_array().unwrap();
    assert!(
        differences.iter().any(|one| one["key"] == "dataset.split_seed" && one["values"][1] == "3"),
        "{compared}"
    );
    let many = (1..=13).map(|id| id.to_string()).collect::<Vec<_>>().join(",");
    for wrong in ["sweeps=1", "sweeps=1,1", "sweeps=1,x", "sweeps=1,0", "", &format!("sweeps={many}")] {
        let (status, _) = served.json(&format!("/api/v1/compare?{wrong}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{wrong}");
    }
    assert_eq!(served.json("/api/v1/compare?sweeps=1,9").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_comparison_is_kept_for_a_while_and_not_sent_twice() {
    let served = filled::served().await;
    let source = Source { text: FILE.to_owned(), file_name: "y.yaml".to_owned(), ..Source::default() };
    let submission = Submission { source, request_id: String::new(), extend: None };
    drop(served.api.submit(engine::Issuer::local(), submission).await.unwrap());
    let tag = async |sweeps: &str| {
        let (status, headers, _) =
            served.ask(&Method::GET, &format!("/api/v1/compare?sweeps={sweeps}"), &[]).await;
        assert_eq!(status, StatusCode::OK);
        headers[header::ETAG].to_str().unwrap().to_owned()
    };
    let first = tag("1,2").await;
    // Its state is part of the answer.
    drop(served.api.pause(engine::Issuer::local(), SweepId(1)).await.unwrap());
    assert_ne!(tag("2,1").await, first);
    assert_eq!(tag("1,2").await, first, "made a moment ago");
    let again = served.ask(&Method::GET, "/api/v1/compare?sweeps=1,2", &[("if-none-match", &first)]).await;
    assert_eq!(again.0, StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn an_analysis_does_not_wait_until_a_comparison_has_read_all_of_its_sweeps() {
    let served = filled::served().await;
    let sides = compare::sides(&served.api, &[SweepId(1); 12]).await.unwrap();
    let mut compared = pin!(served.api.compare(sides));
    let mut analyzed = pin!(served.api.analysis(SweepId(1)));
    tokio::select! {
        biased;
        _ = &mut compared => panic!("the comparison came first"),
        analyzed = &mut analyzed => assert_eq!(analyzed.unwrap().analysis.jobs.counted, 1),
    }
    assert_eq!(compared.await.unwrap().sweeps.len(), 12);
}
