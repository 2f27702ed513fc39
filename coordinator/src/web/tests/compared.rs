//! Sweeps next to each other.

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
