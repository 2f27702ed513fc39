//! A coordinator that ends with its sweep (`sweep serve --exit-with-sweep`), so that a job of a cluster can hold it: the sweep is submitted
//! here, or was before; once it has ended, the weights on their way are awaited, the workers are told to leave, and the exit status says
//! whether every job has a result. Of several coordinators on one store, those that stand by follow the sweep at the one that leads, or
//! wait until they lead.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
    time::{Duration, Instant},
};

use anyhow::Context;
use domain::{
    definition::first_document,
    specification::{Models, Specification},
};
use proto::v1::{self, watch_sweep_response::Event};
use rustls::{
    client::verify_server_name,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
    server::ParsedCertificate,
};
use terminal::output::say;
use tonic::{Code, Status};

use super::{
    client::Target,
    failure::Failure,
    files,
    follow::{Follower, REOPEN_DELAY, is_final, verdict},
    run::await_weights,
    submit,
    sweep_file::SweepFile,
};
use crate::{logged::Logged, server::ServerConfig};

/// The request id of the sweep of such a coordinator: one that starts again on the same store goes on with it.
const REQUEST_ID: &str = "serve";

/// How long workers may take to leave once the sweep has ended: they have nothing to hand back.
const LEAVE_WITHIN: Duration = Duration::from_secs(30);

/// How often to look whether they have.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// How often to ask for what has no answer while another coordinator leads: as often as a command reopens a stream.
const ASK_INTERVAL: Duration = REOPEN_DELAY;

/// The sweep that a coordinator ends with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LastSweep {
    /// One that the store holds.
    Stored(u64),
    /// One that is submitted at the start, unless the store holds it.
    File(PathBuf),
}

impl FromStr for LastSweep {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(text.parse().map_or_else(|_| Self::File(text.into()), Self::Stored))
    }
}

impl LastSweep {
    /// Looks at what would be found out only once the coordinator serves: the file, and whether this coordinator would reach itself. Standard
    /// input can be read once.
    ///
    /// # Errors
    /// The file cannot be read, or is no sweep; or the certificate has not the name by which the coordinator asks itself.
    pub(super) fn check(&self, config: &ServerConfig) -> Result<(), Failure> {
        match self {
            Self::File(file) if file != Path::new("-") => {
                submit::check(SweepFile::at(file.clone()).source()?)?;
            }
            _ => {}
        }
        let Some(tls) = &config.tls else { return Ok(()) };
        let advertised = config.advertised(config.listen);
        let has_name = certifies(&tls.certificate, &advertised);
        match has_name
            .map_err(|error| Failure::usage(format!("{error:#}; check --tls-cert and --advertise")))?
        {
            true => Ok(()),
            false => Err(Failure::usage(format!(
                "with --exit-with-sweep a coordinator asks itself at {advertised}, and the certificate in {} has not that name; give another \
                 with --advertise, which it has, or make one that has it (`sweep certs renew DIR --host NAME`)",
                tls.certificate.display()
            ))),
        }
    }
}

/// Whether the certificate in a file has the name of the host of an address.
fn certifies(certificate: &Path, url: &str) -> anyhow::Result<bool> {
    let uri: tonic::transport::Uri = url.parse().with_context(|| format!("{url} is no address"))?;
    let host = uri.host().with_context(|| format!("{url} names no host"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(host).with_context(|| format!("{host} is no name of a host"))?;
    let der = CertificateDer::from_pem_file(certificate)
        .with_context(|| format!("cannot read {}", certificate.display()))?;
    let parsed = ParsedCertificate::try_from(&der)
        .with_context(|| format!("cannot read the certificate in {}", certificate.display()))?;
    Ok(verify_server_name(&parsed, &name).is_ok())
}

/// A coordinator, without a token, as it asks itself: with TLS by the name that others are told, as its certificate has that one, and in plain
/// text without leaving this machine.
pub(super) fn own_target((listens, advertised): (SocketAddr, &str), is_secure: bool) -> Target {
    if is_secure {
        return Target { url: advertised.to_owned(), token: None, tls_ca: None };
    }
    let host = match listens.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let url = format!("http://{}", SocketAddr::new(host, listens.port()));
    Target { url, token: None, tls_ca: None }
}

/// Waits until the sweep has ended, and nothing more is to be done.
///
/// # Errors
/// The file is wrong, the store holds another sweep, or a job has no result.
pub(super) async fn until_its_end(last: &LastSweep, target: &Target) -> Result<(), Failure> {
    let sweep_id = match last {
        LastSweep::Stored(sweep) => *sweep,
        LastSweep::File(file) => submit_once(file.clone(), target).await?,
    };
    let ended = patiently(async || last_seen(sweep_id, target).await).await?;
    tracing::info!(sweep = sweep_id, "the sweep has ended");
    patiently(async || await_weights(sweep_id, target).await).await?;
    patiently(async || send_workers_away(target).await).await?;
    verdict(&ended, &format!("`sweep jobs {sweep_id}` of a coordinator on this store"))
}

/// Repeats what no coordinator has answered: the one that leads may not be reached from here, and this one leads once that one is gone.
/// If nothing ever leads, this process has a fault of its own, which ends it.
async fn patiently<T>(act: impl AsyncFn() -> Result<T, Failure>) -> Result<T, Failure> {
    let mut logged = Logged::default();
    loop {
        match act().await {
            Err(failure @ (Failure::Unreachable(_) | Failure::TimedOut(_))) => {
                if logged.is_new(&failure.to_string()) {
                    tracing::warn!(
                        "this coordinator goes on with the sweep as soon as it leads and reaches itself: {failure}"
                    );
                }
                tokio::time::sleep(ASK_INTERVAL).await;
            }
            outcome => return outcome,
        }
    }
}

/// The sweep, once it has ended.
async fn last_seen(sweep_id: u64, target: &Target) -> Result<v1::Sweep, Failure> {
    let mut follower = Follower::new(target, sweep_id);
    let mut last = v1::Sweep::default();
    while let Some(event) = follower.next().await? {
        if let Event::Snapshot(v1::WatchSnapshot { sweep: Some(sweep), .. }) = event {
            last = sweep;
        }
    }
    Ok(last)
}

/// Submits the file, or finds the sweep that was submitted when this coordinator was started before.
async fn submit_once(file: PathBuf, target: &Target) -> Result<u64, Failure> {
    let shown = file.display().to_string();
    let file = SweepFile::at(file);
    let (source, answer) = patiently(async || {
        let mut source = file.source()?;
        files::send_with(&mut source, file.folder(), target).await?;
        let request = v1::SubmitRequest {
            source: Some(source.clone()),
            request_id: REQUEST_ID.to_owned(),
            extend_sweep_id: 0,
        };
        let answer = target.call(async |client| client.submit(request.clone()).await).await?;
        Ok((source, answer))
    })
    .await?;
    answer.notes.iter().for_each(|note| say(&format!("note: {note}")));
    let sweep = answer.sweep.ok_or_else(|| Failure::operation("the coordinator's answer names no sweep"))?;
    if !answer.created {
        refuse_another(&sweep, source, &shown)?;
    }
    let state = if is_final(&sweep) { "has ended already" } else { "goes on" };
    match answer.created {
        true => tracing::info!(sweep = sweep.sweep_id, jobs = sweep.job_count, "submitted"),
        false => {
            tracing::info!(sweep = sweep.sweep_id, jobs = sweep.job_count, "the sweep in the store {state}");
        }
    }
    Ok(sweep.sweep_id)
}

/// Refuses to go on with a sweep whose file was another one.
fn refuse_another(stored: &v1::Sweep, source: v1::SweepSource, file: &str) -> Result<(), Failure> {
    let (wanted, _) = submit::check(source)?;
    let models = Models::from_json(&stored.manifest).unwrap_or_default();
    let before = Specification::from_stored(first_document(&stored.specification), &models)
        .map_err(|error| Failure::operation(format!("sweep {}: {error}", stored.sweep_id)))?;
    let keys: Vec<_> = wanted.changes_from(&before).into_iter().map(|change| change.key).collect();
    if keys.is_empty() {
        return Ok(());
    }
    Err(Failure::operation(format!(
        "the store holds sweep {} ({}) from an earlier start with --exit-with-sweep, and {file} has another {}; give another --store, \
         or end with that sweep: --exit-with-sweep {0}",
        stored.sweep_id,
        stored.name,
        keys.join(", ")
    )))
}

/// Tells all workers to leave, and waits until they have.
async fn send_workers_away(target: &Target) -> Result<(), Failure> {
    let give_up_at = Instant::now() + LEAVE_WITHIN;
    loop {
        let there = connected(target).await?;
        if there.is_empty() {
            return Ok(());
        }
        for worker in there.iter().filter(|worker| worker.status() != v1::WorkerStatus::Draining) {
            let request = v1::DrainWorkerRequest { name: worker.name.clone() };
            target.call(async |client| left_or_told(client.drain_worker(request.clone()).await)).await?;
        }
        if Instant::now() >= give_up_at {
            let names: Vec<&str> = there.iter().map(|worker| worker.name.as_str()).collect();
            tracing::warn!("some workers have not left: {}", names.join(", "));
            return Ok(());
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// The answer to telling a worker to leave: of one that has left since it was listed, by itself or as another coordinator told it to,
/// the coordinator knows nothing, and there is nothing more to do.
fn left_or_told(answer: Result<tonic::Response<v1::Worker>, Status>) -> Result<tonic::Response<()>, Status> {
    match answer {
        Ok(_) => Ok(tonic::Response::new(())),
        Err(status) if status.code() == Code::NotFound => Ok(tonic::Response::new(())),
        Err(status) => Err(status),
    }
}

/// The workers that are there.
async fn connected(target: &Target) -> Result<Vec<v1::Worker>, Failure> {
    let (mut there, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListWorkersRequest { page_size: 0, page_token };
        let page = target.call(async |client| client.list_workers(request.clone()).await).await?;
        let is_there = |worker: &v1::Worker| worker.status() != v1::WorkerStatus::Disconnected;
        there.extend(page.workers.into_iter().filter(is_there));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(there);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_has_left_before_it_was_told_to_is_as_good_as_told() {
        assert!(left_or_told(Ok(tonic::Response::new(v1::Worker::default()))).is_ok());
        assert!(left_or_told(Err(Status::not_found("no worker one is connected"))).is_ok());
        let refused = left_or_told(Err(Status::permission_denied("a viewer"))).unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
    }

    #[test]
    fn a_certificate_has_the_names_that_it_was_made_for() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cert.pem");
        let made = rcgen::generate_simple_self_signed(["one".to_owned(), "::1".to_owned()]).unwrap();
        std::fs::write(&file, made.cert.pem()).unwrap();
        for (url, has) in [
            ("https://one:7070", true),
            ("https://[::1]:7070", true),
            ("https://two:7070", false),
            ("one:7070", true),
        ] {
            assert_eq!(certifies(&file, url).unwrap(), has, "{url}");
        }
        assert!(certifies(&folder.path().join("none"), "https://one").is_err());
        assert!(certifies(&file, "https://").is_err());
    }

    #[test]
    fn a_number_is_a_sweep_and_everything_else_a_file() {
        assert_eq!("7".parse(), Ok(LastSweep::Stored(7)));
        assert_eq!("sweeps/7.yaml".parse(), Ok(LastSweep::File("sweeps/7.yaml".into())));
    }
}
