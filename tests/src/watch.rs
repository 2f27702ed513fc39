//! Waits for events of a sweep on its stream.

use proto::v1::{self, watch_sweep_response::Event};
use tonic::Streaming;

use crate::{PATIENCE, cluster::Client};

/// The stream of one sweep.
#[derive(Debug)]
pub struct Watch(Streaming<v1::WatchSweepResponse>);

impl Watch {
    /// Opens the stream; its first event is a snapshot.
    ///
    /// # Panics
    /// The coordinator refuses.
    pub async fn open(mut client: Client, sweep_id: u64) -> Self {
        let stream = client.watch_sweep(v1::WatchSweepRequest { sweep_id }).await;
        Self(stream.expect("the sweep can be watched").into_inner())
    }

    /// The first event for which `pick` returns something.
    ///
    /// # Panics
    /// The stream ends or is silent before.
    pub async fn until<T>(&mut self, what: &str, mut pick: impl FnMut(&Event) -> Option<T>) -> T {
        let mut next = async || tokio::time::timeout(PATIENCE, self.0.message()).await;
        loop {
            let message = next().await.unwrap_or_else(|_| panic!("gave up waiting for: {what}"));
            let Some(message) = message.expect("the stream goes on") else {
                panic!("the sweep ended before: {what}");
            };
            if let Some(found) = message.event.as_ref().and_then(&mut pick) {
                return found;
            }
        }
    }

    /// Gives every event to `hear`, until the sweep has ended.
    ///
    /// # Panics
    /// The stream is silent before.
    pub async fn to_the_end(&mut self, mut hear: impl FnMut(&Event)) {
        let mut next = async || tokio::time::timeout(PATIENCE, self.0.message()).await;
        while let Some(message) = next().await.expect("something happens").expect("the stream goes on") {
            message.event.iter().for_each(&mut hear);
        }
    }

    /// The number of a job with some durable epochs and some still to come.
    ///
    /// # Panics
    /// As [`Self::until`].
    pub async fn until_some_job_is_in_the_middle(&mut self) -> u64 {
        self.until("an epoch that is not the last", |event| match event {
            Event::Epoch(epoch) => {
                let middle =
                    epoch.record.as_ref().is_some_and(|record| record.epoch < epoch.epochs_total / 2);
                epoch.point.as_ref().filter(|_| middle).map(|point| point.job)
            }
            _ => None,
        })
        .await
    }

    /// The number of a job whose `epoch`, or a later one, is durable.
    ///
    /// # Panics
    /// As [`Self::until`].
    pub async fn until_epoch(&mut self, epoch: u32) -> u64 {
        self.until("an epoch", |event| match event {
            Event::Epoch(observed) => {
                let far = observed.record.as_ref().is_some_and(|record| record.epoch >= epoch);
                observed.point.as_ref().filter(|_| far).map(|point| point.job)
            }
            _ => None,
        })
        .await
    }

    /// Waits until `jobs` jobs are done.
    ///
    /// # Panics
    /// As [`Self::until`].
    pub async fn until_done(&mut self, jobs: u64) -> v1::Sweep {
        self.until("jobs that are done", |event| match event {
            Event::Snapshot(snapshot) => {
                let sweep = snapshot.sweep.as_ref()?;
                (sweep.counts.unwrap_or_default().done >= jobs).then(|| sweep.clone())
            }
            _ => None,
        })
        .await
    }

    /// The sweep in its final state.
    ///
    /// # Panics
    /// As [`Self::until`].
    pub async fn until_end(&mut self) -> v1::Sweep {
        self.until("the sweep's end", |event| match event {
            Event::Snapshot(snapshot) => {
                let sweep = snapshot.sweep.as_ref()?;
                let running = [v1::SweepState::Running, v1::SweepState::Stopping].contains(&sweep.state());
                (!running).then(|| sweep.clone())
            }
            _ => None,
        })
        .await
    }
}
