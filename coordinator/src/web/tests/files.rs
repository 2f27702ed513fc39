//! What a browser downloads: exports, and what is kept of jobs.

use std::sync::Arc;

use domain::record::{Record, WeightsFile, WeightsState};
use engine::weights_name;
use export::{Export, ParquetFolder};
use report::{Document, DocumentKind, Epoch, Job, Sweep};
use terms::{
    AttemptKey, JobState, SweepId,
    outputs::{OutputFile, OutputIndex, OutputsLeftOut, end},
};

use super::{filled, *};
use crate::{
    api::ReportRow,
    artifacts::Artifacts,
    rpc::convert,
    shapes::{rows::Rows, space},
};

/// The weights of job 1.
const WEIGHTS: &[u8] = b"weights, in no format that anyone reads";
/// Files that job 2 left: one is longer than a piece, one has a name that no header takes as it is.
const LONG: usize = 100_000;
const ODD_NAME: &str = "図/\"x\".html";

/// The coordinator with the filled sweep, of which weights of job 1 and files of job 2 are kept.
async fn served() -> (Served, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let artifacts = Artifacts::open(folder.path().to_str().unwrap()).unwrap();
    let file = |path: &str, content: &[u8]| OutputFile {
        path: path.to_owned(),
        bytes: content.len() as u64,
        blake3: terms::snapshot::ContentHash::from(blake3::hash(content)),
        executable: false,
    };
    let (long, odd) = (vec![7; LONG], b"<script>alert(1)</script>".to_vec());
    let left_out = OutputsLeftOut {
        reason: "links are not followed".to_owned(),
        count: 3,
        examples: vec!["a.bin".into()],
    };
    let index =
        OutputIndex { files: vec![file("long.bin", &long), file(ODD_NAME, &odd)], left_out: vec![left_out] };
    let mut archive = index.head();
    for (file, content) in index.files.iter().zip([long, odd]) {
        archive.extend(file.header());
        archive.extend(content);
        archive.extend(file.padding());
    }
    archive.extend(end());
    let mut records = Vec::new();
    for (job, content) in [(1, WEIGHTS), (2, &archive)] {
        let file =
            WeightsFile { bytes: content.len() as u64, blake3: blake3::hash(content).to_hex().to_string() };
        let path =
            folder.path().join(weights_name(SweepId(1), filled::CREATED_UNIX_MS, job, 1, &file.blake3));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        records.push(kept(job, WeightsState::Kept, file));
    }
    let gone = WeightsFile { bytes: 5, blake3: "00".repeat(32) };
    records.push(kept(5, WeightsState::Awaited, gone));
    let mut served = filled::served_with(records, Some(Arc::new(artifacts))).await;
    served.folders.push(folder);
    (served, archive)
}

fn kept(job: u64, state: WeightsState, file: WeightsFile) -> Record {
    Record::WeightsChanged {
        attempt: AttemptKey::new(1, job, 1),
        state,
        worker: "a".parse().unwrap(),
        file,
        value: 0.5,
        reason: String::new(),
    }
}

async fn bytes(served: &Served, path: &str) -> (HeaderMap, Vec<u8>) {
    let (status, headers, body) = served.ask(&Method::GET, path, &[]).await;
    let bytes = to_bytes(body, usize::MAX).await.unwrap().to_vec();
    assert_eq!(status, StatusCode::OK, "{path}: {}", String::from_utf8_lossy(&bytes));
    (headers, bytes)
}

#[tokio::test]
async fn what_is_kept_of_a_job_is_listed_and_downloaded_to_the_byte() {
    let (served, archive) = served().await;
    let path = |job: u64| format!("/api/v1/sweeps/1/jobs/{job}/artifacts");
    let (_, one) = served.json(&path(1)).await;
    assert_eq!(one["items"].as_array().unwrap().len(), 1);
    let weights = &one["items"][0];
    assert_eq!((&weights["name"], &weights["state"]), (&"model.safetensors".into(), &"kept".into()));
    assert_eq!(weights["bytes"], WEIGHTS.len());
    assert_eq!(weights["blake3"], blake3::hash(WEIGHTS).to_hex().as_str());
    let (headers, content) = bytes(&served, &format!("{}/model.safetensors", path(1))).await;
    assert_eq!(content, WEIGHTS);
    assert_eq!(headers[header::CONTENT_LENGTH], WEIGHTS.len().to_string());
    assert_eq!(headers[header::CONTENT_TYPE], "application/octet-stream");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(headers[header::ACCEPT_RANGES], "none");
    let disposition = headers[header::CONTENT_DISPOSITION].to_str().unwrap();
    assert!(disposition.starts_with("attachment; filename=\"1-1-model.safetensors\""), "{disposition}");

    let (_, two) = served.json(&path(2)).await;
    let names: Vec<&str> =
        two["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["files.tar", "files/long.bin", &format!("files/{ODD_NAME}")]);
    assert_eq!(
        two["left_out"],
        serde_json::json!([{"reason": "links are not followed", "count": 3, "examples": ["a.bin"]}])
    );
    let fetch = async |name: &str| {
        let name = super::wanted::encoded(name).replace('/', "%2F");
        bytes(&served, &format!("{}/{name}", path(2))).await
    };
    assert_eq!(fetch("files.tar").await.1, archive);
    assert_eq!(fetch("files/long.bin").await.1, vec![7; LONG]);
    let (headers, content) = fetch(names[2]).await;
    assert_eq!(content, b"<script>alert(1)</script>");
    assert_eq!(headers[header::CONTENT_TYPE], "application/octet-stream");
    for item in two["items"].as_array().unwrap() {
        let (_, content) = fetch(item["name"].as_str().unwrap()).await;
        assert_eq!(item["blake3"], blake3::hash(&content).to_hex().as_str());
        assert_eq!(item["bytes"], content.len());
    }
    let (_, awaited) = served.json(&path(5)).await;
    assert_eq!(
        (&awaited["items"][0]["name"], &awaited["items"][0]["state"]),
        (&Value::Null, &"awaited".into())
    );
    assert_eq!(served.json(&path(3)).await.1["items"], serde_json::json!([]));
    for (path, says) in [
        (format!("{}/files.tar", path(1)), "has no file \"files.tar\""),
        (format!("{}/files%2F..%2F..%2Fx", path(2)), "has no file"),
        (format!("{}/model.safetensors", path(2)), "has no file"),
        (format!("{}/model.safetensors", path(3)), "no weights of job 1/3 are kept"),
        (format!("{}/model.safetensors", path(5)), "still on their way"),
    ] {
        let (status, refused) = served.json(&path).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
        assert!(refused["error"]["message"].as_str().unwrap().contains(says), "{path}: {refused}");
    }
}

#[tokio::test]
async fn a_file_that_is_not_as_it_was_kept_is_seen_as_cut_off() {
    let (served, archive) = served().await;
    let file =
        WeightsFile { bytes: archive.len() as u64, blake3: blake3::hash(&archive).to_hex().to_string() };
    let name = weights_name(SweepId(1), filled::CREATED_UNIX_MS, 2, 1, &file.blake3);
    let path = served.folders.last().unwrap().path().join(name);
    std::fs::write(path, &archive[..archive.len() - 2_000]).unwrap();
    let path = "/api/v1/sweeps/1/jobs/2/artifacts/files.tar";
    let (status, headers, body) = served.ask(&Method::GET, path, &[]).await;
    assert_eq!((status, &headers[header::CONTENT_LENGTH]), (StatusCode::OK, &archive.len().into()));
    assert!(to_bytes(body, usize::MAX).await.is_err(), "what is there is not taken for the whole");
}

/// The first sweep as its message has it and as reports have it, with its jobs and their epochs.
async fn trained(served: &Served) -> (proto::v1::Sweep, Sweep, Vec<(Job, Vec<Epoch>)>) {
    let mut report = served.api.report(SweepId(1)).await.unwrap();
    let header = convert::report_header(&report);
    let message = header.sweep.clone().unwrap();
    let (mut rows, sweep) = Rows::new(header);
    let mut jobs = Vec::new();
    while let Some(row) = report.next().await.unwrap() {
        match row {
            ReportRow::Job(job) => jobs.push((rows.job(convert::job(*job)), Vec::new())),
            ReportRow::Epoch(epoch) => {
                jobs.last_mut().unwrap().1.push(rows.epoch(convert::epoch_row(&epoch)));
            }
        }
    }
    (message, sweep, jobs)
}

/// A document as the command line writes it.
async fn document(served: &Served, kind: DocumentKind) -> Vec<u8> {
    let (_, sweep, jobs) = trained(served).await;
    let (mut document, mut bytes) = (Document::new(kind, &sweep), Vec::new());
    document.begin(&mut bytes).unwrap();
    jobs.iter().for_each(|(job, epochs)| document.job(job, epochs, &mut bytes).unwrap());
    document.end(&mut bytes).unwrap();
    bytes
}

/// A table as the command line writes it.
async fn table(served: &Served, file: &str) -> Vec<u8> {
    let (message, sweep, jobs) = trained(served).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tables");
    let mut tables = ParquetFolder::create(&path, &sweep, space::parameters(&sweep, &message)).unwrap();
    jobs.iter().for_each(|(job, epochs)| tables.job(job, epochs).unwrap());
    assert_eq!(Box::new(tables).finish().unwrap(), Vec::<String>::new());
    std::fs::read(path.join(file)).unwrap()
}

#[tokio::test]
async fn an_export_has_each_job_once_and_is_a_file() {
    let served = filled::served().await;
    for (query, kind, name, content) in [
        ("format=csv", DocumentKind::Jobs, "early-1.csv", "text/csv; charset=utf-8"),
        ("format=csv&epochs=true", DocumentKind::Epochs, "early-1-epochs.csv", "text/csv; charset=utf-8"),
        ("format=json", DocumentKind::Json, "early-1.json", "application/json"),
    ] {
        let (headers, found) = bytes(&served, &format!("/api/v1/sweeps/1/export?{query}")).await;
        assert_eq!(found, document(&served, kind).await, "{query}");
        assert_eq!(headers[header::CONTENT_TYPE], content);
        let disposition = headers[header::CONTENT_DISPOSITION].to_str().unwrap();
        assert!(disposition.starts_with(&format!("attachment; filename=\"{name}\"")), "{disposition}");
    }
    for (query, file, name) in [
        ("format=parquet", "jobs.parquet", "early-1.parquet"),
        ("format=parquet&epochs=true", "epochs.parquet", "early-1-epochs.parquet"),
    ] {
        let (headers, found) = bytes(&served, &format!("/api/v1/sweeps/1/export?{query}")).await;
        assert!(found == table(&served, file).await && found.starts_with(b"PAR1"), "{query}");
        assert_eq!(headers[header::CONTENT_TYPE], "application/vnd.apache.parquet");
        let disposition = headers[header::CONTENT_DISPOSITION].to_str().unwrap();
        assert!(disposition.starts_with(&format!("attachment; filename=\"{name}\"")), "{disposition}");
    }
    for (query, says) in [
        ("", "format"),
        ("format=xlsx", "xlsx"),
        ("format=json&epochs=true", "leave it out"),
        ("format=csv&x=1", "`x`"),
    ] {
        let (status, refused) = served.json(&format!("/api/v1/sweeps/1/export?{query}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(refused["error"]["message"].as_str().unwrap().contains(says), "{refused}");
    }
    assert_eq!(served.json("/api/v1/sweeps/9/export?format=csv").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_job_of_many_epochs_is_exported_in_small_pieces() {
    let accuracies: Vec<f64> = (0..2_000).map(|number| f64::from(number) / 4_000.0).collect();
    let mut served = filled::served_with(filled::trained(6, &accuracies, JobState::Done), None).await;
    // As it goes out: what compares answers with the description has them whole.
    served.routes =
        routes(served.api.clone(), Identities::default(), ELSEWHERE, false, CancellationToken::new());
    for (query, kind) in [("csv&epochs=true", DocumentKind::Epochs), ("json", DocumentKind::Json)] {
        let path = format!("/api/v1/sweeps/1/export?format={query}");
        let (_, _, body) = served.ask(&Method::GET, &path, &[]).await;
        let (mut body, mut found) = (body.into_data_stream(), Vec::new());
        while let Some(piece) = body.next().await {
            let piece = piece.unwrap();
            assert!(piece.len() <= sending::PIECE_BYTES, "{query}: {} bytes at once", piece.len());
            found.extend(piece);
        }
        assert!(found.len() > 2 * sending::PIECE_BYTES, "{query}: {}", found.len());
        assert!(found == document(&served, kind).await, "{query}");
    }
    let (_, found) = bytes(&served, "/api/v1/sweeps/1/export?format=parquet&epochs=true").await;
    assert!(found == table(&served, "epochs.parquet").await, "{} bytes", found.len());
}

#[tokio::test]
async fn only_a_bounded_number_of_exports_is_made_at_a_time() {
    let served = filled::served().await;
    let path = "/api/v1/sweeps/1/export?format=json";
    let mut held = Vec::new();
    while let Ok(report) = served.api.report(SweepId(1)).await {
        held.push(report);
    }
    let (status, refused) = served.json(path).await;
    assert_eq!((status, &refused["error"]["code"]), (StatusCode::INSUFFICIENT_STORAGE, &"full".into()));
    held.pop();
    assert_eq!(served.json(path).await.0, StatusCode::OK, "the next one takes the place that is free");
}

#[tokio::test]
async fn what_was_not_kept_is_said_in_the_readers_language() {
    let (served, _) = served().await;
    let japanese = [("accept-language", "ja")];
    let (_, _, body) = served.ask(&Method::GET, "/api/v1/sweeps/1/jobs/2/artifacts", &japanese).await;
    let kept: Value = serde_json::from_slice(&to_bytes(body, usize::MAX).await.unwrap()).unwrap();
    assert_eq!(kept["left_out"][0]["reason"], "リンクはたどりません");
}
