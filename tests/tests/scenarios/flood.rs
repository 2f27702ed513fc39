//! Strangers that exhaust resources: connections that send nothing, streams that are never read.

use std::net::TcpStream;

use proto::v1::{self, worker_service_client::WorkerServiceClient};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tests::{Client, Cluster, ClusterOptions, chaos};

const EPOCHS: u32 = 100;
const CONNECTIONS: usize = 2_000;
const STREAMS: usize = 5_000;
/// As many as the coordinator allows on one connection.
const STREAMS_A_CONNECTION: usize = 200;

#[tokio::test]
async fn of_connections_and_streams_costs_no_lease() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let cluster = Cluster::start(ClusterOptions { lease: "5s", ..chaos::light(100) });
    let _workers = [cluster.worker("one"), cluster.worker("two")];
    let sweep =
        cluster.submit(&format!("{{epochs: {{value: {EPOCHS}}}, seed: {{min: 1, max: 4, count: 4}}}}")).await;
    cluster.watch(sweep).await.until_some_job_is_in_the_middle().await;

    let connections: Vec<_> =
        (0..CONNECTIONS).map(|_| TcpStream::connect(cluster.coordinator.address).unwrap()).collect();
    let (mut watches, mut sessions) = (Vec::new(), Vec::new());
    while watches.len() + sessions.len() < STREAMS {
        let channel = cluster.channel().await;
        let (mut client, mut worker) = (Client::new(channel.clone()), WorkerServiceClient::new(channel));
        for number in 0..STREAMS_A_CONNECTION {
            if number % 2 == 0 {
                let watched = client.watch_sweep(v1::WatchSweepRequest { sweep_id: sweep }).await;
                watches.push(watched.unwrap().into_inner());
            } else {
                // A worker that never says hello.
                let (sender, messages) = tokio::sync::mpsc::channel(1);
                let messages = tonic::codegen::tokio_stream::wrappers::ReceiverStream::new(messages);
                let session = worker.session(messages).await.unwrap().into_inner();
                sessions.push((session, sender));
            }
        }
    }
    // The flood stays while the jobs finish.
    cluster.watch(sweep).await.until_end().await;
    for (job, epochs) in cluster.results(sweep).await {
        assert_eq!((job.state(), job.attempts), (v1::JobState::Done, 1), "{job:?}");
        assert_eq!(epochs.len(), EPOCHS as usize);
    }
    assert_eq!((connections.len(), watches.len() + sessions.len()), (CONNECTIONS, STREAMS));
}
