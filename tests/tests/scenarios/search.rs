//! Searches: their points survive the coordinator, their caps can be raised, and their targets end them.

use std::process::{Command, Output};

use domain::{
    definition::SweepDefinition,
    specification::{Models, SpecificationSource},
};
use proto::v1;
use tests::{Cluster, ClusterOptions, Postgres, chaos::light, program, source};

use crate::completion::assert_counted;

const PARAMETERS: &str = "{learning_rate: {min: 0.0001, max: 0.1, distribution: log_uniform_values}, \
                          batch_size: {values: [16, 32, 64]}, epochs: {value: 3}, seed: {min: 1, max: 1000}}";

fn search(more: &str) -> v1::SweepSource {
    let source = source(PARAMETERS);
    let text = source.text.replace("method: grid\n", &format!("method: random\nsearch_seed: 7\n{more}\n"));
    v1::SweepSource { text, ..source }
}

/// The same with a search that learns.
fn learning(cap: u32) -> v1::SweepSource {
    let source = search(&format!("run_cap: {cap}"));
    v1::SweepSource { text: source.text.replace("method: random", "method: bayes"), ..source }
}

async fn submit(cluster: &Cluster, source: v1::SweepSource, extend_sweep_id: u64) -> v1::SubmitResponse {
    let request = v1::SubmitRequest { source: Some(source), request_id: String::new(), extend_sweep_id };
    cluster.client().await.submit(request).await.expect("the sweep is right").into_inner()
}

/// The parameters of all jobs, by their numbers.
async fn points(cluster: &Cluster, sweep: u64) -> Vec<v1::JobPoint> {
    cluster.results(sweep).await.into_iter().map(|(job, _)| job.point.unwrap()).collect()
}

fn sweep(cluster: &Cluster, arguments: &[&str]) -> Output {
    let mut sweep = Command::new(program("sweep"));
    sweep.args(arguments).env("SWEEP_COORDINATOR", format!("http://{}", cluster.coordinator.address));
    sweep.env("SWEEP_CONFIG", "/dev/null").output().unwrap()
}

/// What `sweep` prints with these arguments.
fn printed(cluster: &Cluster, arguments: &[&str]) -> String {
    let ended = sweep(cluster, arguments);
    assert!(ended.status.success(), "{ended:?}");
    String::from_utf8(ended.stdout).unwrap()
}

/// Why it refuses them.
fn refused(cluster: &Cluster, arguments: &[&str]) -> String {
    ended_with(1, cluster, arguments)
}

fn ended_with(code: i32, cluster: &Cluster, arguments: &[&str]) -> String {
    let ended = sweep(cluster, arguments);
    assert_eq!(ended.status.code(), Some(code), "{ended:?}");
    String::from_utf8(ended.stderr).unwrap()
}

#[tokio::test]
async fn a_coordinator_that_is_killed_draws_the_same_points_and_a_raised_cap_adds_to_them() {
    let mut cluster = Cluster::start(light(60));
    let _workers = [cluster.worker("one"), cluster.worker("two")];
    let sweep = submit(&cluster, search("run_cap: 8"), 0).await.sweep.unwrap().sweep_id;
    let mut watch = cluster.watch(sweep).await;
    watch.until_done(2).await;
    cluster.replace_coordinator();
    let ended = cluster.watch(sweep).await.until_end().await;
    assert_eq!((ended.state(), ended.job_count), (v1::SweepState::Finished, 8));
    assert_counted(&cluster.results(sweep).await, 8, 3);
    // What the file says by itself, without any coordinator.
    let text = search("run_cap: 8").text;
    let parsed = SpecificationSource { text, models: Models::default(), ..SpecificationSource::default() };
    let definition = SweepDefinition::parse(&parsed).unwrap();
    let expected: Vec<_> = (1..=8).map(|job| proto::job_point(job, definition.parameters(job))).collect();
    assert_eq!(points(&cluster, sweep).await, expected);

    let answer = submit(&cluster, search("run_cap: 11"), sweep).await;
    assert_eq!(answer.added_jobs, 3);
    let ended = cluster.watch(sweep).await.until_end().await;
    assert_eq!((ended.state(), ended.job_count), (v1::SweepState::Finished, 11));
    assert_eq!(points(&cluster, sweep).await[..8], expected);
    assert_counted(&cluster.results(sweep).await, 11, 3);
}

#[tokio::test]
async fn a_target_that_is_reached_ends_the_sweep_for_good_and_show_says_why() {
    let mut cluster = Cluster::start(light(20));
    // Any job of the light trainer has it.
    let target = "run_cap: 50\nmetric: {name: val_accuracy, target: 0}";
    let sweep = submit(&cluster, search(target), 0).await.sweep.unwrap().sweep_id;
    let _worker = cluster.worker("one");
    let ended = cluster.watch(sweep).await.until_end().await;
    assert_eq!(ended.state(), v1::SweepState::Stopped);
    let counts = ended.counts.unwrap();
    assert!(counts.done >= 1 && counts.cancelled > 0 && counts.done + counts.cancelled == 50, "{counts:?}");
    cluster.replace_coordinator();
    let shown = printed(&cluster, &["show", "1"]);
    assert!(
        shown.contains("stopped") && shown.contains("reached the target of 0 with val_accuracy = "),
        "{shown}"
    );
    // Each job that was not needed says so, and none is tried again before the target changes.
    let jobs = printed(&cluster, &["jobs", "1", "--state", "cancelled", "-o", "csv"]);
    let why = "the sweep was stopped, as job ";
    assert_eq!(jobs.matches(why).count() as u64, counts.cancelled, "{jobs}");
    // Its points rest on no results, so that there is nothing to verify: 1 would say that something came out different.
    let told = ended_with(2, &cluster, &["verify", "1", "--search"]);
    assert!(told.contains("`method: random`"), "{told}");
    let told = refused(&cluster, &["retry", "1"]);
    assert!(told.contains("`sweep set 1 metric.target=VALUE`"), "{told}");
    let set = printed(&cluster, &["set", "1", "metric.target=none"]);
    assert!(set.contains("metric.target: 0.0 -> none"), "{set}");
    let again = printed(&cluster, &["retry", "1"]);
    assert!(again.contains("of sweep 1 are tried again"), "{again}");
    let ended = cluster.watch(sweep).await.until_end().await;
    assert_eq!((ended.state(), ended.counts.unwrap().done), (v1::SweepState::Finished, 50));
}

#[tokio::test]
async fn a_search_that_learns_goes_on_after_a_kill_and_says_why_each_point_was_chosen() {
    let mut cluster = Cluster::start(light(40));
    let _workers = [cluster.worker("one"), cluster.worker("two")];
    let sweep = submit(&cluster, learning(16), 0).await.sweep.unwrap().sweep_id;
    cluster.watch(sweep).await.until_done(3).await;
    let before = points(&cluster, sweep).await;
    cluster.replace_coordinator();
    let ended = cluster.watch(sweep).await.until_end().await;
    assert_eq!((ended.state(), ended.job_count), (v1::SweepState::Finished, 16));
    assert_counted(&cluster.results(sweep).await, 16, 3);
    let after = points(&cluster, sweep).await;
    let chosen = before.iter().filter(|point| !point.parameters.is_empty());
    assert!(chosen.clone().count() >= 3, "{before:?}");
    assert!(chosen.clone().all(|point| after.contains(point)), "{before:?} {after:?}");
    assert!(after.iter().all(|point| !point.parameters.is_empty()));
    let show = |job: u32| printed(&cluster, &["show", &format!("1/{job}")]);
    let verified = printed(&cluster, &["verify", "1", "--search"]);
    let all = "16 of 16 points of sweep 1 follow from what its search had seen (16 results)\n";
    assert_eq!(verified, all);
    assert!(show(1).contains("proposed: drawn at random"), "{}", show(1));
    assert!(show(16).contains("most like the best 2 jobs"), "{}", show(16));
}

#[tokio::test]
async fn points_that_several_leaders_chose_follow_from_what_the_search_had_seen() {
    let Some(server) = Postgres::shared() else { return };
    let mut cluster = Cluster::start(ClusterOptions { store: Some(server.database()), ..light(40) });
    let mut other = cluster.stand_by();
    let _workers = [cluster.worker("one"), cluster.worker("two"), cluster.worker("three")];
    let sweep = submit(&cluster, learning(32), 0).await.sweep.unwrap().sweep_id;
    // After the last that is drawn at random, too.
    for done in [4, 14] {
        cluster.watch(sweep).await.until_done(done).await;
        let before = points(&cluster, sweep).await;
        cluster.fail_over(&mut other).await;
        let after = points(&cluster, sweep).await;
        assert!(
            before.iter().filter(|point| !point.parameters.is_empty()).all(|point| after.contains(point))
        );
    }
    let ended = cluster.watch(sweep).await.until_end().await;
    assert_eq!((ended.state(), ended.job_count), (v1::SweepState::Finished, 32));
    assert_counted(&cluster.results(sweep).await, 32, 3);
    let verified = printed(&cluster, &["verify", "1", "--search"]);
    assert_eq!(verified, "32 of 32 points of sweep 1 follow from what its search had seen (32 results)\n");
}

/// The points of a search that learns, at a coordinator of its own, one job at a time.
async fn learned(seed: u32) -> Vec<v1::JobPoint> {
    let cluster = Cluster::start(light(5));
    let _worker = cluster.worker("one");
    let source = search("run_cap: 16\nexecution: {max_parallel: 1}");
    let text = source.text.replace("method: random", "method: tpe");
    let text = text.replace("search_seed: 7", &format!("search_seed: {seed}"));
    let sweep = submit(&cluster, v1::SweepSource { text, ..source }, 0).await.sweep.unwrap().sweep_id;
    let ended = cluster.watch(sweep).await.until_end().await;
    assert_eq!((ended.state(), ended.job_count), (v1::SweepState::Finished, 16));
    points(&cluster, sweep).await
}

/// What the trainer reports depends on the parameters alone.
#[tokio::test]
async fn with_one_job_at_a_time_the_same_seed_gives_the_same_search_and_another_seed_another() {
    let first = learned(7).await;
    assert_eq!(learned(7).await, first);
    let other = learned(8).await;
    assert!(first.iter().zip(&other).all(|(one, other)| one != other), "{first:?} {other:?}");
}
