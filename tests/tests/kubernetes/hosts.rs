//! Two coordinators on PostgreSQL and three workers, each on a host of its own, as the overlay `ha` starts them: rolled out anew one
//! after another, as Kubernetes does it, and killed.
//!
//! The component `spot` is added, whose grace periods are short enough that running jobs do not end within them.

use std::{cell::RefCell, collections::BTreeMap, fs, path::PathBuf};

use proto::v1::{self, sweep_service_client::SweepServiceClient, watch_sweep_response::Event};
use serde_yaml::Value;
use tests::{Client, Postgres, Watch, chaos, jobs_of, program};
use tonic::transport::Endpoint;

use super::{
    network::Network,
    pod::{Instead, Pod, serves, until},
    render::{cluster_of, object},
};

/// Jobs of a sweep: enough that none of the steps finds them all done.
const JOBS: u64 = 240;
const EPOCHS: u32 = 12;
const WORKERS: usize = 3;
/// Where coordinators are asked, as the Service says.
const PORT: u16 = 7070;
const TOKEN: &str = "of-the-hosts";
/// What only the leader serves.
const LED: &str = "sweep.v1.SweepService";

/// What the cluster applies: `ha` with `spot`.
const OVERLAY: &str = "apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [../ha]
components: [../../components/spot]
";

/// All of it.
struct Hosts {
    documents: &'static [Value],
    coordinators: Vec<Pod<'static>>,
    workers: Vec<Pod<'static>>,
    /// Pods of workers so far: each has a name of its own.
    named: usize,
    network: Network,
    database: String,
    server: Postgres,
    more: Vec<String>,
    folder: tempfile::TempDir,
    /// What a watcher was told of epochs.
    told: RefCell<BTreeMap<(u64, u32), u64>>,
}

impl Hosts {
    /// None, with a printed reason, where something that it needs is missing.
    async fn start(name: &str) -> Option<Self> {
        let documents = cluster_of(OVERLAY)?;
        let server = Postgres::start()?;
        let database = server.database();
        let folder = tempfile::tempdir().unwrap();
        let network = Network::enter(name, folder.path())?;
        for place in ["bucket/checkpoints", "bucket/artifacts"] {
            fs::create_dir_all(folder.path().join(place)).unwrap();
        }
        // In place of the image's trainer. No job ends its last epoch while there is no gate.
        let trainer = format!(
            "LIGHT_TRAINER_EPOCH_MS=25 LIGHT_TRAINER_PAUSES=1 LIGHT_TRAINER_GATE='{}' exec '{}'",
            folder.path().join("gate").display(),
            program("light-trainer").display()
        );
        let mut hosts = Self {
            documents,
            coordinators: Vec::new(),
            workers: Vec::new(),
            named: 0,
            network,
            database,
            server,
            more: vec!["--trainer".to_owned(), trainer],
            folder,
            told: RefCell::default(),
        };
        let replicas = object(documents, "StatefulSet", "sweep-coordinator")["spec"]["replicas"].as_u64();
        for number in 0..replicas.unwrap() {
            let pod = hosts.coordinator(number);
            hosts.coordinators.push(pod);
        }
        for pod in &hosts.coordinators {
            pod.until_ready().await;
        }
        for _ in 0..WORKERS {
            let pod = hosts.worker();
            pod.program.until_it_says("connected to the coordinator");
            hosts.workers.push(pod);
        }
        Some(hosts)
    }

    fn pod(&mut self, kind: &str, workload: &str, name: &str, known_as: &[String]) -> Pod<'static> {
        let host = self.network.host(known_as);
        let workload = object(self.documents, kind, workload);
        let bucket = self.folder.path().join("bucket");
        let instead = Instead { database: &self.database, token: TOKEN, bucket: &bucket, more: &self.more };
        Pod::start(name, host, (self.documents, workload), &self.network, &instead)
    }

    /// A pod of the StatefulSet: its name stays, its address does not.
    fn coordinator(&mut self, number: u64) -> Pod<'static> {
        let service = &object(self.documents, "StatefulSet", "sweep-coordinator")["spec"]["serviceName"];
        let name = format!("sweep-coordinator-{number}");
        let known_as = format!("{name}.{}", service.as_str().unwrap());
        self.pod("StatefulSet", "sweep-coordinator", &name, &[known_as])
    }

    /// A pod of the Deployment: a new name, and no volume of another.
    fn worker(&mut self) -> Pod<'static> {
        self.named += 1;
        self.pod("Deployment", "sweep-worker", &format!("sweep-worker-{}", self.named), &[])
    }

    /// The coordinator that leads.
    async fn leader(&self) -> usize {
        until("a coordinator leads", async || {
            for (place, pod) in self.coordinators.iter().enumerate() {
                if serves(pod.at(PORT), LED).await {
                    return Some(place);
                }
            }
            None
        })
        .await
    }

    async fn client(&self) -> Client {
        let address = self.coordinators[self.leader().await].at(PORT);
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        SweepServiceClient::new(endpoint.connect().await.unwrap())
    }

    async fn submit(&self) -> u64 {
        let text = format!(
            "name: hosts\nmodel: simple_cnn\nmethod: grid\ndataset: {{path: train}}\nparameters:\n  \
             epochs: {{value: {EPOCHS}}}\n  seed: {{min: 1, max: {JOBS}, count: {JOBS}}}\n"
        );
        let source = v1::SweepSource { text, file_name: "hosts.yaml".into(), ..v1::SweepSource::default() };
        let request = v1::SubmitRequest { source: Some(source), ..v1::SubmitRequest::default() };
        let submitted = self.client().await.submit(asked(request)).await.unwrap().into_inner();
        submitted.sweep.unwrap().sweep_id
    }

    async fn watch(&self, sweep_id: u64) -> Watch {
        let request = asked(v1::WatchSweepRequest { sweep_id });
        Watch::of(self.client().await.watch_sweep(request).await.unwrap().into_inner())
    }

    /// Keeps what a watcher is told.
    fn hear(&self, event: &Event) {
        if let Event::Epoch(v1::EpochObserved { point: Some(point), record: Some(record), .. }) = event {
            self.told.borrow_mut().insert((point.job, record.epoch), record.train_loss.to_bits());
        }
    }

    /// Opens the gate until another job is done, so that what was just started has its part in it.
    async fn let_one_end(&self, sweep_id: u64) {
        let mut watch = self.watch(sweep_id).await;
        let done = |event: &Event| match event {
            Event::Snapshot(snapshot) => Some(snapshot.sweep.as_ref()?.counts?.done),
            _ => None,
        };
        let before = watch.until("a snapshot", done).await;
        assert!(before < JOBS, "the sweep has too few jobs for all steps");
        fs::write(self.gate(), "").unwrap();
        let one_more = |event: &Event| {
            self.hear(event);
            matches!(event, Event::Job(changed) if changed.state() == v1::JobState::Done).then_some(())
        };
        watch.until("a job that is done", one_more).await;
        fs::remove_file(self.gate()).unwrap();
    }

    fn gate(&self) -> PathBuf {
        self.folder.path().join("gate")
    }

    /// Waits until a worker runs jobs. While there is no gate, they do not end.
    async fn until_it_has_jobs(&self, worker: &str) {
        until(&format!("{worker} has jobs"), async || {
            let request = asked(v1::ListWorkersRequest::default());
            let listed = self.client().await.list_workers(request).await.unwrap().into_inner();
            listed.workers.iter().any(|one| one.name == worker && !one.running.is_empty()).then_some(())
        })
        .await;
    }

    /// Waits until a worker has said an epoch of a job that it was granted since the watch began.
    async fn until_it_trains(&self, watch: &mut Watch, worker: &str) {
        let mut granted = Vec::new();
        let trained = |event: &Event| {
            self.hear(event);
            match event {
                Event::Job(changed) if changed.worker == worker => {
                    granted.push((changed.point.as_ref()?.job, changed.attempt));
                    None
                }
                Event::Epoch(epoch) => {
                    granted.contains(&(epoch.point.as_ref()?.job, epoch.attempt)).then_some(())
                }
                _ => None,
            }
        };
        watch.until(&format!("an epoch of {worker}"), trained).await;
    }

    /// Ends a worker as a rollout does: SIGTERM, then a new pod on a new host.
    async fn roll_worker(&mut self, sweep: u64, place: usize) {
        let mut watch = self.watch(sweep).await;
        let mut old = self.workers.remove(place);
        assert_eq!(old.program.leave(), Some(0), "{}", old.program.log());
        self.network.remove(&old.host);
        let new = self.worker();
        new.until_ready().await;
        self.until_it_trains(&mut watch, &new.name).await;
        self.workers.insert(place, new);
    }

    /// The same of a coordinator, which keeps its name.
    async fn roll_coordinator(&mut self, place: usize) {
        let old = &mut self.coordinators[place];
        assert_eq!(old.program.leave(), Some(0), "{}", old.program.log());
        self.network.remove(&self.coordinators[place].host);
        let new = self.coordinator(place as u64);
        new.until_ready().await;
        self.coordinators[place] = new;
    }

    /// Starts the container of a pod again, as the kubelet does after its program has died.
    fn restart(&mut self, is_worker: bool, place: usize) {
        let bucket = self.folder.path().join("bucket");
        let instead = Instead { database: &self.database, token: TOKEN, bucket: &bucket, more: &self.more };
        let pods = if is_worker { &mut self.workers } else { &mut self.coordinators };
        pods[place].restart(self.documents, &self.network, &instead);
    }

    /// Lets the sweep end, and checks that each job is done with the trainer's epochs, each once, and all that a watcher was told.
    async fn check(&self, sweep_id: u64) {
        fs::write(self.gate(), "").unwrap();
        self.watch(sweep_id).await.to_the_end(|event| self.hear(event)).await;
        let request = asked(v1::ReportRowsRequest { sweep_id, hands_on: false });
        let rows = self.client().await.report_rows(request).await.unwrap().into_inner();
        let jobs = jobs_of(rows).await;
        assert_eq!(jobs.len() as u64, JOBS);
        let mut kept = BTreeMap::new();
        for (job, epochs) in jobs {
            let number = job.point.as_ref().unwrap().job;
            assert_eq!(job.state(), v1::JobState::Done, "{job:?}");
            let records: Vec<_> = epochs.iter().map(|row| row.record.clone().unwrap()).collect();
            let numbers: Vec<u32> = records.iter().map(|record| record.epoch).collect();
            assert_eq!(numbers, (1..=EPOCHS).collect::<Vec<_>>(), "job {number} has each epoch once");
            for record in records {
                let expected = chaos::light_epoch(number, record.epoch);
                kept.insert((number, record.epoch), record.train_loss.to_bits());
                assert_eq!(record.train_loss.to_bits(), expected.train_loss.to_bits());
                assert_eq!(record.val_accuracy.to_bits(), expected.val_accuracy.to_bits());
            }
        }
        let told = self.told.take();
        assert!(!told.is_empty());
        assert!(told.iter().all(|(epoch, loss)| kept.get(epoch) == Some(loss)), "what was told is there");
    }

    /// What the database has.
    fn query(&self, sql: &str) -> String {
        let name = self.database.split('?').next().unwrap().rsplit('/').next().unwrap();
        self.server.psql(name, sql)
    }

    /// One number from it.
    fn count(&self, sql: &str) -> u64 {
        self.query(sql).parse().unwrap()
    }
}

/// A request with the token.
fn asked<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {TOKEN}").parse().unwrap());
    request
}

#[tokio::test]
async fn a_rollout_of_every_pod_charges_no_job_and_trains_no_epoch_again() {
    let Some(mut hosts) = Hosts::start("rollout").await else { return };
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
    assert_eq!(hosts.count("SELECT sum(failures + losses) FROM jobs"), 0);
    assert_eq!(hosts.count("SELECT count(*) FROM attempts WHERE state NOT IN ('done', 'handed_back')"), 0);
    // Each worker that left had at least one job, which went on where it stood.
    let handed_back = "FROM attempts a WHERE a.state = 'handed_back' AND EXISTS (SELECT FROM epochs e \
         WHERE e.job = a.job AND e.attempt = a.attempt)";
    assert!(hosts.count(&format!("SELECT count(*) {handed_back}")) >= WORKERS as u64);
    let again = "AND NOT EXISTS (SELECT FROM attempts b WHERE b.job = a.job AND b.attempt > a.attempt \
         AND b.resumed_epochs >= (SELECT max(epoch) FROM epochs e WHERE e.job = a.job AND e.attempt = a.attempt))";
    assert_eq!(hosts.count(&format!("SELECT count(*) {handed_back} {again}")), 0);
}

#[tokio::test]
async fn a_leader_and_a_worker_that_are_killed_lose_nothing_and_count_nothing_twice() {
    let Some(mut hosts) = Hosts::start("killed").await else { return };
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
