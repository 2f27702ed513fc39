//! What pods are rolled out for, and killed: nothing is lost, charged or trained again.

use super::*;

#[tokio::test]
async fn a_rollout_of_every_pod_charges_no_job_and_trains_no_epoch_again() {
    let Some(hosts) = Hosts::start("rollout", OVERLAY).await else { return };
    rolled_out(hosts).await;
}

#[tokio::test]
async fn a_rollout_of_workers_that_have_joined_costs_no_more_while_their_certificates_are_renewed() {
    let Some(hosts) = Hosts::start("joined", WITH_TLS).await else { return };
    for pod in &hosts.workers {
        // Its first certificate has run out, and its stream with it.
        pod.program.until_it_says("connecting again with the certificate of now");
    }
    let hosts = rolled_out(hosts).await;
    for pod in &hosts.workers {
        pod.program.until_it_says("the certificate was renewed");
        assert!(
            pod.holds("/var/lib/sweep/spool/worker.pem") && !pod.holds("/etc/sweep/token/token"),
            "{}",
            pod.name
        );
    }
}

/// Rolls every pod out anew under a sweep.
async fn rolled_out(mut hosts: Hosts) -> Hosts {
    let sweep = hosts.submit().await;
    hosts.let_one_end(sweep).await;
    for place in 0..WORKERS {
        hosts.roll_worker(sweep, place).await;
        hosts.let_one_end(sweep).await;
    }
    // As a StatefulSet does, the last one first.
    for place in [1, 0] {
        hosts.roll_coordinator(place).await;
        hosts.let_one_end(sweep).await;
    }
    hosts.check(sweep).await;
    for pod in hosts.workers.iter().chain(&hosts.coordinators) {
        // Its port for probes is open to other hosts, which each start says once; a coordinator's log goes on after it was replaced.
        let log = pod.program.log();
        let starts = log.matches("probes and metrics are answered").count();
        assert_eq!(log.matches("the port of --admin is in plain text").count(), starts, "{}", pod.name);
        assert!(starts > 0, "{}", pod.name);
    }
    assert_eq!(hosts.count("SELECT sum(failures + losses) FROM jobs"), 0);
    assert_eq!(hosts.count("SELECT count(*) FROM attempts WHERE state NOT IN ('done', 'handed_back')"), 0);
    // Each worker that left had at least one job, which went on where it stood.
    let handed_back = "FROM attempts a WHERE a.state = 'handed_back' AND EXISTS (SELECT FROM epochs e \
         WHERE e.job = a.job AND e.attempt = a.attempt)";
    assert!(hosts.count(&format!("SELECT count(*) {handed_back}")) >= WORKERS as u64);
    let again = "AND NOT EXISTS (SELECT FROM attempts b WHERE b.job = a.job AND b.attempt > a.attempt \
         AND b.resumed_epochs >= (SELECT max(epoch) FROM epochs e WHERE e.job = a.job AND e.attempt = a.attempt))";
    assert_eq!(hosts.count(&format!("SELECT count(*) {handed_back} {again}")), 0);
    hosts
}

#[tokio::test]
async fn a_leader_and_a_worker_that_are_killed_lose_nothing_and_count_nothing_twice() {
    let Some(mut hosts) = Hosts::start("killed", OVERLAY).await else { return };
    let sweep = hosts.submit().await;
    hosts.let_one_end(sweep).await;
    hosts.until_it_has_jobs(&hosts.workers[0].name).await;
    let mut watch = hosts.watch(sweep).await;
    hosts.workers[0].program.kill();
    hosts.restart(true, 0);
    hosts.workers[0].until_ready().await;
    hosts.until_it_trains(&mut watch, &hosts.workers[0].name).await;
    hosts.let_one_end(sweep).await;

    let leader = hosts.leader().await;
    hosts.coordinators[leader].program.kill();
    let other = hosts.leader().await;
    assert_ne!(other, leader);
    hosts.let_one_end(sweep).await;
    hosts.restart(false, leader);
    hosts.coordinators[leader].until_ready().await;
    assert_eq!(hosts.leader().await, other, "it stands by");
    hosts.let_one_end(sweep).await;
    hosts.check(sweep).await;
    assert_eq!(hosts.count("SELECT sum(failures) FROM jobs"), 0);
    // The worker's jobs began again. Those of the others that had begun went on under the other leader; of what the killed one had granted
    // last, the worker may not have heard.
    let early = |which: &str| {
        hosts.query(&format!(
            "SELECT job, attempt, worker, state, reason FROM attempts WHERE state <> 'done' AND {which}"
        ))
    };
    assert_ne!(early("worker = 'sweep-worker-1'"), "", "the killed worker had jobs");
    assert_eq!(early("worker <> 'sweep-worker-1' AND started"), "");
    assert_eq!(early("state NOT IN ('lost', 'handed_back')"), "");
}
