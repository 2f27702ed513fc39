//! Snapshots from the coordinator, over a separate connection: what takes minutes must not hold up events and
//! heartbeats.

use std::time::Duration;

use proto::{
    client::ClientError,
    v1::{self, worker_service_client::WorkerServiceClient},
};
use terms::snapshot::{SnapshotId, SnapshotManifest};
use tokio::sync::Mutex;
use tonic::{
    Code, Request, Status,
    transport::{Channel, Endpoint},
};

use super::fetch::{Piece, Source};
use crate::agent::target::{CONNECT_WITHIN, MESSAGE_BYTES_MAX, Target, endpoints, token};

/// Longest wait for the answer to a call: a megabyte over a slow line.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// How often a call is made, and the first pause before a retry, which doubles: 12 s in total, a coordinator's restart.
const TRIES_MAX: u32 = 7;
const PAUSE: Duration = Duration::from_millis(100);

type Client = WorkerServiceClient<Channel>;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Remote {
    target: Target,
    endpoints: Vec<Endpoint>,
    connection: Mutex<Connection>,
}

#[derive(Debug, Default)]
struct Connection {
    channel: Option<Channel>,
    /// Which of the endpoints is tried next.
    next: usize,
}

impl Remote {
    /// The coordinators at `target`.
    ///
    /// # Errors
    /// The target is unusable.
    pub(crate) fn new(target: Target) -> Result<Self, ClientError> {
        Ok(Self { endpoints: endpoints(&target)?, target, connection: Mutex::default() })
    }

    /// Makes a call, and retries while the coordinator is away or has no room.
    async fn call<Q: Clone + Send, A>(
        &self,
        request: Q,
        call: impl AsyncFn(&mut Client, Request<Q>) -> Result<tonic::Response<A>, Status>,
    ) -> Result<A, String> {
        let mut retry = 0;
        loop {
            let answered = tokio::time::timeout(ANSWER_WITHIN, self.once(request.clone(), &call)).await;
            let status = match answered {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded("it did not answer in time"),
            };
            let is_final = matches!(
                status.code(),
                Code::NotFound
                    | Code::InvalidArgument
                    | Code::FailedPrecondition
                    | Code::Unimplemented
                    | Code::DataLoss
                    | Code::Unauthenticated
            );
            if is_final || retry == TRIES_MAX {
                return Err(status.message().to_owned());
            }
            if status.code() != Code::ResourceExhausted {
                // The next try goes to the next coordinator.
                self.connection.lock().await.channel = None;
            }
            tokio::time::sleep(PAUSE * 2_u32.pow(retry)).await;
            retry += 1;
        }
    }

    async fn once<Q: Send, A>(
        &self,
        request: Q,
        call: &impl AsyncFn(&mut Client, Request<Q>) -> Result<tonic::Response<A>, Status>,
    ) -> Result<A, Status> {
        let mut request = Request::new(request);
        if let Some(token) = token(&self.target).map_err(|error| Status::unavailable(error.to_string()))? {
            request.metadata_mut().insert("authorization", token);
        }
        let mut client =
            WorkerServiceClient::new(self.connected().await?).max_decoding_message_size(MESSAGE_BYTES_MAX);
        Ok(call(&mut client, request).await?.into_inner())
    }

    async fn connected(&self) -> Result<Channel, Status> {
        let mut connection = self.connection.lock().await;
        if let Some(channel) = &connection.channel {
            return Ok(channel.clone());
        }
        let endpoint = &self.endpoints[connection.next % self.endpoints.len()];
        connection.next = (connection.next + 1) % self.endpoints.len();
        let channel = tokio::time::timeout(CONNECT_WITHIN, endpoint.connect())
            .await
            .map_err(|_| Status::unavailable("it did not answer"))?
            .map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(connection.channel.insert(channel).clone())
    }
}

impl Source for Remote {
    async fn manifest(&self, id: SnapshotId) -> Result<SnapshotManifest, String> {
        let request = v1::GetSnapshotRequest { snapshot_id: id.to_string() };
        let answer = self.call(request, async |client, request| client.get_snapshot(request).await).await?;
        SnapshotManifest::try_from(answer).map_err(|error| error.to_string())
    }

    async fn contents(&self, wanted: Vec<Piece>) -> Result<Vec<Piece>, String> {
        let to_wire = |piece: Piece| {
            let Piece { content, bytes, offset, data } = piece;
            v1::ContentPiece { blake3: content.to_string(), bytes, offset, data }
        };
        let request = v1::GetContentsRequest { wanted: wanted.into_iter().map(to_wire).collect() };
        let answer = self.call(request, async |client, request| client.get_contents(request).await).await?;
        let from_wire = |piece: v1::ContentPiece| {
            let v1::ContentPiece { blake3, bytes, offset, data } = piece;
            let content = blake3.parse().map_err(|_| "its answer names contents by invalid hashes")?;
            Ok(Piece { content, bytes, offset, data })
        };
        let pieces: Result<Vec<Piece>, &str> = answer.pieces.into_iter().map(from_wire).collect();
        pieces.map_err(str::to_owned)
    }
}
