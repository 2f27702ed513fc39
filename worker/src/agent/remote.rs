//! Calls to the coordinator over a connection of their own: what takes minutes must not hold up events and heartbeats.

use std::time::Duration;

use proto::{client::ClientError, v1::worker_service_client::WorkerServiceClient};
use tokio::sync::Mutex;
use tonic::{Code, Request, Response, Status, transport::Channel};

use super::{
    target::{CONNECT_WITHIN, MESSAGE_BYTES_MAX, Target, is_misled, token, unreached},
    turns::Turns,
};

/// Longest wait for the answer to a call: a megabyte over a slow line, and a commit to a slow disk.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// How often a call is retried, and the first pause before a retry, which doubles: 12 s in total, a coordinator's restart.
const RETRIES_MAX: u32 = 7;
const PAUSE: Duration = Duration::from_millis(100);

pub(super) type Client = WorkerServiceClient<Channel>;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Remote {
    target: Target,
    connection: Mutex<Connection>,
}

#[derive(Debug)]
struct Connection {
    channel: Option<Channel>,
    /// Which coordinator is tried next.
    turns: Turns,
}

impl Remote {
    /// The coordinators at `target`.
    ///
    /// # Errors
    /// The target is unusable.
    pub(crate) fn new(target: Target) -> Result<Self, ClientError> {
        let connection = Connection { channel: None, turns: Turns::new(&target)? };
        Ok(Self { target, connection: Mutex::new(connection) })
    }

    /// Makes a call, and retries while the coordinator is away or has no room.
    ///
    /// # Errors
    /// What the coordinator or the connection says in the end.
    pub(super) async fn call<Q: Clone + Send, A>(
        &self,
        request: Q,
        call: impl AsyncFn(&mut Client, Request<Q>) -> Result<Response<A>, Status>,
    ) -> Result<A, String> {
        let mut retry = 0;
        loop {
            let status = match self.once(request.clone(), &call).await {
                Ok(answer) => return Ok(answer),
                Err(status) => status,
            };
            if is_final(&status) || retry == RETRIES_MAX {
                return Err(status.message().to_owned());
            }
            tokio::time::sleep(PAUSE * 2_u32.pow(retry)).await;
            retry += 1;
        }
    }

    /// Makes a call once. After one that failed, the next goes to the next coordinator, unless this one answered.
    ///
    /// # Errors
    /// What the coordinator or the connection says.
    pub(super) async fn once<Q: Send, A>(
        &self,
        request: Q,
        call: &impl AsyncFn(&mut Client, Request<Q>) -> Result<Response<A>, Status>,
    ) -> Result<A, Status> {
        let answered = tokio::time::timeout(ANSWER_WITHIN, self.ask(request, call)).await;
        let answer = answered.unwrap_or_else(|_| Err(Status::deadline_exceeded("it did not answer in time")));
        if let Err(status) = &answer
            && !is_final(status)
            && status.code() != Code::ResourceExhausted
        {
            let mut connection = self.connection.lock().await;
            connection.channel = None;
            if let Err(reason) = connection.turns.heard(&self.target, status) {
                tracing::debug!("{reason}");
            }
        }
        answer
    }

    async fn ask<Q: Send, A>(
        &self,
        request: Q,
        call: &impl AsyncFn(&mut Client, Request<Q>) -> Result<Response<A>, Status>,
    ) -> Result<A, Status> {
        let mut request = Request::new(request);
        if let Some(token) = token(&self.target).map_err(|error| Status::unavailable(error.to_string()))? {
            request.metadata_mut().insert("authorization", token);
        }
        let mut client = WorkerServiceClient::new(self.connected().await?)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        match call(&mut client, request).await {
            Ok(answer) => Ok(answer.into_inner()),
            // The coordinator is on its way to another address, or back.
            Err(status) if is_misled(&status) => {
                let metadata = status.metadata().clone();
                Err(Status::with_metadata(Code::Unavailable, status.message(), metadata))
            }
            Err(status) => Err(status),
        }
    }

    async fn connected(&self) -> Result<Channel, Status> {
        let mut connection = self.connection.lock().await;
        if let Some(channel) = &connection.channel {
            return Ok(channel.clone());
        }
        let endpoint = connection.turns.take();
        let channel = tokio::time::timeout(CONNECT_WITHIN, endpoint.connect())
            .await
            .map_err(|_| Status::unavailable("it did not answer"))?
            .map_err(|error| Status::unavailable(unreached(&error)))?;
        Ok(connection.channel.insert(channel).clone())
    }
}

/// Whether the coordinator would answer the same again.
fn is_final(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::NotFound
            | Code::InvalidArgument
            | Code::FailedPrecondition
            | Code::Unimplemented
            | Code::DataLoss
            | Code::Unauthenticated
    )
}
