//! Messages about a sweep: to a real receiver, and to a command of the user.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;
use tests::{Cluster, HttpReceiver, chaos::light, program};

/// A secret that no output may show.
const SECRET: &str = "B0123456789";

fn address(receiver: &HttpReceiver) -> String {
    format!("http://{}/{SECRET}", receiver.address)
}

/// `sweep` with these arguments, waiting.
fn waiting(cluster: &Cluster, arguments: &[&str], addresses: &str) -> Child {
    Command::new(program("sweep"))
        .args(arguments)
        .env("SWEEP_COORDINATOR", format!("http://{}", cluster.coordinator.address))
        .env("SWEEP_CONFIG", "/dev/null")
        .env("SWEEP_NOTIFY", addresses)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What a command said, which is never a secret.
fn said(output: &Output) -> String {
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!text.contains(SECRET), "{text}");
    text
}

#[tokio::test]
async fn a_standstill_and_the_end_reach_all_receivers_over_a_restart_of_the_coordinator() {
    let mut cluster = Cluster::start(light(20));
    let sweep_id = cluster.submit("{epochs: {value: 2}, seed: {values: [1, 2]}}").await;
    // One is busy at first; the other speaks Slack's form.
    let (whole, slack) = (HttpReceiver::start(&[503]), HttpReceiver::start(&[]));
    let addresses = format!("{} slack:{}", address(&whole), address(&slack));
    let number = sweep_id.to_string();
    let ended = cluster.folder.path().join("ended.json");
    let environment = cluster.folder.path().join("environment");
    let on_end = format!("sh -c \"env > '{}'; cat > '{}'\"", environment.display(), ended.display());
    let arguments = ["wait", number.as_str(), "--notify-stalled", "1s", "--on-end", &on_end];
    let waiter = waiting(&cluster, &arguments, &addresses);

    let first = whole.next();
    assert_eq!((first.path.as_str(), &first.body["event"]), ("/B0123456789", &"stalled".into()));
    assert!(first.body["text"].as_str().unwrap().contains("no worker is connected"), "{first:?}");
    assert_eq!(whole.next(), first, "it was busy, so the same comes again");
    let text = slack.next().body;
    assert_eq!(text, serde_json::json!({"text": first.body["text"]}));

    cluster.replace_coordinator();
    let _worker = cluster.worker("one");
    let last = whole.next();
    assert_eq!(
        (&last.body["event"], &last.body["sweep"]["done"]),
        (&"finished".into(), &2.into()),
        "{last:?}"
    );
    assert!(slack.next().body["text"].as_str().unwrap().contains("has finished: 2 of 2 jobs done"));
    let output = waiter.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let given: Value = serde_json::from_str(&fs::read_to_string(&ended).unwrap()).unwrap();
    assert_eq!(given, last.body, "the command reads what was posted");
    let environment = fs::read_to_string(environment).unwrap();
    assert!(environment.contains("SWEEP_EVENT=finished") && !environment.contains("SWEEP_NOTIFY"));

    // Told again by another command, it is the same message.
    let again = waiting(&cluster, &["wait", &number], &address(&whole)).wait_with_output().unwrap();
    assert!(again.status.success(), "{}", said(&again));
    assert_eq!(whole.next(), last);
    assert_eq!((whole.rest(), slack.rest()), (vec![], vec![]));
}

#[tokio::test]
async fn what_cannot_be_told_and_a_wait_that_fails_are_said() {
    let cluster = Cluster::start(light(20));
    let number = cluster.submit("{epochs: {value: 1}}").await.to_string();
    let receiver = HttpReceiver::start(&[]);
    let arguments = ["wait", number.as_str(), "--timeout", "10ms"];
    let output = waiting(&cluster, &arguments, &address(&receiver)).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    let lost = receiver.next().body;
    assert_eq!((&lost["event"], &lost["sweep"]), (&"lost_sight".into(), &Value::Null));
    assert!(lost["text"].as_str().unwrap().contains("still runs after 10ms"), "{lost}");

    let output = waiting(&cluster, &["wait", "99"], &address(&receiver)).wait_with_output().unwrap();
    assert_eq!((output.status.code(), receiver.rest()), (Some(1), vec![]), "{}", said(&output));

    let _worker = cluster.worker("one");
    let refuses = HttpReceiver::start(&[404]);
    let arguments = ["wait", number.as_str(), "--on-end", "false"];
    let output = waiting(&cluster, &arguments, &address(&refuses)).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = said(&output);
    assert!(text.contains("a message did not arrive: http://127.0.0.1:") && text.contains("404"), "{text}");
    assert!(text.contains("--on-end false: it ended with exit status: 1"), "{text}");

    for (arguments, addresses, expected) in [
        (&["wait", "1"][..], format!("ftp://{SECRET}"), "address 1 of --notify"),
        (&["wait", "1/1", "--on-end", "true"], address(&receiver), "are for a sweep"),
    ] {
        let output = waiting(&cluster, arguments, &addresses).wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(said(&output).contains(expected), "{}", said(&output));
    }
    // The variable is for all that one waits for.
    let output = waiting(&cluster, &["wait", "1/1"], &address(&receiver)).wait_with_output().unwrap();
    assert_eq!((output.status.code(), receiver.rest()), (Some(0), vec![]), "{}", said(&output));
}

#[test]
fn a_run_tells_of_its_end_once_its_report_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let script = "import sweep\np = sweep.parameters(rate=1.0)\nsweep.report(1, loss=p.rate)\n";
    fs::write(folder.path().join("train.py"), script).unwrap();
    let file = folder.path().join("sweep.yaml");
    fs::write(
        &file,
        "program: train.py\nmetric: {name: loss, goal: minimize}\nparameters: {rate: {values: [1, 2]}}\n",
    )
    .unwrap();
    let (receiver, results) = (HttpReceiver::start(&[]), folder.path().join("results"));
    let listed = folder.path().join("listed");
    // The command of the user finds the report.
    let on_end = format!("cp '{}' '{}'", results.join("results.json").display(), listed.display());
    let output = Command::new(program("sweep"))
        .arg("run")
        .arg(&file)
        .args(["--notify", &address(&receiver), "--on-end", &on_end, "--output"])
        .arg(&results)
        .env("SWEEP_CONFIG", "/dev/null")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let told = receiver.next().body;
    assert_eq!((&told["event"], &told["sweep"]["best_job"]), (&"finished".into(), &1.into()), "{told}");
    assert!(Path::new(told["results"].as_str().unwrap()).join("report.html").is_file());
    assert!(listed.is_file() && receiver.rest().is_empty());
}
