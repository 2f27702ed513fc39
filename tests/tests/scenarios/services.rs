//! What every gRPC tool expects of a server: health and reflection.

use tests::{Cluster, ClusterOptions};
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
