//! `sweep run`: a coordinator and workers on this machine, from a sweep file to its report.

mod gpus;
mod placement;
pub(super) mod places;
mod summary;
mod supervision;
pub(super) mod workers;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context;
use domain::{
    help,
    points::{Jobs, Method},
    specification::Specification,
};
use proto::v1::{self, watch_sweep_response::Event};
use terminal::output::say;
use terms::DatasetSummary;
use traces::Traces;

use self::{
    places::{absolute_dataset, store_url},
    summary::write_results,
    workers::{Workers, WorkersOptions},
};
use super::{
    artifact,
    client::{Target, Token},
    failure::Failure,
    files,
    follow::{Follower, is_final},
    notify::{Notifier, NotifyOptions},
    output::{Unprinted, count},
    progress::Progress,
    report::{self, Lang},
    set::changes,
    signals::StopRequests,
    spans, submit,
    sweep_file::SweepFile,
    tables::{left_by_jobs, sweep_state_name},
};
use crate::{
    access::{Secret, TokenFiles},
    descriptors,
    rpc::DESCRIPTORS_MIN,
    server::{HttpConfig, Server, ServerConfig},
    shapes,
};

/// File descriptors per worker: its connection to the coordinator, and its streams to and from this process.
pub(super) const DESCRIPTORS_A_WORKER: u64 = 4;
/// More file descriptors than anything here needs.
pub(super) const DESCRIPTORS_WANTED: u64 = 4_096;
/// The request id of the sweep in an output directory: each holds one sweep.
const REQUEST_ID: &str = "run";
/// How long a worker of this machine may be silent; it shares its cores with its own trainers.
pub(super) const LEASE: Duration = Duration::from_secs(20);
/// Folder of the best weights within the output folder.
pub(super) const BEST: &str = "best";
/// How long to wait for weights from a worker of this machine while none arrive.
const WEIGHTS_WITHIN: Duration = Duration::from_secs(60);
/// How often to check that.
const WEIGHTS_POLL: Duration = Duration::from_millis(50);
/// Printed when the user asks to stop.
const STOPPING: &str =
    "stopping: the same command continues from here (press again after two seconds to stop at once)";

/// Arguments of `sweep run`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = help::parameters())]
pub(super) struct RunArguments {
    #[command(flatten)]
    file: SweepFile,
    /// Folder for the report and the store [default: sweep-results/NAME]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// How many worker processes
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: u16,
    /// Language of the report
    #[arg(long, value_enum, default_value_t = Lang::En)]
    lang: Lang,
    /// Where the page of this run is served while it goes on [default: a port of this machine that is free]
    #[arg(long, env = "SWEEP_HTTP", value_name = "ADDR", value_parser = terminal::listen_address)]
    http: Option<SocketAddr>,
    #[command(flatten)]
    notify: NotifyOptions,
    #[command(flatten)]
    options: WorkersOptions,
    #[command(flatten)]
    traces: traces::Options,
}

/// `sweep run`.
pub(super) async fn run(arguments: &RunArguments) -> Result<(), Failure> {
    let traces = spans::start(&arguments.traces, spans::COORDINATOR)?;
    let ran = run_traced(arguments, &traces).await;
    traces.end().await;
    ran
}

async fn run_traced(arguments: &RunArguments, traces: &Traces) -> Result<(), Failure> {
    let notifier = arguments.notify.notifier()?;
    let workers = u64::from(arguments.workers);
    descriptors::claim(DESCRIPTORS_MIN + DESCRIPTORS_A_WORKER * workers, DESCRIPTORS_WANTED)
        .map_err(|error| Failure::operation(error.to_string()))?;
    let mut source = arguments.file.source()?;
    source.manifests.extend(workers::models(&arguments.options).await?);
    let (mut specification, jobs) = submit::check(source.clone())?;
    if arguments.options.trainer.is_some() && specification.trainable.program().is_some() {
        return Err(Failure::usage(
            "--trainer is for models, and this file sweeps a program; leave one of them out",
        ));
    }
    if specification.method == Method::External {
        return Err(Failure::usage(
            "`method: external` needs a coordinator that its searcher can reach: start `sweep serve` and workers, then `sweep submit` \
             this file, and connect the searcher with `sweep search SWEEP`",
        ));
    }
    files::check(&specification, arguments.file.folder())?;
    specification.notes.iter().for_each(|note| say(&format!("note: {note}")));
    if let Some(dataset) = &mut specification.dataset {
        let path = absolute_dataset(&dataset.path)?;
        source.dataset_path.clone_from(&path);
        dataset.path = PathBuf::from(path);
    }
    let folder = arguments.output.clone().unwrap_or_else(|| report::default_folder(&specification.name));
    std::fs::create_dir_all(&folder).with_context(|| {
        format!("cannot make the folder {}; choose another with --output", folder.display())
    })?;
    let folder = report::whole_path(&folder).context("cannot find the output folder")?;
    let mut stop = StopRequests::new()?;
    let token = uuid::Uuid::new_v4().simple().to_string();
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let config = ServerConfig {
        listen: loopback,
        store_url: store_url(&folder)?,
        tokens: TokenFiles { admin: Some(Secret::Text(token.clone())), viewer: None },
        oidc: None,
        tls: None,
        authority: None,
        lease: LEASE,
        advertise: None,
        artifacts: None,
        http: Some(HttpConfig { listen: arguments.http.unwrap_or(loopback) }),
        admin: None,
        traces: traces.clone(),
    };
    let mut server = until_stopped(&mut stop, async { Ok(Server::start(config).await?) }).await?;
    let page = server.http_address().map(|page| format!("page: http://{page}/login?token={token}"));
    let mut wanted = Wanted { specification, jobs, source };
    let url = format!("http://{}", server.address);
    let target = Target { url, token: Some(Token::Text(token)), tls_ca: None };
    let run = Run { arguments, folder: &folder, target: &target, traces };
    let result = tokio::select! {
        result = train_and_report(run, &mut wanted, page, notifier, &mut stop) => result,
        error = server.stopped() => Err(error.into()),
    };
    let closed = stop.unless_asked(async { Ok(server.shut_down().await?) }).await;
    result?;
    closed
}

/// Runs `work` until the user asks to stop.
async fn until_stopped<T>(
    stop: &mut StopRequests,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let result = stop.unless_asked(work).await;
    result.inspect_err(|failure| {
        if matches!(failure, Failure::Interrupted) {
            say(STOPPING);
        }
    })
}

/// What is asked for, and where it takes place.
#[derive(Clone, Copy)]
struct Run<'a> {
    arguments: &'a RunArguments,
    folder: &'a Path,
    target: &'a Target,
    traces: &'a Traces,
}

async fn train_and_report(
    run: Run<'_>,
    wanted: &mut Wanted,
    page: Option<String>,
    mut notifier: Notifier,
    stop: &mut StopRequests,
) -> Result<(), Failure> {
    let Run { arguments, folder, target, .. } = run;
    let sweep = until_stopped(stop, async {
        files::send_with(&mut wanted.source, arguments.file.folder(), target).await?;
        if !wanted.source.snapshot.is_empty() {
            wanted.specification = submit::check(wanted.source.clone())?.0;
        }
        let sweep = submit_here(wanted, folder, target).await?;
        // Otherwise it would be refused hours of training later.
        report::refuse_other(folder, &sweep).await?;
        artifact::refuse_other(&folder.join(BEST), &sweep)?;
        Ok(sweep)
    })
    .await?;
    let outcome = train_to_the_end(run, wanted, &sweep, page, &mut notifier, stop).await;
    let told = notifier.conclude(target, sweep.sweep_id, &outcome, Some(folder));
    let told = until_stopped(stop, told).await;
    if let (Err(failure), Err(_)) = (&told, &outcome) {
        // Two things went wrong; the second decides the exit code.
        failure.tell();
    }
    outcome.and(told)
}

async fn train_to_the_end(
    run: Run<'_>,
    wanted: &Wanted,
    sweep: &v1::Sweep,
    page: Option<String>,
    notifier: &mut Notifier,
    stop: &mut StopRequests,
) -> Result<(), Failure> {
    let Run { arguments, folder, target, traces } = run;
    let mut unprinted = Unprinted::default();
    // A killed run may have left weights with its workers.
    if !is_final(sweep) || sweep.weights_awaited > 0 {
        let needs = (&wanted.specification.trainable, &wanted.specification.resources);
        let options = arguments.options.traced(&arguments.traces);
        let workers = Workers::start(&options, arguments.workers, needs, folder, target);
        let workers = until_stopped(stop, workers).await?;
        // It goes with the coordinator: only now there is time to look at it.
        page.iter().for_each(|page| say(page));
        train(workers, (sweep.sweep_id, target), notifier, stop, &mut unprinted).await?;
    }
    until_stopped(stop, write_results(sweep.sweep_id, arguments.lang, folder, (target, traces), unprinted))
        .await
}

/// What the command line asks for.
struct Wanted {
    specification: Specification,
    jobs: Jobs,
    source: v1::SweepSource,
}

/// The sweep of this output directory: a new one, or the one that it holds, extended as needed.
async fn submit_here(wanted: &Wanted, folder: &Path, target: &Target) -> Result<v1::Sweep, Failure> {
    let request = v1::SubmitRequest {
        source: Some(wanted.source.clone()),
        request_id: REQUEST_ID.to_owned(),
        extend_sweep_id: 0,
    };
    let answer = target.call(async |client| client.submit(request.clone()).await).await?;
    let sweep = answer.sweep.ok_or_else(|| Failure::operation("the coordinator's answer names no sweep"))?;
    if answer.created {
        return Ok(sweep);
    }
    if matches!(sweep.state(), v1::SweepState::Running | v1::SweepState::Paused | v1::SweepState::Finished) {
        return go_on(sweep, wanted, folder, target).await;
    }
    let name = sweep_state_name(sweep.state());
    let other = shapes::specification(&sweep)
        .map_err(|error| Failure::operation(format!("{}: {error}", folder.display())))?;
    let changes = wanted.specification.changes_from(&other);
    if !sweep.stopped.is_empty() && changes.iter().any(|change| change.key == "metric.target") {
        return go_on(sweep, wanted, folder, target).await;
    }
    if !changes.is_empty() {
        let keys: Vec<_> = changes.into_iter().map(|change| change.key).collect();
        return Err(Failure::operation(format!(
            "{} holds the results of a sweep that is {name} ({}, {}), and this file has another {}; choose another \
             folder with --output (without it, another `name` in the file gives another folder)",
            folder.display(),
            sweep.name,
            count(sweep.job_count, "job"),
            keys.join(", ")
        )));
    }
    say(&format!("the sweep in {} is {name} already", folder.display()));
    Ok(sweep)
}

/// Refuses a file of another name that has none of the jobs: it is another sweep, whose results would be mixed with these. What cannot be
/// told here, the coordinator says.
fn refuse_other(before: &v1::Sweep, wanted: &Wanted, folder: &Path) -> Result<(), Failure> {
    let Wanted { specification, jobs, .. } = wanted;
    if specification.name == before.name || submit::lacks(before, specification, jobs) != Some(jobs.count()) {
        return Ok(());
    }
    Err(Failure::operation(format!(
        "{} holds the results of another sweep ({}, {}), which has no job of this file; choose another folder with \
         --output, or give the file that name, to add its jobs to that sweep",
        folder.display(),
        before.name,
        count(before.job_count, "job")
    )))
}

/// Gives the sweep of this directory the jobs and settings that it lacks, and its failed jobs another try if something
/// may have changed for them.
async fn go_on(
    before: v1::Sweep,
    wanted: &Wanted,
    folder: &Path,
    target: &Target,
) -> Result<v1::Sweep, Failure> {
    refuse_other(&before, wanted, folder)?;
    let request = v1::SubmitRequest {
        source: Some(wanted.source.clone()),
        request_id: String::new(),
        extend_sweep_id: before.sweep_id,
    };
    let (place, jobs) = (folder.display(), count(before.job_count, "job"));
    let counts = before.counts.unwrap_or_default();
    let answer = target.call(async |client| client.submit(request.clone()).await).await;
    let answer = answer.map_err(|failure| match failure {
        // Anything else, such as a full disk, says nothing about the file.
        Failure::Refused(reason) => Failure::operation(format!(
            "{place} holds a sweep ({}, {jobs}) that cannot continue with this file: {reason}; to keep \
             both, choose another folder with --output (without it, another `name` in the file gives another folder){}",
            before.name,
            if has_results(&counts) { "" } else { "; or remove that folder, where no job is done yet" }
        )),
        other => other,
    })?;
    let sweep = answer.sweep.ok_or_else(|| Failure::operation("the coordinator's answer names no sweep"))?;
    let finished = counts.done + counts.diverged + counts.failed;
    if answer.added_jobs == 0 && before.state() == v1::SweepState::Finished {
        say(&format!("the sweep in {place} is finished already"));
    } else {
        say(&format!("continuing in {place}: {finished} of {} finished", count(sweep.job_count, "job")));
    }
    if answer.added_jobs > 0 {
        say(&format!("new in this file: {}", count(answer.added_jobs, "job")));
    }
    if sweep.job_count > wanted.jobs.count() {
        let others = sweep.job_count - wanted.jobs.count();
        say(&format!(
            "not in this file: {}; the sweep that began here has them, and they stay",
            count(others, "job")
        ));
    }
    if !answer.changed.is_empty() {
        say(&format!("changed:\n{}", changes(&answer.changed).trim_end()));
    }
    // Its target was lifted, and no jobs are new that would have it go on.
    let is_stopped = sweep.state() == v1::SweepState::Stopped;
    let may_help = before.state() == v1::SweepState::Finished || !answer.changed.is_empty();
    if is_stopped || (counts.failed > 0 && may_help) {
        let request = v1::RetrySweepRequest {
            sweep_id: sweep.sweep_id,
            // Some were cancelled when the target was reached.
            cancelled_too: is_stopped,
            ..Default::default()
        };
        let answer = match target.call(async |client| client.retry_sweep(request).await).await {
            // They are not needed, as another job has reached the target.
            Err(Failure::Refused(why)) => {
                say(&format!("no jobs are tried again: {why}"));
                return Ok(sweep);
            }
            answer => answer?,
        };
        match is_stopped {
            true => say(&format!("the sweep in {place} goes on: {} left", count(answer.jobs, "job"))),
            false => say(&format!("trying {} in {place} again", count(answer.jobs, "failed job"))),
        }
        return Ok(answer.sweep.unwrap_or(sweep));
    }
    Ok(sweep)
}

/// Whether a job was trained to an end, or is on its way.
fn has_results(counts: &v1::JobCounts) -> bool {
    let v1::JobCounts { done, diverged, stopped, paused, running, .. } = *counts;
    done + diverged + stopped + paused + running > 0
}

/// Follows the sweep while the workers train, until it ends or the user stops it.
async fn train(
    mut workers: Workers,
    (sweep_id, target): (u64, &Target),
    notifier: &mut Notifier,
    stop: &mut StopRequests,
    unprinted: &mut Unprinted,
) -> Result<(), Failure> {
    let mut progress = Progress::new();
    let mut follower = Follower::new(target, sweep_id);
    let mut told = String::new();
    let mut result = loop {
        tokio::select! {
            event = follower.next() => match event {
                Ok(Some(event)) => {
                    say_dataset(&event, &mut told, &progress);
                    if let Event::Snapshot(v1::WatchSnapshot { sweep: Some(sweep), .. }) = &event {
                        notifier.observe(sweep);
                    }
                    unprinted.note(progress.show(&event));
                }
                Ok(None) => break Ok(()),
                Err(failure) => break Err(failure),
            },
            failed = workers.failed() => break Err(failed),
            () = stop.asked() => {
                progress.say(STOPPING);
                break Err(Failure::Interrupted);
            }
        }
    };
    progress.finish();
    if result.is_ok() {
        result = tokio::select! {
            waited = await_weights(sweep_id, target) => waited,
            failed = workers.failed() => Err(failed),
            () = stop.asked() => Err(Failure::Interrupted),
        };
    }
    tokio::select! {
        () = workers.end() => {}
        () = stop.asked() => workers.kill().await,
    }
    result
}

/// Reports what was loaded, once for each content. `told` holds the hash of the last.
fn say_dataset(event: &Event, told: &mut String, progress: &Progress) {
    let Event::Snapshot(v1::WatchSnapshot { sweep: Some(sweep), .. }) = event else { return };
    let Some(dataset) = sweep.dataset.as_ref().filter(|dataset| dataset.content_hash != *told) else {
        return;
    };
    told.clone_from(&dataset.content_hash);
    DatasetSummary::from(dataset.clone()).lines().iter().for_each(|line| progress.say(line));
}

/// Waits until the wanted weights are here, or until none has arrived for a while: the next run fetches the rest.
pub(super) async fn await_weights(sweep_id: u64, target: &Target) -> Result<(), Failure> {
    let (mut before, mut give_up_at) = (u64::MAX, Instant::now());
    loop {
        let sweep =
            target.call(async |client| client.get_sweep(v1::GetSweepRequest { sweep_id }).await).await?;
        match sweep.weights_awaited {
            0 => return Ok(()),
            awaited if awaited < before => (before, give_up_at) = (awaited, Instant::now() + WEIGHTS_WITHIN),
            awaited if give_up_at <= Instant::now() => {
                terminal::say!(
                    "warning: the {} of {awaited} of the best jobs did not arrive; the same command fetches them",
                    left_by_jobs(&sweep)
                );
                return Ok(());
            }
            _ => {}
        }
        tokio::time::sleep(WEIGHTS_POLL).await;
    }
}
