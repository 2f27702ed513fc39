//! The files of programs: uploaded by content, across a kill of the coordinator, once for all senders, and read by
//! workers unchanged.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use proto::v1::{self, worker_service_client::WorkerServiceClient};
use terms::snapshot::ContentHash;
use tests::{Cluster, ClusterOptions, program};
use tonic::Code;

const PIECE_BYTES: usize = 1 << 20;

/// A folder with a sweep of a program and files of several pieces.
fn project(cluster: &Cluster, name: &str) -> std::path::PathBuf {
    let folder = cluster.folder.path().join(name);
    fs::create_dir_all(folder.join("lib/__pycache__")).unwrap();
    let sweep = "program: train.py\nmetric: {name: loss, goal: minimize}\nparameters: {lr: {values: [0.1, 0.2]}}\n\
                 execution: {files: [\"lib/**\"]}\n";
    fs::write(folder.join("sweep.yaml"), sweep).unwrap();
    fs::write(folder.join("train.py"), "print('loss=1')\n").unwrap();
    fs::write(folder.join("lib/table.bin"), table()).unwrap();
    fs::write(folder.join("lib/empty.py"), "").unwrap();
    fs::write(folder.join("lib/__pycache__/a.pyc"), "compiled").unwrap();
    folder
}

fn table() -> Vec<u8> {
    (0..3 * PIECE_BYTES + 5).map(|place| (place % 251) as u8).collect()
}

fn submit(cluster: &Cluster, folder: &Path) -> Output {
    Command::new(program("sweep"))
        .arg("--coordinator")
        .arg(format!("http://{}", cluster.coordinator.address))
        .arg("submit")
        .arg(folder.join("sweep.yaml"))
        .args(["-o", "name"])
        .env("SWEEP_CONFIG", "/dev/null")
        .output()
        .unwrap()
}

fn told(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The files of `folder`, in the form in which `sweep submit` names them.
fn snapshot(folder: &Path) -> v1::Snapshot {
    let file = |path: &str| {
        let content = fs::read(folder.join(path)).unwrap();
        v1::SnapshotFile {
            path: path.to_owned(),
            executable: false,
            bytes: content.len() as u64,
            blake3: ContentHash::of(&content).to_string(),
        }
    };
    v1::Snapshot { files: ["lib/empty.py", "lib/table.bin", "train.py"].map(file).to_vec() }
}

async fn put(cluster: &Cluster, snapshot: &v1::Snapshot) -> v1::PutSnapshotResponse {
    let request = v1::PutSnapshotRequest { snapshot: Some(snapshot.clone()) };
    cluster.client().await.put_snapshot(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn files_are_sent_once_also_over_a_coordinator_that_is_killed_half_way() {
    let mut cluster = Cluster::start(ClusterOptions::default());
    let folder = project(&cluster, "one");
    let wanted = snapshot(&folder);
    let asked = put(&cluster, &wanted).await;
    assert_eq!(asked.missing.len(), 3);
    // A submission that gets as far as the first piece of the large file.
    let table = table();
    let first = v1::ContentPiece {
        blake3: ContentHash::of(&table).to_string(),
        bytes: table.len() as u64,
        offset: 0,
        data: table[..PIECE_BYTES].to_vec(),
    };
    let request = v1::PutContentsRequest { pieces: vec![first] };
    let taken = cluster.client().await.put_contents(request).await.unwrap().into_inner();
    assert_eq!((taken.contents[0].offset, taken.contents[0].kept), (PIECE_BYTES as u64, false));
    cluster.replace_coordinator();
    let source = v1::SweepSource {
        text: fs::read_to_string(folder.join("sweep.yaml")).unwrap(),
        snapshot: asked.snapshot_id.clone(),
        ..v1::SweepSource::default()
    };
    let request = v1::SubmitRequest { source: Some(source), ..v1::SubmitRequest::default() };
    let refused = cluster.client().await.submit(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound, "nothing half-sent can be named: {refused:?}");
    let said = told(&submit(&cluster, &folder));
    assert!(said.contains("files: 3, 3.00 MiB (left out: 1 __pycache__)"), "{said}");
    assert!(said.contains("sent: 3, 2.00 MiB"), "what had come is not sent again: {said}");
    // Another sweep, another folder, the same contents.
    let other = project(&cluster, "other");
    fs::rename(other.join("lib/empty.py"), other.join("lib/renamed.py")).unwrap();
    assert!(told(&submit(&cluster, &other)).contains("sent: nothing"));
    // The sweep still names its files after a restart, which removes what no sweep names.
    cluster.replace_coordinator();
    let request = v1::GetSweepRequest { sweep_id: 1 };
    let sweep = cluster.client().await.get_sweep(request).await.unwrap().into_inner();
    assert!(
        sweep.specification.contains(&format!("snapshot: {}", asked.snapshot_id)),
        "{}",
        sweep.specification
    );
    assert!(put(&cluster, &wanted).await.missing.is_empty());
}

#[tokio::test]
async fn workers_read_the_files_as_they_were_sent() {
    let cluster = Cluster::start(ClusterOptions::default());
    let folder = project(&cluster, "one");
    told(&submit(&cluster, &folder));
    let wanted = snapshot(&folder);
    let snapshot_id = put(&cluster, &wanted).await.snapshot_id;
    for _ in 0..2 {
        let mut worker = WorkerServiceClient::new(cluster.channel().await);
        let request = v1::GetSnapshotRequest { snapshot_id: snapshot_id.clone() };
        let found = worker.get_snapshot(request).await.unwrap().into_inner();
        assert_eq!(found, wanted);
        for file in found.files {
            let mut content: Vec<u8> = Vec::new();
            loop {
                let piece = v1::ContentPiece {
                    blake3: file.blake3.clone(),
                    bytes: file.bytes,
                    offset: content.len() as u64,
                    data: Vec::new(),
                };
                let request = v1::GetContentsRequest { wanted: vec![piece] };
                let answer = worker.get_contents(request).await.unwrap().into_inner();
                assert!(answer.pieces[0].data.len() <= PIECE_BYTES);
                content.extend(&answer.pieces[0].data);
                if content.len() as u64 == file.bytes {
                    break;
                }
            }
            assert!(content == fs::read(folder.join(&file.path)).unwrap(), "{}", file.path);
        }
    }
    let mut worker = WorkerServiceClient::new(cluster.channel().await);
    let request = v1::GetSnapshotRequest { snapshot_id: ContentHash::of(b"none").to_string() };
    assert_eq!(worker.get_snapshot(request).await.unwrap_err().code(), Code::NotFound);
}
