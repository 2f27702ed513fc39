//! Connections to the database that stand still: a stopped process of the server looks to its client as a firewall that
//! forgot the connection does.

use std::time::{Duration, Instant};

use proto::v1;
use tests::{Client, Cluster, ClusterOptions, Coordinator, PATIENCE, Postgres, chaos, freeze, thaw};

/// How long a connection that stands still may stop writes: another coordinator takes over within 10 s; three times that,
/// as the tests share their cores with others.
const WRITES_GO_ON_WITHIN: Duration = Duration::from_secs(30);

/// The name of the database in a URL of the tests' server.
fn database(url: &str) -> String {
    url.rsplit('/')
        .find(|part| part.starts_with("sweep"))
        .and_then(|part| part.split('?').next())
        .unwrap()
        .to_owned()
}

/// The processes of the server that serve connections of coordinators, by number.
fn backends(server: &Postgres, database: &str, rest: &str) -> Vec<u32> {
    let query = format!(
        "SELECT pid FROM pg_stat_activity WHERE datname = '{database}' AND application_name = 'sweep' {rest} ORDER BY pid"
    );
    server.psql("postgres", &query).lines().filter_map(|pid| pid.parse().ok()).collect()
}

/// Stops a process of the server that does nothing just now: one that is stopped within a transaction holds its locks, and nobody
/// can write what it may still write. False where it is gone.
fn stop_between_transactions(server: &Postgres, database: &str, pid: u32) -> bool {
    loop {
        if backends(server, database, &format!("AND pid = {pid}")).is_empty() {
            return false;
        }
        freeze(pid);
        if !backends(server, database, &format!("AND pid = {pid} AND state = 'idle'")).is_empty() {
            return true;
        }
        thaw(pid);
    }
}

/// Submits a sweep to whoever leads, again and again with one key until it is acknowledged.
async fn submit(coordinators: [&Coordinator; 2], key: &str) -> u64 {
    let asked = async {
        loop {
            for coordinator in coordinators {
                let source = Some(tests::source("{epochs: {value: 1}}"));
                let request = v1::SubmitRequest { source, request_id: key.to_owned(), ..Default::default() };
                let mut client = Client::new(coordinator.channel().await);
                if let Ok(answer) = client.submit(request).await {
                    return answer.into_inner().sweep.unwrap_or_default().sweep_id;
                }
            }
            tokio::task::yield_now().await;
        }
    };
    let begun = Instant::now();
    let sweep = tokio::time::timeout(PATIENCE, asked).await.expect("the submission is acknowledged");
    assert!(begun.elapsed() < WRITES_GO_ON_WITHIN, "{key}: a write took {:?}", begun.elapsed());
    sweep
}

#[tokio::test]
async fn of_any_one_connection_does_not_stop_writes() {
    // A server of its own: others would see its processes stand still.
    let Some(server) = Postgres::start() else { return };
    let url = server.database();
    let name = database(&url);
    let mut cluster = Cluster::start(ClusterOptions { store: Some(url), ..chaos::light(10) });
    let other = cluster.stand_by();
    cluster.coordinator.until_it_leads(true).await;
    let coordinators = [&cluster.coordinator, &other];
    let mut sweeps = vec![submit(coordinators, "before").await];
    // The report reads by a connection that is neither the writer's nor the beat's.
    assert_eq!(cluster.results(sweeps[0]).await.len(), 1);
    let mut stopped = 0;
    for pid in backends(&server, &name, "") {
        if !stop_between_transactions(&server, &name, pid) {
            continue;
        }
        let begun = Instant::now();
        sweeps.push(submit(coordinators, &format!("while {pid} stands still")).await);
        println!("a connection stood still, a write took {:.1} s", begun.elapsed().as_secs_f64());
        stopped += 1;
        thaw(pid);
    }
    assert!(stopped >= 3, "writer, readers and the one that stands by: {stopped}");
    let told: Vec<u64> = (1..=sweeps.len() as u64).collect();
    assert_eq!(sweeps, told, "each once, in the order in which they were acknowledged");
    assert_eq!(server.psql(&name, "SELECT count(*) FROM sweeps"), sweeps.len().to_string());
}

#[tokio::test]
async fn of_the_writers_connection_costs_running_jobs_nothing() {
    let Some(server) = Postgres::start() else { return };
    let url = server.database();
    let name = database(&url);
    let mut cluster = Cluster::start(ClusterOptions { store: Some(url), ..chaos::light(100) });
    let other = cluster.stand_by();
    cluster.coordinator.until_it_leads(true).await;
    let _worker = cluster.worker("one");
    let parameters = "{epochs: {value: 50}, seed: {min: 1, max: 2, count: 2}}";
    let sweep = cluster.submit(parameters).await;
    cluster.watch(sweep).await.until_some_job_is_in_the_middle().await;
    let writer = loop {
        let writers = backends(&server, &name, "AND query IN ('BEGIN', 'COMMIT')");
        if let Some(pid) = writers.into_iter().find(|pid| stop_between_transactions(&server, &name, *pid)) {
            break pid;
        }
    };
    submit([&cluster.coordinator, &other], "while the writer stands still").await;
    thaw(writer);
    let leads = async |coordinator: &Coordinator| {
        let mut client = Client::new(coordinator.channel().await);
        client.list_sweeps(v1::ListSweepsRequest::default()).await.is_ok()
    };
    if !leads(&cluster.coordinator).await {
        other.until_it_leads(true).await;
        cluster.coordinator = other;
    }
    cluster.watch(sweep).await.until_end().await;
    for (job, epochs) in cluster.results(sweep).await {
        assert_eq!((job.state(), job.attempts, epochs.len()), (v1::JobState::Done, 1, 50), "{job:?}");
    }
}
