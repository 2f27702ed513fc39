//! Stalled connections to the database: to its client, a stopped process of the server looks like a firewall that
//! forgot the connection.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use proto::v1;
use tempfile::TempDir;
use tests::{Client, Cluster, ClusterOptions, Coordinator, PATIENCE, Postgres, chaos, freeze, thaw};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::Notify,
};

/// How long a stalled connection may stop writes: another coordinator takes over within 10 s; three times that, as the
/// tests share their cores.
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

/// Stops a process of the server that is idle: one that is stopped within a transaction holds its locks, and no one can
/// write what it may still write. False if it is gone.
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

/// Submits a sweep to the leader, repeatedly with the same key until it is acknowledged.
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
    // A separate server: others would notice its stopped processes.
    let Some(server) = Postgres::start() else { return };
    let url = server.database();
    let name = database(&url);
    let mut cluster = Cluster::start(ClusterOptions { store: Some(url), ..chaos::light(10) });
    let other = cluster.stand_by();
    cluster.coordinator.until_it_leads(true).await;
    let coordinators = [&cluster.coordinator, &other];
    let mut sweeps = vec![submit(coordinators, "before").await];
    // The report reads over a connection that is neither the writer's nor the heartbeat's.
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
        let writers = backends(&server, &name, "AND query LIKE 'WITH may AS%INSERT%'");
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

/// What a network loses of a commit; of the connection it carries nothing more either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lost {
    /// The commit itself: the server never hears of it.
    Commit,
    /// The server's answer: it has committed.
    Answer,
}

/// A network between coordinators and a PostgreSQL that can lose one connection: it keeps carrying the others, and
/// tells neither end.
struct Network {
    /// What is lost of the next commit of a sweep whose request begins with [`LOST`].
    loses_next: Arc<Mutex<Option<Lost>>>,
    lost: Arc<Notify>,
    folder: TempDir,
}

impl Network {
    /// A network that carries all connections to the server at this socket.
    fn before(server: PathBuf) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let here = UnixListener::bind(folder.path().join(SOCKET)).unwrap();
        let loses_next = Arc::new(Mutex::new(None));
        let lost = Arc::new(Notify::new());
        let (loses, tells) = (Arc::clone(&loses_next), Arc::clone(&lost));
        tokio::spawn(async move {
            while let Ok((client, _)) = here.accept().await {
                let server = UnixStream::connect(&server).await.unwrap();
                tokio::spawn(carry(client, server, Arc::clone(&loses), Arc::clone(&tells)));
            }
        });
        Self { loses_next, lost, folder }
    }

    /// The same database through this network.
    fn through(&self, url: &str) -> String {
        let (database, _) = url.split_once("?host=").unwrap();
        format!("{database}?host={}", self.folder.path().display())
    }
}

/// Carries data both ways until one end closes, or the connection is lost.
async fn carry(
    client: UnixStream,
    server: UnixStream,
    loses_next: Arc<Mutex<Option<Lost>>>,
    lost: Arc<Notify>,
) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let answers = tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
    let mut piece = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from_client.read(&mut piece).await {
        let commits = piece[..length].windows(LOST.len()).any(|words| words == LOST.as_bytes());
        let loses = if commits { loses_next.lock().unwrap().take() } else { None };
        if loses.is_some() {
            answers.abort();
        }
        if loses != Some(Lost::Commit) && to_server.write_all(&piece[..length]).await.is_err() {
            break;
        }
        if loses.is_some() {
            lost.notify_one();
            // Both ends stay open, and receive nothing more.
            std::future::pending::<()>().await;
        }
    }
    answers.abort();
}

/// The name of a server's socket in its folder.
const SOCKET: &str = ".s.PGSQL.5432";
/// How the requests begin whose commit is lost: a commit brings their words to the server.
const LOST: &str = "in a commit that was lost";

// The network keeps running while the test waits for programs to start.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn of_a_connection_that_the_network_lost_in_a_commit_stops_no_writes() {
    let Some(server) = Postgres::start() else { return };
    let url = server.database();
    let name = database(&url);
    let (_, folder) = url.split_once("?host=").unwrap();
    let network = Network::before(Path::new(folder).join(SOCKET));
    let mut cluster =
        Cluster::start(ClusterOptions { store: Some(network.through(&url)), ..chaos::light(10) });
    let other = cluster.stand_by();
    cluster.coordinator.until_it_leads(true).await;
    let coordinators = [&cluster.coordinator, &other];
    let mut sweeps = vec![submit(coordinators, "before").await];
    for loses in [Lost::Commit, Lost::Answer, Lost::Commit] {
        *network.loses_next.lock().unwrap() = Some(loses);
        sweeps.push(submit(coordinators, &format!("{LOST}, {}: {loses:?}", sweeps.len())).await);
        tokio::time::timeout(PATIENCE, network.lost.notified()).await.expect("a commit was lost");
    }
    let told: Vec<u64> = (1..=sweeps.len() as u64).collect();
    assert_eq!(sweeps, told, "each once, in the order in which they were acknowledged");
    assert_eq!(server.psql(&name, "SELECT count(*) FROM sweeps"), sweeps.len().to_string());
}
