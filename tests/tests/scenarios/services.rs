//! What gRPC tools expect of a server, health and reflection; and what supervisors do: signals.

use std::time::Duration;

use tests::{Cluster, ClusterOptions, terminate};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

#[tokio::test]
async fn health_is_served_for_the_server_and_each_service() {
    let cluster = Cluster::start(ClusterOptions::default());
    let mut client = HealthClient::new(cluster.channel().await);
    for service in ["", "sweep.v1.SweepService", "sweep.v1.WorkerService"] {
        let answer = client.check(HealthCheckRequest { service: service.into() }).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service:?}");
    }
    assert!(client.check(HealthCheckRequest { service: "another".into() }).await.is_err());
}

#[tokio::test]
async fn reflection_names_the_services() {
    let cluster = Cluster::start(ClusterOptions::default());
    let mut client = ServerReflectionClient::new(cluster.channel().await);
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    sender.send(request).await.unwrap();
    drop(sender);
    let requests = tonic::codegen::tokio_stream::wrappers::ReceiverStream::new(receiver);
    let mut answers = client.server_reflection_info(requests).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(list)) = answer else { panic!("{answer:?}") };
    let names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    for service in ["sweep.v1.SweepService", "sweep.v1.WorkerService", "grpc.health.v1.Health"] {
        assert!(names.iter().any(|name| name == service), "{names:?}");
    }
}

/// Keeps a stream open, so that an orderly stop takes some seconds.
async fn listen(cluster: &Cluster) -> tonic::Streaming<tonic_health::pb::HealthCheckResponse> {
    let mut client = HealthClient::new(cluster.channel().await);
    let mut changes = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert!(changes.message().await.unwrap().is_some());
    changes
}

#[tokio::test]
async fn a_stop_that_is_asked_for_twice_in_a_row_is_an_orderly_one() {
    let mut cluster = Cluster::start(ClusterOptions::default());
    let _open = listen(&cluster).await;
    for _ in 0..3 {
        terminate(cluster.coordinator.pid());
    }
    assert_eq!(cluster.coordinator.wait(), Some(0));
    assert!(cluster.coordinator.log().contains("the last answers have left"));
}

#[tokio::test]
async fn a_stop_that_is_asked_for_again_after_a_moment_is_one_at_once() {
    let mut cluster = Cluster::start(ClusterOptions::default());
    let _open = listen(&cluster).await;
    while !["stopped at once", "the last answers"].iter().any(|end| cluster.coordinator.log().contains(end)) {
        terminate(cluster.coordinator.pid());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(cluster.coordinator.wait(), Some(130));
}
