//! Trains a job that is a sweep of its own with a coordinator and a worker of this command, in a folder that goes with it. The
//! coordinator that has the record is only read from.

use std::{
    io::{IsTerminal, stderr},
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use anyhow::Context;
use proto::v1::{self, watch_sweep_response::Event};
use terminal::output::say;
use terms::DatasetSummary;

use super::alone::Alone;
use crate::{
    access::{Secret, TokenFiles},
    cli::{
        client::{Target, Token},
        failure::Failure,
        follow::Follower,
        run::{
            DESCRIPTORS_A_WORKER, DESCRIPTORS_WANTED, LEASE,
            places::store_url,
            workers::{Workers, WorkersOptions},
        },
        signals::StopRequests,
    },
    descriptors,
    rpc::DESCRIPTORS_MIN,
    server::{Server, ServerConfig},
};

/// What the job was trained with, so far as its numbers rest on it.
#[derive(Debug)]
pub(super) struct Expected {
    /// None where there are no pictures, or nothing is recorded of them.
    pub(super) dataset: Option<DatasetSummary>,
    pub(super) device: String,
}

/// What to train.
pub(super) struct Plan<'a> {
    pub(super) alone: &'a Alone,
    pub(super) options: WorkersOptions,
    /// After how many epochs to stop; none where the job trains to its end.
    pub(super) epochs: Option<u32>,
    pub(super) expected: Expected,
    /// Who has the record, and the files of programs.
    pub(super) from: &'a Target,
}

/// What came out.
#[derive(Debug)]
pub(super) struct Trained {
    pub(super) sweep: v1::Sweep,
    pub(super) detail: v1::JobDetail,
}

/// Whether a device is a GPU.
pub(super) fn is_gpu(device: &str) -> bool {
    device.starts_with("cuda")
}

impl Expected {
    fn check_dataset(&self, found: Option<&v1::DatasetSummary>) -> Result<(), Failure> {
        let (Some(recorded), Some(found)) = (&self.dataset, found) else { return Ok(()) };
        let found = DatasetSummary::from(found.clone());
        let identity = |summary: &DatasetSummary| {
            (summary.content_hash.clone(), summary.train_images, summary.val_images, summary.skipped_count)
        };
        if identity(recorded) == identity(&found) {
            return Ok(());
        }
        let words = |summary: &DatasetSummary| {
            let DatasetSummary { content_hash, train_images, val_images, skipped_count, .. } = summary;
            let left_out = match skipped_count {
                0 => String::new(),
                count => format!(", {count} left out"),
            };
            format!("{content_hash} ({train_images} training and {val_images} validation images{left_out})")
        };
        Err(Failure::operation(format!(
            "the data set here is not the one that the job was trained on: recorded is {}, and here lies {}; name the recorded one \
             with --dataset, and its validation images with --val-dataset where the sweep file has `val_path`",
            words(recorded),
            words(&found)
        )))
    }

    fn check_device(&self, found: &str) -> Result<(), Failure> {
        if is_gpu(&self.device) == is_gpu(found) {
            return Ok(());
        }
        Err(Failure::operation(format!(
            "the job was trained on {}, and here it would be trained on {found}: their numbers cannot be compared; choose with --device",
            self.device
        )))
    }

    /// Checks what the job has here, as far as it is known.
    fn check(&self, snapshot: &v1::WatchSnapshot) -> Result<(), Failure> {
        let sweep = snapshot.sweep.as_ref();
        self.check_dataset(sweep.and_then(|sweep| sweep.dataset.as_ref()))?;
        snapshot.running.iter().try_for_each(|job| self.check_device(&job.device))?;
        match sweep.and_then(|sweep| sweep.waiting.as_ref()).filter(|waiting| is_in_vain(waiting)) {
            Some(waiting) => {
                Err(Failure::operation(format!("the job cannot be trained here: {}", waiting.text)))
            }
            None => Ok(()),
        }
    }
}

/// Whether nothing changes by waiting: the one worker that there is does not train the job.
fn is_in_vain(waiting: &v1::Waiting) -> bool {
    use v1::WaitReason::{AllQuarantined, DataSet, NoneCanTrain};
    matches!(waiting.reason(), NoneCanTrain | AllQuarantined | DataSet)
}

/// Trains it.
///
/// # Errors
/// It cannot be trained here, or with another data set or device alone.
pub(super) async fn train(plan: &Plan<'_>) -> Result<Trained, Failure> {
    descriptors::claim(DESCRIPTORS_MIN + DESCRIPTORS_A_WORKER, DESCRIPTORS_WANTED)
        .map_err(|error| Failure::operation(error.to_string()))?;
    let folder = tempfile::Builder::new().prefix("sweep-verify-").tempdir();
    let folder = folder.context("cannot make a temporary folder (TMPDIR)")?;
    let mut stop = StopRequests::new()?;
    let token = uuid::Uuid::new_v4().simple().to_string();
    let config = ServerConfig {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        store_url: store_url(folder.path())?,
        tokens: TokenFiles { admin: Some(Secret::Text(token.clone())), viewer: None },
        oidc: None,
        tls: None,
        authority: None,
        lease: LEASE,
        advertise: None,
        artifacts: None,
        http: None,
        admin: None,
        traces: traces::Traces::default(),
    };
    let mut server = stop.unless_asked(async { Ok(Server::start(config).await?) }).await?;
    let url = format!("http://{}", server.address);
    let here = Target { url, token: Some(Token::Text(token)), tls_ca: None };
    let result = tokio::select! {
        result = on(&here, plan, folder.path(), &mut stop) => result,
        error = server.stopped() => Err(error.into()),
    };
    // What it kept goes with the folder.
    let closed = stop.unless_asked(async { Ok(server.shut_down().await?) }).await;
    let trained = result?;
    closed.map(|()| trained)
}

async fn on(
    here: &Target,
    plan: &Plan<'_>,
    folder: &Path,
    stop: &mut StopRequests,
) -> Result<Trained, Failure> {
    let specification = &plan.alone.specification;
    let (sweep_id, mut workers) = stop
        .unless_asked(async {
            if let Some(snapshot) = specification.snapshot() {
                super::files::copy(snapshot, plan.from, here).await?;
            }
            let sweep_id = submit(here, plan.alone).await?;
            let needs = (&specification.trainable, &specification.resources);
            Ok((sweep_id, Workers::start(&plan.options, 1, needs, folder, here).await?))
        })
        .await?;
    let followed = tokio::select! {
        followed = follow(here, sweep_id, plan) => followed,
        failed = workers.failed() => Err(failed),
        () = stop.asked() => Err(Failure::Interrupted),
    };
    if matches!(followed, Err(Failure::Interrupted)) {
        workers.kill().await;
    } else {
        // It may train on. Where it has ended there is nothing to cancel.
        let request = v1::CancelSweepRequest { sweep_id, job: 0 };
        let _ = here.call(async |client| client.cancel_sweep(request).await).await;
        tokio::select! {
            () = workers.end() => {}
            () = stop.asked() => workers.kill().await,
        }
    }
    followed?;
    let sweep = here.call(async |client| client.get_sweep(v1::GetSweepRequest { sweep_id }).await).await?;
    let request = v1::GetJobRequest { sweep_id, job: plan.alone.job };
    let detail = here.call(async |client| client.get_job(request).await).await?;
    // A job may have ended before anyone looked at it.
    plan.expected.check_dataset(sweep.dataset.as_ref())?;
    detail.attempts.iter().try_for_each(|attempt| plan.expected.check_device(&attempt.device))?;
    Ok(Trained { sweep, detail })
}

/// Submits the sweep, of which only the one job is to be trained.
async fn submit(here: &Target, alone: &Alone) -> Result<u64, Failure> {
    let request = v1::SubmitRequest { source: Some(alone.source.clone()), ..v1::SubmitRequest::default() };
    let answer = here.call(async |client| client.submit(request.clone()).await).await?;
    let sweep_id = answer.sweep.map_or(0, |sweep| sweep.sweep_id);
    for job in (1..=alone.jobs).filter(|job| *job != alone.job) {
        let request = v1::CancelSweepRequest { sweep_id, job };
        here.call(async |client| client.cancel_sweep(request).await).await?;
    }
    Ok(sweep_id)
}

/// Follows the sweep until its job has trained as far as it is to.
async fn follow(here: &Target, sweep_id: u64, plan: &Plan<'_>) -> Result<(), Failure> {
    let mut follower = Follower::new(here, sweep_id);
    while let Some(event) = follower.next().await? {
        match event {
            Event::Snapshot(snapshot) => {
                plan.expected.check(&snapshot)?;
                let is_enough =
                    |job: &v1::RunningJob| plan.epochs.is_some_and(|epochs| job.epochs_done >= epochs);
                if snapshot.running.iter().any(is_enough) {
                    break;
                }
            }
            Event::Epoch(observed) if stderr().is_terminal() => {
                let epoch = observed.record.map_or(0, |record| record.epoch);
                match plan.epochs.unwrap_or(observed.epochs_total) {
                    0 => say(&format!("epoch {epoch}")),
                    epochs => say(&format!("epoch {epoch} of {epochs}")),
                }
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected() -> Expected {
        let dataset = DatasetSummary {
            content_hash: "ab".into(),
            train_images: 8,
            val_images: 2,
            ..DatasetSummary::default()
        };
        Expected { dataset: Some(dataset), device: "cpu".into() }
    }

    fn snapshot(hash: &str, device: &str, waiting: Option<v1::WaitReason>) -> v1::WatchSnapshot {
        let dataset = v1::DatasetSummary {
            content_hash: hash.to_owned(),
            train_images: 8,
            val_images: 2,
            ..v1::DatasetSummary::default()
        };
        let waiting = waiting.map(|reason| v1::Waiting {
            reason: reason.into(),
            text: "no worker can".into(),
            ..v1::Waiting::default()
        });
        v1::WatchSnapshot {
            sweep: Some(v1::Sweep { dataset: Some(dataset), waiting, ..v1::Sweep::default() }),
            running: vec![v1::RunningJob { device: device.to_owned(), ..v1::RunningJob::default() }],
        }
    }

    #[test]
    fn another_data_set_another_kind_of_device_and_waiting_in_vain_end_it_with_the_reason() {
        let told = |snapshot| expected().check(&snapshot).err().map(|failure| failure.to_string());
        assert_eq!(told(snapshot("ab", "cpu", Some(v1::WaitReason::NoWorker))), None, "it starts");
        let other = told(snapshot("cd", "cpu", None)).unwrap();
        assert!(
            other.contains("recorded is ab (8 training") && other.contains("here lies cd (8 "),
            "{other}"
        );
        let device = told(snapshot("ab", "cuda:0", None)).unwrap();
        assert!(device.contains("trained on cpu") && device.contains("--device"), "{device}");
        let waiting = told(snapshot("ab", "cpu", Some(v1::WaitReason::NoneCanTrain))).unwrap();
        assert!(waiting.ends_with("here: no worker can"), "{waiting}");
    }
}
