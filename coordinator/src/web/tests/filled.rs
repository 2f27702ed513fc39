//! What is read of a sweep whose jobs have ended in every way.

use domain::{
    definition::SweepDefinition,
    record::{BestEpoch, History, Record, Rung},
    specification::SpecificationSource,
};
use terms::{
    AttemptKey, AttemptState, Epoch, Goal, JobKey, JobState, MetricRow, MetricUse, Objective, SweepId,
};

use super::*;
use crate::artifacts::MaybeArtifacts;

/// When the sweep was submitted.
pub(super) const CREATED_UNIX_MS: u64 = 1_000;

const EARLY: &str = "name: early\ndataset: {path: d}\nearly_terminate: {type: asha, min_iter: 1, eta: 2}\n\
                     parameters: {learning_rate: {values: [0.1, 0.01, 0.001]}, epochs: {value: 4}, activation: {values: [relu, tanh]}}\n";

/// A coordinator with a sweep of six jobs: 1 is done, 2 and 5 paused at the first rung, 3 was stopped there, 4 has failed twice, and 6 has not
/// begun.
pub(super) async fn served() -> Served {
    served_with(Vec::new(), None).await
}

/// The same with more that has happened, and a place for files.
pub(super) async fn served_with(more: Vec<Record>, artifacts: MaybeArtifacts) -> Served {
    let (store, folder) = leader::store().await;
    let submitted = submitted(EARLY, 6);
    let names = ["train_loss", "val_accuracy"].map(Into::into).into();
    let named = Record::MetricsNamed { sweep: SweepId(1), first: 0, names };
    let jobs = [
        trained(1, &[0.5, 0.625, 0.75, 0.875], JobState::Done),
        trained(2, &[0.25], JobState::Paused),
        trained(3, &[0.125], JobState::Stopped),
        failed(4),
        trained(5, &[0.375], JobState::Paused),
    ];
    let all = [submitted, named].into_iter().chain(jobs.into_iter().flatten());
    let records: Vec<Record> = all.chain(more).collect();
    store.commit(&records).await.unwrap();
    let leadership = leader::led_by(&leader::driver(&store).await);
    let api = Api::new(leadership, store, artifacts, TaskTracker::new());
    let routes = checked_routes(api.clone(), Identities::default(), CancellationToken::new());
    Served { api, routes, folders: vec![folder] }
}

/// The first sweep, of this file.
fn submitted(text: &str, job_count: u64) -> Record {
    let source = SpecificationSource { text: text.to_owned(), ..SpecificationSource::default() };
    let objective = Objective { name: "val_accuracy".into(), goal: Goal::Maximize, used: MetricUse::Last };
    Record::SweepSubmitted {
        sweep: SweepId(1),
        name: "early".into(),
        request_id: String::new(),
        specification: SweepDefinition::parse(&source).unwrap().text(),
        manifest: String::new(),
        objective,
        job_count,
        created_unix_ms: CREATED_UNIX_MS,
        owner: None,
    }
}

fn granted(attempt: AttemptKey, at_unix_ms: u64) -> Record {
    let worker = if attempt.job.job.is_multiple_of(2) { "b" } else { "a" };
    Record::AttemptGranted {
        attempt,
        is_first: attempt.attempt == 1,
        worker: worker.parse().unwrap(),
        slot: 0,
        device: "cuda:0".into(),
        pack_size: 1,
        budget: None,
        at_unix_ms,
    }
}

/// An attempt of a job that had these accuracies, from as many seconds as its number on, and ended in this state.
pub(super) fn trained(job: u64, accuracies: &[f64], state: JobState) -> Vec<Record> {
    let key = AttemptKey::new(1, job, 1);
    let objective = Objective { name: "val_accuracy".into(), goal: Goal::Maximize, used: MetricUse::Last };
    let mut records = vec![granted(key, job * 1_000)];
    let mut best = None;
    for (number, accuracy) in (1..).zip(accuracies) {
        let epoch =
            Epoch { number, seconds: 0.5, row: MetricRow::new(&[1.0 / f64::from(number), *accuracy]) };
        best = BestEpoch::after(best.clone(), &objective, &epoch, Some(*accuracy));
        let train_seconds = 0.5 * f64::from(number);
        records.push(Record::EpochRecorded {
            attempt: key,
            epoch,
            objective: Some(*accuracy),
            best: best.clone(),
            train_seconds,
        });
        if number == 1 {
            let rung = Rung { epoch: 1, value: Some(*accuracy), goes_on: state == JobState::Done };
            records.push(Record::RungReached { job: key.job, rung });
        }
    }
    let ended = match state {
        JobState::Done => AttemptState::Done,
        _ => AttemptState::Revoked,
    };
    let at_unix_ms = job * 1_000 + 500 * accuracies.len() as u64;
    records.push(Record::AttemptEnded {
        attempt: key,
        state: ended,
        reason: String::new(),
        log_tail: vec![format!("job {job} <b>says</b> \u{202e}so")],
        at_unix_ms,
    });
    records.push(changed(key.job, state, ""));
    records
}

fn failed(job: u64) -> Vec<Record> {
    let reason = "the trainer ended with exit status 1 in epoch 1";
    let attempt = |number: u32| {
        let attempt = AttemptKey::new(1, job, number);
        let ended = Record::AttemptEnded {
            attempt,
            state: AttemptState::Failed,
            reason: reason.to_owned(),
            log_tail: Vec::new(),
            at_unix_ms: 4_000 + 400 * u64::from(number),
        };
        let state = if number == 2 { JobState::Failed } else { JobState::Pending };
        [granted(attempt, 3_700 + 400 * u64::from(number)), ended, changed(attempt.job, state, reason)]
    };
    [1, 2].into_iter().flat_map(attempt).collect()
}

fn changed(job: JobKey, state: JobState, reason: &str) -> Record {
    Record::JobChanged { job, state, history: History::default(), reason: reason.to_owned() }
}

#[tokio::test]
async fn the_table_is_sorted_filtered_and_cut_into_pages_by_the_server() {
    let served = served().await;
    let jobs = async |query: &str| -> Vec<u64> {
        let (status, page) = served.json(&format!("/api/v1/sweeps/1/table?{query}")).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        page["items"].as_array().unwrap().iter().map(|job| job["job"].as_u64().unwrap()).collect()
    };
    assert_eq!(jobs("sort=objective&order=descending").await, [1, 5, 2, 3, 4]);
    assert_eq!(jobs("sort=metric:train_loss&order=ascending").await, [1, 2, 3, 5, 4]);
    assert_eq!(jobs("sort=attempts&order=descending&rows=1").await, [4]);
    assert_eq!(jobs("state=paused,failed").await, [2, 4, 5]);
    assert_eq!(jobs("text=learning_rate%3C0.1%20tanh").await, [5]);
    assert_eq!(
        jobs("where=%5B%7B%22column%22:%22objective%22,%22ranges%22:%5B%5B0.2,0.5%5D%5D%7D%5D").await,
        [2, 5]
    );
    let (_, page) = served.json("/api/v1/sweeps/1/table?sort=job&rows=2&page=9").await;
    assert_eq!((&page["page"], &page["pages"], &page["matching"]), (&3.into(), &3.into(), &5.into()));
    assert_eq!((&page["items"][0]["job"], &page["left_out"]), (&5.into(), &0.into()));
    let states = serde_json::json!({"done": 1, "failed": 1, "paused": 2, "stopped": 1});
    assert_eq!(page["states"], states);
    for (query, says) in [("sort=odd", "there is no column"), ("rows=201", "1 to 200"), ("order=up", "up")] {
        let (status, refused) = served.json(&format!("/api/v1/sweeps/1/table?{query}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(refused["error"]["message"].as_str().unwrap().contains(says), "{refused}");
    }
    let (status, _) = served.json("/api/v1/sweeps/2/table").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn jobs_that_have_not_begun_are_found_however_many_have() {
    // A sweep of so many jobs, of which the first have begun, and the last but one.
    let (count, begun) = (5_000_u64, 3_000_u64);
    let (store, folder) = leader::store().await;
    let text = format!(
        "name: long\ndataset: {{path: d}}\nparameters: {{seed: {{min: 1, max: {count}, count: {count}}}}}\n"
    );
    let submitted = submitted(&text, count);
    let jobs = (1..=begun).chain([count - 1]).flat_map(|job| trained(job, &[0.5], JobState::Done));
    let names = Record::MetricsNamed {
        sweep: SweepId(1),
        first: 0,
        names: ["train_loss", "val_accuracy"].map(Into::into).into(),
    };
    let records: Vec<Record> = [submitted, names]
        .into_iter()
        .chain(jobs)
        .filter(|record| !matches!(record, Record::RungReached { .. }))
        .collect();
    store.commit(&records).await.unwrap();
    let leadership = leader::led_by(&leader::driver(&store).await);
    let api = Api::new(leadership, store, None, TaskTracker::new());
    let routes = checked_routes(api.clone(), Identities::default(), CancellationToken::new());
    let served = Served { api, routes, folders: vec![folder] };
    let page = async |query: &str| -> (Vec<u64>, Value) {
        let (status, page) = served.json(&format!("/api/v1/sweeps/1/jobs?{query}")).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        let jobs = page["items"].as_array().unwrap().iter().map(|job| job["job"].as_u64().unwrap()).collect();
        (jobs, page["next"].clone())
    };
    assert_eq!(page("state=pending&rows=2").await, (vec![3_001, 3_002], "3003".into()));
    assert_eq!(page("state=pending&rows=3&after=4997").await, (vec![4_997, 4_998, 5_000], Value::Null));
    assert_eq!(page("begun=true&rows=2&after=3000").await, (vec![3_000, 4_999], "5000".into()));
    assert_eq!(page("begun=true&state=pending").await, (vec![], Value::Null));
    assert_eq!(page("rows=2&after=4999").await, (vec![4_999, 5_000], Value::Null));
    drop(served.api.cancel(engine::Issuer::local(), SweepId(1), None).await.unwrap());
    assert_eq!(page("state=pending").await, (vec![], Value::Null));
    assert_eq!(page("begun=false&rows=1").await, (vec![3_001], "3002".into()));
    assert_eq!(page("state=cancelled,done&rows=2&after=3000").await, (vec![3_000, 3_001], "3002".into()));
    assert_eq!(page("begun=false&state=done").await, (vec![], Value::Null));
    let (status, refused) = served.json("/api/v1/sweeps/1/jobs?begun=no").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(
        refused["error"]["message"].as_str().unwrap().contains("`begun` is `true` or `false`"),
        "{refused}"
    );
}

#[tokio::test]
async fn of_a_job_some_epochs_can_be_asked_for_and_its_logs_without_any() {
    let served = served().await;
    let epochs = async |query: &str| -> Vec<u64> {
        let (status, job) = served.json(&format!("/api/v1/sweeps/1/jobs/1{query}")).await;
        assert_eq!((status, &job["epochs_done"]), (StatusCode::OK, &4.into()), "{job}");
        job["epochs"].as_array().unwrap().iter().map(|epoch| epoch["epoch"].as_u64().unwrap()).collect()
    };
    assert_eq!(epochs("").await, [1, 2, 3, 4]);
    assert_eq!(epochs("?after=0").await, [1, 2, 3, 4]);
    assert_eq!(epochs("?after=2").await, [3, 4]);
    assert_eq!(epochs("?after=4").await, Vec::<u64>::new());
    assert_eq!(epochs("?after=4294967295").await, Vec::<u64>::new());
    for (query, says) in
        [("after=x", "`after` is a whole number"), ("after=4294967296", "too large"), ("before=1", "`after`")]
    {
        let (status, refused) = served.json(&format!("/api/v1/sweeps/1/jobs/1?{query}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(refused["error"]["message"].as_str().unwrap().contains(says), "{refused}");
    }
    let (_, logs) = served.json("/api/v1/sweeps/1/jobs/1/logs").await;
    assert_eq!(logs["items"], serde_json::json!([{"attempt": 1, "lines": ["job 1 <b>says</b> \u{202e}so"]}]));
    assert_eq!(served.json("/api/v1/sweeps/1/jobs/7/logs").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_job_without_an_epoch_has_no_training_time_in_rows_nor_in_columns() {
    let served = served().await;
    let (_, rows) = served.json("/api/v1/sweeps/1/jobs?jobs=1,4").await;
    let times: Vec<&Value> =
        rows["items"].as_array().unwrap().iter().map(|job| &job["train_seconds"]).collect();
    assert_eq!(times, [&Value::from(2.0), &Value::Null]);
    let columns = served.api.columns(SweepId(1)).await.unwrap();
    assert!(columns.train_seconds[0] == 2.0 && columns.train_seconds[3].is_nan(), "{columns:?}");
}

#[tokio::test]
async fn rungs_say_which_jobs_came_there_and_what_became_of_them() {
    let served = served().await;
    let (_, rungs) = served.json("/api/v1/sweeps/1/rungs").await;
    let rung = &rungs["items"][0];
    let counts = ["epoch", "reached", "went_on", "paused", "stopped"].map(|key| rung[key].as_u64().unwrap());
    assert_eq!(counts, [1, 4, 1, 2, 1], "{rungs}");
    let jobs = serde_json::json!([
        {"job": 1, "value": 0.5, "outcome": "went_on"},
        {"job": 5, "value": 0.375, "outcome": "paused"},
        {"job": 2, "value": 0.25, "outcome": "paused"},
        {"job": 3, "value": 0.125, "outcome": "stopped"},
    ]);
    assert_eq!(rung["jobs"], jobs);
    assert_eq!(rung["quartiles"], serde_json::json!([0.125, 0.21875, 0.3125, 0.40625, 0.5]));
}

#[tokio::test]
async fn what_the_system_says_is_in_the_readers_language() {
    let served = served().await;
    let read = async |path: &str, headers: &[(&str, &str)]| -> Value {
        let (_, _, body) = served.ask(&Method::GET, path, headers).await;
        serde_json::from_slice(&to_bytes(body, usize::MAX).await.unwrap()).unwrap()
    };
    let japanese = [("cookie", "sweep-language=ja"), ("accept-language", "en")];
    let (english, path) = ([("accept-language", "en-US")], "/api/v1/sweeps/1/jobs/4");
    let job = read(path, &japanese).await;
    let said = "エポック 1 でトレーナーが終了コード 1 で終了しました";
    assert_eq!((&job["reason"], &job["attempts"][0]["reason"]), (&said.into(), &said.into()));
    assert_eq!(read(path, &english).await["reason"], "the trainer ended with exit status 1 in epoch 1");
    let sweep = read("/api/v1/sweeps/1", &japanese).await;
    assert_eq!(sweep["waiting"], "接続中のワーカーがありません");
    assert_eq!(read("/api/v1/sweeps/1", &[]).await["waiting"], "no worker is connected");
    let table = read("/api/v1/sweeps/1/table?state=failed", &japanese).await;
    assert_eq!(table["items"][0]["reason"], said);
    let (_, _, body) = served.ask(&Method::GET, "/api/v1/sweeps/1/events", &japanese).await;
    let (event, _, seen) = next_event(&mut body.into_data_stream(), &mut String::new()).await.unwrap();
    assert_eq!((event.as_str(), &seen["waiting"]), ("snapshot", &"接続中のワーカーがありません".into()));
}

#[tokio::test]
async fn a_sweep_names_its_metrics() {
    let (_, sweep) = served().await.json("/api/v1/sweeps/1").await;
    let metrics: Vec<&str> = sweep["metrics"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(metrics, ["train_loss", "val_accuracy", "val_loss", "train_accuracy"]);
    assert_eq!(sweep["keys"]["metrics"], sweep["metrics"]);
    assert_eq!(sweep["keys"]["epochs"], sweep["metrics"]);
    assert_eq!(sweep["keys"]["best"], "best_val_accuracy");
}

#[tokio::test]
async fn who_logs_in_comes_to_the_page_that_was_wanted_and_to_no_other_server() {
    let served = super::served(guarded()).await;
    let (status, headers, _) = served.ask(&Method::GET, "/compare?sweeps=1,2", &[]).await;
    let login = headers[header::LOCATION].to_str().unwrap();
    assert_eq!((status, login), (StatusCode::SEE_OTHER, "/login?next=/compare%3Fsweeps%3D1%2C2"));
    let (_, _, body) = served.ask(&Method::GET, login, &[]).await;
    let page = String::from_utf8(to_bytes(body, usize::MAX).await.unwrap().into()).unwrap();
    assert!(page.contains(r#"<input type="hidden" name="next" value="/compare?sweeps=1,2">"#), "{page}");
    for (next, expected) in [
        ("%2Fcompare%3Fsweeps%3D1%2C2", "/compare?sweeps=1,2"),
        ("%2F%2Fevil.example%2F", "/"),
        ("https%3A%2F%2Fevil.example", "/"),
        ("%2F%5Cevil.example", "/"),
    ] {
        let form = Request::builder()
            .method(Method::POST)
            .uri("/login")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header("sec-fetch-site", "same-origin")
            .body(Body::from(format!("token={ADMIN}&next={next}")))
            .unwrap();
        let entered = served.routes.clone().oneshot(form).await.unwrap();
        assert_eq!(entered.headers()[header::LOCATION], expected, "{next}");
        let (_, headers, _) =
            served.ask(&Method::GET, &format!("/login?token={ADMIN}&next={next}"), &[]).await;
        assert_eq!(headers[header::LOCATION], expected, "{next}");
    }
    // Nor does the link of another page log a reader in.
    let link = format!("/login?token={ADMIN}&next=/workers");
    for (site, is_let_in) in
        [("none", true), ("same-origin", true), ("same-site", false), ("cross-site", false)]
    {
        let (status, headers, body) = served.ask(&Method::GET, &link, &[("sec-fetch-site", site)]).await;
        assert_eq!(headers.contains_key(header::SET_COOKIE), is_let_in, "{site}");
        assert_eq!(status, if is_let_in { StatusCode::SEE_OTHER } else { StatusCode::FORBIDDEN }, "{site}");
        let page = String::from_utf8(to_bytes(body, usize::MAX).await.unwrap().into()).unwrap();
        assert!(is_let_in || page.contains("value=\"/workers\"") && !page.contains(ADMIN), "{page}");
    }
    let behind = [("sec-fetch-site", "none"), ("x-forwarded-proto", "https")];
    let (_, headers, _) = served.ask(&Method::GET, &link, &behind).await;
    assert!(headers[header::SET_COOKIE].to_str().unwrap().ends_with("; Secure"), "{headers:?}");
    // Where browsers do not say whose link it is, the reader is asked.
    for (host, is_asked) in [("10.0.0.1:8080", true), ("gpu.example:8080", true), ("127.0.0.1:8080", false)] {
        let asked = Request::builder().uri(&link).header(header::HOST, host).body(Body::empty()).unwrap();
        let answer = served.routes.clone().oneshot(asked).await.unwrap();
        assert_eq!(answer.headers().contains_key(header::SET_COOKIE), !is_asked, "{host}");
        assert_eq!(answer.status(), if is_asked { StatusCode::OK } else { StatusCode::SEE_OTHER }, "{host}");
        let page = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        let page = String::from_utf8(page.into()).unwrap();
        let shown = page.contains(&format!("<input type=\"hidden\" name=\"token\" value=\"{ADMIN}\">"));
        assert_eq!(shown && page.contains("who gave you the link"), is_asked, "{page}");
    }
    let (_, _, body) = served.ask(&Method::GET, "/login?next=/x%22%3E%3Cscript%3E", &[]).await;
    let page = String::from_utf8(to_bytes(body, usize::MAX).await.unwrap().into()).unwrap();
    assert!(!page.contains("<script>"), "{page}");
}

#[tokio::test]
async fn a_timeline_says_who_ran_what_when() {
    let served = served().await;
    let path = |query: &str| format!("/api/v1/timeline?since=1970-01-01T00:00:02Z&{query}");
    let (_, found) = served.json(&path("until=1970-01-01T00:00:05Z&sweep=1")).await;
    let ran: Vec<_> =
        found["items"].as_array().unwrap().iter().map(|one| (&one["job"], &one["attempt"])).collect();
    let numbers = [(4, 2), (4, 1), (3, 1), (2, 1), (1, 1)].map(|(job, attempt)| (job.into(), attempt.into()));
    let numbers: Vec<(&Value, &Value)> = numbers.iter().map(|(job, attempt)| (job, attempt)).collect();
    assert_eq!(ran, numbers, "{found}");
    let failed = &found["items"][0];
    assert_eq!((&failed["worker"], &failed["outcome"]), (&"b".into(), &"failed".into()));
    assert_eq!(failed["ended"], "1970-01-01T00:00:04.800Z");
    assert_eq!(found["is_whole"], true);
    let (_, now) = served.json("/api/v1/timeline").await;
    assert_eq!(now["items"], serde_json::json!([]), "nothing ran in the last hour");
    for (query, says) in
        [("until=1970-01-01T00:00:01Z", "earlier"), ("until=x", "not \"x\""), ("sweep=x", "not \"x\"")]
    {
        let (status, refused) = served.json(&path(query)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(refused["error"]["message"].as_str().unwrap().contains(says), "{refused}");
    }
    let (status, _) = served.json(&path("sweep=2")).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn who_follows_the_list_of_sweeps_is_told_when_it_changes_and_not_twice_the_same() {
    let served = served().await;
    let path = "/api/v1/sweeps/events";
    let (_, headers, body) = served.ask(&Method::GET, path, &[]).await;
    assert_eq!(headers[header::CONTENT_TYPE], "text/event-stream");
    let (event, id, list) = next_event(&mut body.into_data_stream(), &mut String::new()).await.unwrap();
    assert_eq!((event.as_str(), &list["items"][0]["state"]), ("snapshot", &"running".into()));
    assert_eq!(list["next"], Value::Null);
    let (_, _, body) = served.ask(&Method::GET, path, &[("last-event-id", &id)]).await;
    let (mut body, mut text) = (body.into_data_stream(), String::new());
    drop(served.api.pause(engine::Issuer::local(), terms::SweepId(1)).await.unwrap());
    let (_, next, list) = next_event(&mut body, &mut text).await.unwrap();
    assert_eq!(list["items"][0]["state"], "paused", "the first that is told is what has changed");
    assert_ne!(next, id);
    let (_, _, body) = served.ask(&Method::GET, "/api/v1/workers/events", &[]).await;
    let (event, _, list) = next_event(&mut body.into_data_stream(), &mut String::new()).await.unwrap();
    assert_eq!((event.as_str(), list), ("snapshot", serde_json::json!({"items": [], "next": null})));
}
