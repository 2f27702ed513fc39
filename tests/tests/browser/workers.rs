//! What workers say of their GPUs, as a person and a script see it.

use proto::v1::{
    self, coordinator_message::Message as Said, worker_message::Message,
    worker_service_client::WorkerServiceClient,
};
use tokio::sync::mpsc;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;

use crate::{HOSTILE, Site, chromium::Chromium};

/// A worker with two GPUs that says what they do; it is there for as long as this is.
async fn with_gpus(site: &Site) -> mpsc::Sender<v1::WorkerMessage> {
    let (says, messages) = mpsc::channel(8);
    let mut client = WorkerServiceClient::new(site.cluster.channel().await);
    let mut hears = client.session(ReceiverStream::new(messages)).await.unwrap().into_inner();
    let slot = |index| v1::Slot { index, device: format!("cuda:{index}"), ..v1::Slot::default() };
    let hello = v1::Hello {
        protocol_version: proto::PROTOCOL_VERSION,
        name: "gpus".into(),
        slots: vec![slot(0), slot(1)],
        ..v1::Hello::default()
    };
    let gpu = |device: &str, name: &str, utilization_percent| v1::GpuUse {
        device: device.to_owned(),
        name: name.to_owned(),
        utilization_percent,
        memory_used_bytes: 25 << 29,
        memory_total_bytes: 139 << 30,
    };
    let gpus = vec![gpu("cuda:0", "NVIDIA H200", Some(87)), gpu("cuda:1", HOSTILE, None)];
    let beat = Message::Heartbeat(v1::Heartbeat { running: Vec::new(), gpus });
    for message in [Message::Hello(hello), beat] {
        says.send(v1::WorkerMessage { message: Some(message) }).await.unwrap();
    }
    let welcome = hears.message().await.unwrap().unwrap();
    assert!(matches!(welcome.message, Some(Said::Welcome(_))), "{welcome:?}");
    // It is listened to until the end.
    tokio::spawn(async move { while let Ok(Some(_)) = hears.message().await {} });
    says
}

#[tokio::test(flavor = "multi_thread")]
async fn the_use_of_gpus_is_on_the_page_in_both_languages_and_in_json() {
    let Some(chromium) = Chromium::start().await else { return };
    let site = Site::start(&[]);
    let worker = with_gpus(&site).await;
    let tab = chromium.tab(&site.url).await;
    for (language, first, second) in [
        ("en", "cuda:0: 87% busy, 12.5 of 139.0 GiB", "cuda:1: 12.5 of 139.0 GiB"),
        ("ja", "cuda:0: 使用率 87%、メモリ 12.5 / 139.0 GiB", "cuda:1: メモリ 12.5 / 139.0 GiB"),
    ] {
        tab.open("/").await;
        tab.speak(language).await;
        tab.open("/workers").await;
        for line in [first, second] {
            tab.until(&format!("document.body.innerText.includes({line:?})")).await;
        }
        for width in [1280, 390] {
            tab.resize(width).await;
            tab.check_width(&format!("workers with GPUs, {language}")).await;
        }
        tab.check().await;
    }
    let listed = site.sweep(&["workers", "-o", "json"]);
    let shown = listed.as_array().unwrap().iter().find(|worker| worker["name"] == "gpus").unwrap();
    let expected = serde_json::json!({
        "device": "cuda:0", "name": "NVIDIA H200", "utilization_percent": 87, "memory_used_bytes": 25_u64 << 29,
        "memory_total_bytes": 139_u64 << 30,
    });
    assert_eq!(shown["gpus"][0], expected);
    assert!(shown["gpus"][1]["utilization_percent"].is_null(), "{shown}");
    // With its stream, what is known of them is gone.
    drop(worker);
    tab.until("!document.body.innerText.includes('cuda:0: ')").await;
    tab.check().await;
    chromium.end().await;
}
