//! Two coordinators on PostgreSQL and three workers, each on a host of its own, as the overlay `ha` starts them: rolled out anew one
//! after another, as Kubernetes does it, and killed.
//!
//! The component `spot` is added, whose grace periods are short enough that running jobs do not end within them.

#[path = "rollout.rs"]
mod rollout;

use std::{cell::RefCell, collections::BTreeMap, fs, path::PathBuf};

use proto::{
    join::JoinToken,
    v1::{
        self, access_service_client::AccessServiceClient, sweep_service_client::SweepServiceClient,
        watch_sweep_response::Event,
    },
};
use serde_yaml::Value;
use tests::{Client, Postgres, Watch, chaos, jobs_of, program};
use tonic::transport::Channel;

use super::{
    network::Network,
    pod::{Instead, Pod, serves, until},
    render::{cluster_of, object},
    secrets::Secrets,
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

/// The same by TLS, where workers join.
const WITH_TLS: &str = "apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [../ha]
components: [../../components/spot, ../../components/tls, ../../components/join]
";
/// How long workers' certificates hold then: several are renewed while everything is rolled out.
const CERTIFICATES_LAST: &str = "6s";

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
    secrets: Secrets,
    serve: Vec<String>,
    more: Vec<String>,
    folder: tempfile::TempDir,
    /// What a watcher was told of epochs.
    told: RefCell<BTreeMap<(u64, u32), u64>>,
}

impl Hosts {
    /// None, with a printed reason, where something that it needs is missing.
    async fn start(name: &str, overlay: &str) -> Option<Self> {
        let documents = cluster_of(overlay)?;
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
            secrets: Secrets::with_token(TOKEN),
            serve: Vec::new(),
            more: vec!["--trainer".to_owned(), trainer],
            folder,
            told: RefCell::default(),
        };
        let has_tls = overlay == WITH_TLS;
        if has_tls {
            hosts.secrets.certify(documents, &hosts.folder.path().join("certs"));
            hosts.serve = vec![format!("--certificates-last={CERTIFICATES_LAST}")];
        }
        let replicas = object(documents, "StatefulSet", "sweep-coordinator")["spec"]["replicas"].as_u64();
        for number in 0..replicas.unwrap() {
            let pod = hosts.coordinator(number);
            hosts.coordinators.push(pod);
        }
        for pod in &hosts.coordinators {
            pod.until_ready().await;
        }
        if has_tls {
            hosts.let_workers_join().await;
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
        let instead = Instead {
            database: &self.database,
            secrets: &self.secrets,
            bucket: &bucket,
            serve: &self.serve,
            more: &self.more,
        };
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
                if serves(self.secrets.endpoint(pod.at(PORT)), LED).await {
                    return Some(place);
                }
            }
            None
        })
        .await
    }

    async fn channel(&self) -> Channel {
        let address = self.coordinators[self.leader().await].at(PORT);
        self.secrets.endpoint(address).connect().await.unwrap()
    }

    async fn client(&self) -> Client {
        SweepServiceClient::new(self.channel().await)
    }

    /// Makes the Secret `sweep-join`, with a token that holds for everyone who comes.
    async fn let_workers_join(&mut self) {
        let request = v1::CreateTokenRequest {
            role: v1::Role::Worker.into(),
            name: "cluster".to_owned(),
            lasts_ms: 0,
            join: true,
        };
        let made = AccessServiceClient::new(self.channel().await).create_token(asked(request)).await;
        let v1::CreateTokenResponse { secret, authority_hash, .. } = made.unwrap().into_inner();
        let token = JoinToken { token: secret, authority: authority_hash };
        self.secrets.hold("sweep-join", "token", &token.to_string());
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
        let instead = Instead {
            database: &self.database,
            secrets: &self.secrets,
            bucket: &bucket,
            serve: &self.serve,
            more: &self.more,
        };
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
