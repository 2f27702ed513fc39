//! Finding the coordinator that leads: among those that were named, or where one that stands by says that it is.

use std::time::Duration;

use proto::{
    leader::elsewhere,
    unreached,
    v1::{
        ListSweepsRequest, sweep_service_client::SweepServiceClient,
        sweep_service_server::SERVICE_NAME as SWEEP_SERVICE,
    },
};
use tonic::{Status, metadata::MetadataMap, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::{Bearer, CONNECT_WITHIN, Target};
use crate::cli::failure::Failure;

/// What a coordinator says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Stand {
    Leads,
    StandsBy,
    /// It does not say, or not in time.
    Unknown,
}

/// A coordinator that was asked.
#[derive(Debug)]
pub(in crate::cli) struct Asked {
    pub(in crate::cli) stand: Stand,
    /// The headers of its answer to a call, or its refusal.
    pub(in crate::cli) answer: Result<MetadataMap, Box<Status>>,
}

impl Target {
    /// A connection to the coordinator that leads. One that stands by is asked who does, and that one is gone to, once.
    pub(super) async fn channel(&self, limit: Duration) -> Result<Channel, Failure> {
        let urls: Vec<&str> = self.url.split(',').map(str::trim).collect();
        let (mut failure, mut standby) = (None, None);
        for url in &urls {
            let channel = match self.reached(url, limit).await? {
                Ok(channel) => channel,
                Err(reason) => {
                    failure = Some(self.unreachable(&reason));
                    continue;
                }
            };
            match stand(&channel).await {
                Stand::Leads => return Ok(channel),
                // What is behind a proxy may answer no such question.
                Stand::Unknown if urls.len() == 1 => return Ok(channel),
                Stand::Unknown => {}
                Stand::StandsBy => standby = Some((*url, channel)),
            }
        }
        let Some((url, channel)) = standby else {
            let none_leads =
                || Failure::Unreachable(format!("none of the coordinators at {} leads", self.url));
            return Err(failure.unwrap_or_else(none_leads));
        };
        if let Some(leader) = self.leader(url, &channel).await? {
            match self.reached(&leader, limit).await? {
                Ok(channel) if stand(&channel).await == Stand::Leads => return Ok(channel),
                Ok(_) => {}
                Err(reason) => {
                    return Err(Failure::Unreachable(format!(
                        "the coordinator at {url} stands by for the one at {leader}, which does not answer ({reason}); if it \
                         has just died, another one leads within ten seconds; else it has to be reached from here, too: name its address with \
                         --coordinator, or give it one with --advertise"
                    )));
                }
            }
        }
        match urls.len() {
            // It refuses what it is asked, and says why.
            1 => Ok(channel),
            _ => Err(failure.unwrap_or_else(|| {
                Failure::Unreachable(format!("none of the coordinators at {} leads", self.url))
            })),
        }
    }

    /// What the coordinator at one address says of itself and answers to a call; or why it cannot be reached.
    pub(in crate::cli) async fn asked(&self, url: &str) -> Result<Result<Asked, String>, Failure> {
        let bearer = Bearer(self.bearer()?);
        let channel = match self.reached(url, CONNECT_WITHIN).await? {
            Ok(channel) => channel,
            Err(reason) => return Ok(Err(reason)),
        };
        let stand = stand(&channel).await;
        let mut client = SweepServiceClient::with_interceptor(channel, bearer);
        let request = ListSweepsRequest { page_size: 1, ..ListSweepsRequest::default() };
        Ok(match tokio::time::timeout(CONNECT_WITHIN, client.list_sweeps(request)).await {
            Ok(answer) => {
                let answer = answer.map(|answer| answer.metadata().clone());
                Ok(Asked { stand, answer: answer.map_err(Box::new) })
            }
            Err(_) => Err(format!("no answer within {CONNECT_WITHIN:?}")),
        })
    }

    /// A connection, or why there is none.
    async fn reached(&self, url: &str, limit: Duration) -> Result<Result<Channel, String>, Failure> {
        Ok(match tokio::time::timeout(limit, self.endpoint(url)?.connect()).await {
            Ok(Ok(channel)) => Ok(channel),
            Ok(Err(error)) => Err(unreached::explained(url, unreached::why(&error), limit).await),
            // A port may be open but silent, and the endpoint's own limit only covers opening it.
            Err(_) => Err(format!("no connection within {limit:?}")),
        })
    }

    fn unreachable(&self, reason: &str) -> Failure {
        Failure::Unreachable(format!(
            "no coordinator answers at {} ({reason}); start one with `sweep serve` or name another with --coordinator",
            self.url
        ))
    }

    /// Where the one that stands by at `url` says that the leader is.
    async fn leader(&self, url: &str, channel: &Channel) -> Result<Option<String>, Failure> {
        let bearer = Bearer(self.bearer()?);
        let mut client = SweepServiceClient::with_interceptor(channel.clone(), bearer);
        let request = ListSweepsRequest { page_size: 1, ..ListSweepsRequest::default() };
        match tokio::time::timeout(CONNECT_WITHIN, client.list_sweeps(request)).await {
            Ok(Err(status)) => {
                elsewhere(&status, url).map_err(|not_followed| Failure::Unreachable(not_followed.to_string()))
            }
            // It leads by now, or says nothing.
            Ok(Ok(_)) | Err(_) => Ok(None),
        }
    }
}

async fn stand(channel: &Channel) -> Stand {
    let request = HealthCheckRequest { service: SWEEP_SERVICE.to_owned() };
    let mut health = HealthClient::new(channel.clone());
    let answer = tokio::time::timeout(CONNECT_WITHIN, health.check(request)).await;
    match answer.map(|answer| answer.map(|answer| answer.get_ref().status())) {
        Ok(Ok(ServingStatus::Serving)) => Stand::Leads,
        Ok(Ok(ServingStatus::NotServing)) => Stand::StandsBy,
        _ => Stand::Unknown,
    }
}
