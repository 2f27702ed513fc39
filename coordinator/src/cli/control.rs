//! Following and ending sweeps: `watch`, `wait`, `stop`, `cancel`.

use std::time::Duration;

use proto::v1::{self, watch_sweep_response::Event};
use terms::JobState;

use super::{
    client::Target,
    confirm::Confirmation,
    failure::Failure,
    follow::{Follower, verdict},
    ids::TargetId,
    notify::{Notifier, NotifyOptions},
    output::{Format, count, print, print_json},
    progress::{Notices, Progress},
    tables::{is_of_program, print_sweep, sweep_state_name},
};
use crate::shapes::whole;

/// A sweep on the command line.
#[derive(Debug, clap::Args)]
pub(super) struct SweepArgument {
    /// Sweep's number
    #[arg(value_parser = super::ids::sweep_id)]
    sweep: u64,
}

/// Arguments of `sweep wait`.
#[derive(Debug, clap::Args)]
pub(super) struct WaitArguments {
    /// Sweep's number, or SWEEP/JOB
    #[arg(value_name = "SWEEP[/JOB]")]
    target: TargetId,
    /// Give up after this long, with exit code 4
    #[arg(long, value_name = "TIME", value_parser = super::time)]
    timeout: Option<Duration>,
    #[command(flatten)]
    notify: NotifyOptions,
}

/// Arguments of `sweep retry`.
#[derive(Debug, clap::Args)]
pub(super) struct RetryArguments {
    /// Sweep's number, or SWEEP/JOB
    #[arg(value_name = "SWEEP[/JOB]")]
    target: TargetId,
    /// Only jobs that failed, not those that were cancelled
    #[arg(long)]
    failed: bool,
}

/// Arguments of `sweep stop` and `sweep cancel`.
#[derive(Debug, clap::Args)]
pub(super) struct EndArguments {
    /// Sweep's number, or SWEEP/JOB
    #[arg(value_name = "SWEEP[/JOB]")]
    target: TargetId,
    #[command(flatten)]
    confirmation: Confirmation,
}

impl EndArguments {
    /// Asks a person to confirm, after saying what it ends.
    async fn confirmed(&self, verb: &str, running: &str, target: &Target) -> Result<TargetId, Failure> {
        let TargetId { sweep: sweep_id, job } = self.target;
        if self.confirmation.is_needed() {
            let sweep =
                target.call(async |client| client.get_sweep(v1::GetSweepRequest { sweep_id }).await).await?;
            let counts = sweep.counts.unwrap_or_default();
            self.confirmation.ask(&match job {
                Some(job) => format!(
                    "{verb} job {sweep_id}/{job} of {}; `sweep retry {sweep_id}/{job}` tries it again",
                    sweep.name
                ),
                None => format!(
                    "{verb} sweep {sweep_id} ({}): {} {running}, {} not started; `sweep retry {sweep_id}` runs them \
                     again",
                    sweep.name,
                    count(counts.running, "running job"),
                    count(counts.pending, "waiting job")
                ),
            })?;
        }
        Ok(self.target)
    }
}

/// Arguments of `sweep drain`.
#[derive(Debug, clap::Args)]
pub(super) struct DrainArguments {
    /// Worker's name
    worker: String,
}

/// `sweep watch`.
pub(super) async fn watch(arguments: &SweepArgument, target: &Target) -> Result<(), Failure> {
    let mut progress = Progress::new();
    let mut follower = Follower::new(target, arguments.sweep);
    let mut last = None;
    while let Some(event) = follower.next().await? {
        progress.show(&event)?;
        if let Event::Snapshot(snapshot) = event {
            last = snapshot.sweep;
        }
    }
    progress.finish();
    let Some(sweep) = last else { return Ok(()) };
    print(&format!("sweep {} is {}\n", sweep.sweep_id, sweep_state_name(sweep.state())))?;
    verdict(&sweep, &format!("`sweep jobs {}`", sweep.sweep_id))
}

/// `sweep wait`.
pub(super) async fn wait(arguments: &WaitArguments, target: &Target) -> Result<(), Failure> {
    let TargetId { sweep, job } = arguments.target;
    if let Some(job) = job {
        if arguments.notify.is_given() {
            return Err(Failure::usage("--notify and --on-end are for a sweep, not for one job of it"));
        }
        return in_time(arguments, wait_for_job(sweep, job, target)).await;
    }
    let mut notifier = arguments.notify.notifier()?;
    let outcome = in_time(arguments, wait_for_sweep(sweep, target, &mut notifier)).await;
    let told = notifier.conclude(target, sweep, &outcome, None).await;
    if let (Err(failure), Err(_)) = (&told, &outcome) {
        // Two things went wrong; the second decides the exit code.
        failure.tell();
    }
    outcome.and(told)
}

/// Waits no longer than the user wants to.
async fn in_time(
    arguments: &WaitArguments,
    wait: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let Some(timeout) = arguments.timeout else { return wait.await };
    tokio::time::timeout(timeout, wait)
        .await
        .unwrap_or_else(|_| Err(Failure::TimedOut(still_waited_for(arguments.target, timeout))))
}

fn still_waited_for(target: TargetId, waited: Duration) -> String {
    let waited = humantime::format_duration(waited);
    match target {
        TargetId { sweep, job: None } => format!("sweep {sweep} still runs after {waited}"),
        TargetId { sweep, job: Some(job) } => format!("job {sweep}/{job} has not ended after {waited}"),
    }
}

async fn wait_for_sweep(sweep: u64, target: &Target, notifier: &mut Notifier) -> Result<(), Failure> {
    let mut follower = Follower::new(target, sweep);
    let mut last = v1::Sweep::default();
    let mut notices = Notices::default();
    while let Some(event) = follower.next().await? {
        if let Event::Snapshot(v1::WatchSnapshot { sweep: Some(sweep), .. }) = event {
            if let Some(news) = notices.news(&sweep) {
                terminal::output::say(&news);
            }
            notifier.observe(&sweep);
            last = sweep;
        }
    }
    verdict(&last, &format!("`sweep jobs {}`", last.sweep_id))
}

async fn wait_for_job(sweep_id: u64, job: u64, target: &Target) -> Result<(), Failure> {
    let mut follower = Follower::new(target, sweep_id);
    // Each snapshot or change of the job is a reason to check. The stream is open before the first check, so that no
    // change is missed in between.
    let mut notices = Notices::default();
    while let Some(event) = follower.next().await? {
        if let Event::Snapshot(v1::WatchSnapshot { sweep: Some(sweep), .. }) = &event
            && let Some(news) = notices.news(sweep)
        {
            terminal::output::say(&news);
        }
        let look = match &event {
            Event::Snapshot(_) => true,
            Event::Job(changed) => changed.point.as_ref().is_some_and(|point| point.job == job),
            Event::Epoch(_) => false,
        };
        if !look {
            continue;
        }
        let detail =
            target.call(async |client| client.get_job(v1::GetJobRequest { sweep_id, job }).await).await?;
        let found = detail.job.unwrap_or_default();
        match JobState::try_from(found.state()).ok() {
            Some(JobState::Done | JobState::Diverged | JobState::Stopped) => return Ok(()),
            Some(state @ (JobState::Failed | JobState::Cancelled)) => {
                let reason =
                    if found.reason.is_empty() { String::new() } else { format!(": {}", found.reason) };
                return Err(Failure::operation(format!(
                    "job {sweep_id}/{job} is {}{reason}",
                    state.as_str()
                )));
            }
            _ => {}
        }
    }
    Err(Failure::operation(format!(
        "job {sweep_id}/{job} has not ended although its sweep has; this is a bug"
    )))
}

/// `sweep pause`.
pub(super) async fn pause(arguments: &SweepArgument, target: &Target, format: Format) -> Result<(), Failure> {
    let request = v1::PauseSweepRequest { sweep_id: arguments.sweep };
    let sweep = target.call(async |client| client.pause_sweep(request).await).await?;
    told(&sweep, format)
}

/// `sweep resume`.
pub(super) async fn resume(
    arguments: &SweepArgument,
    target: &Target,
    format: Format,
) -> Result<(), Failure> {
    let request = v1::ResumeSweepRequest { sweep_id: arguments.sweep };
    let sweep = target.call(async |client| client.resume_sweep(request).await).await?;
    told(&sweep, format)
}

/// What `sweep retry` did, as JSON.
#[derive(Debug, serde::Serialize)]
struct Retried {
    #[serde(flatten)]
    sweep: report::view::Sweep,
    /// How many jobs are tried again.
    retried: u64,
    /// How many are left for another call.
    left: u64,
}

/// `sweep retry`.
pub(super) async fn retry(
    arguments: &RetryArguments,
    target: &Target,
    format: Format,
) -> Result<(), Failure> {
    let TargetId { sweep: sweep_id, job } = arguments.target;
    let cancelled_too = !arguments.failed;
    let request = v1::RetrySweepRequest { sweep_id, job: job.unwrap_or_default(), cancelled_too };
    let answer = target.call(async |client| client.retry_sweep(request).await).await?;
    let counts = answer.sweep.as_ref().and_then(|sweep| sweep.counts).unwrap_or_default();
    // One call takes a limited number.
    let left = match job {
        Some(_) => 0,
        None => counts.failed + if cancelled_too { counts.cancelled } else { 0 },
    };
    let rest = if left > 0 { format!("; {left} are left: repeat this for them") } else { String::new() };
    if format == Format::Table {
        print(&match (job, answer.jobs) {
            (Some(job), 0) => format!("job {sweep_id}/{job} is being tried already\n"),
            (Some(job), _) => format!("job {sweep_id}/{job} is tried again\n"),
            (None, 0) => format!("no job of sweep {sweep_id} has to be tried again\n"),
            (None, 1) => format!("1 job of sweep {sweep_id} is tried again{rest}\n"),
            (None, jobs) => format!("{jobs} jobs of sweep {sweep_id} are tried again{rest}\n"),
        })?;
        if answer.jobs > 0 && answer.sweep.as_ref().is_some_and(is_of_program) {
            print("the script runs as it was submitted; a changed one needs a new sweep (`sweep submit`)\n")?;
        }
    } else if let Some(sweep) = &answer.sweep {
        if format == Format::Json {
            return print_json(&Retried { sweep: whole(sweep), retried: answer.jobs, left });
        }
        told(sweep, format)?;
    }
    Ok(())
}

/// `sweep drain`.
pub(super) async fn drain(arguments: &DrainArguments, target: &Target) -> Result<(), Failure> {
    let request = v1::DrainWorkerRequest { name: arguments.worker.clone() };
    let worker = target.call(async |client| client.drain_worker(request.clone()).await).await?;
    let running = worker.running.len();
    let still = if running == 1 { "runs" } else { "run" };
    print(&format!("worker {} takes no more jobs and leaves; {running} still {still} there\n", worker.name))
}

/// `sweep stop`.
pub(super) async fn stop(arguments: &EndArguments, target: &Target, format: Format) -> Result<(), Failure> {
    let TargetId { sweep: sweep_id, job } =
        arguments.confirmed("stop", "still end by themselves", target).await?;
    let request = v1::StopSweepRequest { sweep_id, job: job.unwrap_or_default() };
    let sweep = target.call(async |client| client.stop_sweep(request).await).await?;
    told_of(&sweep, job, "gets no more attempts", format)
}

/// `sweep cancel`.
pub(super) async fn cancel(arguments: &EndArguments, target: &Target, format: Format) -> Result<(), Failure> {
    let TargetId { sweep: sweep_id, job } = arguments.confirmed("cancel", "ended now", target).await?;
    let request = v1::CancelSweepRequest { sweep_id, job: job.unwrap_or_default() };
    let sweep = target.call(async |client| client.cancel_sweep(request).await).await?;
    told_of(&sweep, job, "is cancelled", format)
}

/// Reports what was done to a sweep, or to one of its jobs.
fn told_of(sweep: &v1::Sweep, job: Option<u64>, what: &str, format: Format) -> Result<(), Failure> {
    match job.filter(|_| format == Format::Table) {
        Some(job) => print(&format!("job {}/{job} {what}\n", sweep.sweep_id)),
        None => told(sweep, format),
    }
}

fn told(sweep: &v1::Sweep, format: Format) -> Result<(), Failure> {
    if format == Format::Table {
        let running = sweep.counts.unwrap_or_default().running;
        let rest = if running > 0 {
            format!("; {} still {}", count(running, "job"), if running == 1 { "runs" } else { "run" })
        } else {
            String::new()
        };
        print(&format!("sweep {} is {}{rest}\n", sweep.sweep_id, sweep_state_name(sweep.state())))
    } else {
        print_sweep(sweep, format)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_waited_for_is_what_has_not_ended() {
        let told = |target: &str| still_waited_for(target.parse().unwrap(), Duration::from_secs(1));
        assert_eq!(told("2"), "sweep 2 still runs after 1s");
        assert_eq!(told("2/3"), "job 2/3 has not ended after 1s");
    }
}
