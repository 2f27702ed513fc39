//! Telling someone elsewhere how a sweep goes: messages to addresses (`--notify`), and a command (`--on-end`). The command that waits
//! for the sweep sends them, from its user's machine and with its user's rights, so that a coordinator keeps no addresses of its users
//! and opens no connections for them. Started again, it sends again, with the same id.

mod address;
mod message;
mod on_end;
mod send;

use std::{path::Path, time::Duration};

use proto::v1;
use tokio::task::JoinSet;

use self::{
    address::Address,
    message::{Message, now_ms},
    on_end::CommandLine,
};
use super::{client::Target, failure::Failure, follow::is_final};

/// Whom to tell.
#[derive(Debug, clap::Args)]
pub(super) struct NotifyOptions {
    /// Post a message (JSON) to this address when the sweep ends or needs someone; hooks.slack.com and slack:URL get Slack's form; may
    /// be repeated. Others on this machine see arguments, but not SWEEP_NOTIFY (several with spaces between them)
    #[arg(long, value_name = "URL", env = "SWEEP_NOTIFY", hide_env_values = true, value_delimiter = ' ')]
    notify: Vec<String>,
    /// How long no job must run, with none about to, before that is worth a message
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = super::time)]
    notify_stalled: Duration,
    /// Run this command when the sweep has ended, with the message (JSON) on its standard input and what happened in SWEEP_EVENT. Its
    /// words are told apart as in a shell, but no shell reads it
    #[arg(long, value_name = "COMMAND", env = "SWEEP_ON_END")]
    on_end: Option<String>,
}

impl NotifyOptions {
    /// Whether anything is asked for on the command line, and not by the environment, which is for all commands.
    pub(super) fn is_given(&self) -> bool {
        let environment = |name: &str| std::env::var(name).ok();
        let of_all = environment("SWEEP_NOTIFY").unwrap_or_default();
        let mut given = self.notify.iter().filter(|url| !url.is_empty());
        given.any(|url| of_all.split(' ').all(|other| other != url))
            || (self.on_end.is_some() && self.on_end != environment("SWEEP_ON_END"))
    }

    /// What tells of this sweep.
    ///
    /// # Errors
    /// An address or the command is wrong.
    pub(super) fn notifier(&self) -> Result<Notifier, Failure> {
        let wrong = |place: usize, reason: String| {
            // The address itself is a secret.
            Failure::usage(format!("address {place} of --notify: {reason}"))
        };
        let given = self.notify.iter().filter(|url| !url.is_empty());
        let addresses =
            given.zip(1..).map(|(url, place)| Address::parse(url).map_err(|reason| wrong(place, reason)));
        let on_end = self.on_end.as_deref().map(on_end::command_line).transpose();
        Ok(Notifier {
            addresses: addresses.collect::<Result<_, _>>()?,
            client: send::client()?,
            sending: JoinSet::new(),
            stalled: Stalled { after: self.notify_stalled, told: None },
            on_end: on_end.map_err(|reason| Failure::usage(format!("--on-end: {reason}")))?,
            began_ms: now_ms(),
            has_seen: false,
        })
    }
}

/// Tells of one sweep.
pub(super) struct Notifier {
    addresses: Vec<Address>,
    client: reqwest::Client,
    /// What is on its way: following the sweep never waits for a receiver.
    sending: JoinSet<Result<(), String>>,
    stalled: Stalled,
    on_end: Option<CommandLine>,
    began_ms: u64,
    /// Whether it is known to be there.
    has_seen: bool,
}

impl Notifier {
    /// Looks at a sweep that goes on.
    pub(super) fn observe(&mut self, sweep: &v1::Sweep) {
        self.has_seen = true;
        if let Some(waiting) = self.stalled.news(sweep) {
            self.send(&Message::stalled(sweep, waiting));
        }
    }

    /// Tells how the wait for a sweep came out, and waits until everyone has been told.
    ///
    /// # Errors
    /// Someone could not be told, or the command of the user failed.
    pub(super) async fn conclude(
        mut self,
        target: &Target,
        sweep_id: u64,
        outcome: &Result<(), Failure>,
        results: Option<&Path>,
    ) -> Result<(), Failure> {
        if matches!(outcome, Err(Failure::Interrupted)) || self.addresses.is_empty() && self.on_end.is_none()
        {
            return Ok(());
        }
        let asked =
            target.call(async |client| client.get_sweep(v1::GetSweepRequest { sweep_id }).await).await;
        if let Ok(sweep) = &asked
            && is_final(sweep)
        {
            return self.ended(sweep, results).await;
        }
        // Who has mistyped a number or an address sees it at once.
        let was_followed = self.has_seen || matches!(outcome, Err(Failure::TimedOut(_)));
        if let Some(failure) = outcome.as_ref().err().or(asked.as_ref().err()).filter(|_| was_followed) {
            self.send(&Message::lost_sight(sweep_id, failure, self.began_ms));
        }
        self.delivered().await
    }

    async fn ended(mut self, sweep: &v1::Sweep, results: Option<&Path>) -> Result<(), Failure> {
        let message = Message::ended(sweep, results.map(|folder| folder.display().to_string()));
        self.send(&message);
        let ran = match &self.on_end {
            None => Ok(()),
            Some(command) => command.run(&message, message.body(address::Form::Json)?).await,
        };
        let told = self.delivered().await;
        if let (Err(failure), Err(_)) = (&ran, &told) {
            // Two things went wrong; the second decides the exit code.
            failure.tell();
        }
        told.and(ran)
    }

    fn send(&mut self, message: &Message) {
        for address in &self.addresses {
            let (client, address) = (self.client.clone(), address.clone());
            let body = message.body(address.form);
            self.sending.spawn(async move {
                let body = body.map_err(|failure| failure.to_string())?;
                send::deliver(&client, &address, body, send::pauses()).await
            });
        }
    }

    /// Waits for what is on its way.
    async fn delivered(mut self) -> Result<(), Failure> {
        let mut failed = Vec::new();
        while let Some(sent) = self.sending.join_next().await {
            failed.extend(sent.map_err(|error| error.to_string()).and_then(|sent| sent).err());
        }
        match failed.as_slice() {
            [] => Ok(()),
            failed => Err(Failure::operation(format!("a message did not arrive: {}", failed.join("; ")))),
        }
    }
}

/// Notices once that no job has run for long, and again after some have run or where the reason is another one.
#[derive(Debug)]
struct Stalled {
    after: Duration,
    /// Why, and how many jobs had ended then.
    told: Option<(v1::WaitReason, u64)>,
}

impl Stalled {
    fn news<'a>(&mut self, sweep: &'a v1::Sweep) -> Option<&'a v1::Waiting> {
        let needs_someone = |waiting: &&v1::Waiting| {
            !matches!(
                waiting.reason(),
                // A user wanted it so, or it passes by itself.
                v1::WaitReason::Paused | v1::WaitReason::MaxParallel | v1::WaitReason::SlotsBusy
            ) && Duration::from_millis(waiting.idle_ms) >= self.after
        };
        let v1::JobCounts { pending, running, .. } = sweep.counts.unwrap_or_default();
        if running > 0 {
            self.told = None;
        }
        // That the time is short says nothing: a coordinator that starts again counts it anew.
        let waiting = sweep.waiting.as_ref().filter(needs_someone)?;
        let now = Some((waiting.reason(), sweep.job_count.saturating_sub(pending + running)));
        (std::mem::replace(&mut self.told, now) != now).then_some(waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(notify: &[&str], on_end: Option<&str>) -> NotifyOptions {
        NotifyOptions {
            notify: notify.iter().map(|url| (*url).to_owned()).collect(),
            notify_stalled: Duration::from_secs(300),
            on_end: on_end.map(str::to_owned),
        }
    }

    #[test]
    fn what_cannot_be_told_is_refused_before_and_without_the_secret() {
        for (notify, on_end, says) in [
            (&["https://a/1", "htp://secret"][..], None, "address 2 of --notify"),
            (&[], Some("'open"), "--on-end: a quote is not closed"),
        ] {
            let failure = options(notify, on_end).notifier().err().unwrap();
            assert!(matches!(failure, Failure::Usage(_)));
            let failure = failure.to_string();
            assert!(failure.contains(says) && !failure.contains("secret"), "{failure}");
        }
        assert!(!options(&[""], None).is_given() && options(&["https://a"], None).is_given());
    }

    #[test]
    fn a_standstill_is_told_once_and_again_when_it_is_another() {
        let mut stalled = Stalled { after: Duration::from_secs(300), told: None };
        let mut seen = |reason: v1::WaitReason, idle_ms, pending, running| {
            let waiting = v1::Waiting { reason: reason.into(), idle_ms, ..v1::Waiting::default() };
            let counts = Some(v1::JobCounts { pending, running, ..v1::JobCounts::default() });
            let sweep = v1::Sweep { waiting: Some(waiting), counts, job_count: 9, ..v1::Sweep::default() };
            stalled.news(&sweep).is_some()
        };
        let mut news = |reason, idle_ms| seen(reason, idle_ms, 9, 0);
        use v1::WaitReason::{AllQuarantined, NoWorker, Paused, SlotsBusy};
        assert!(!news(NoWorker, 299_999), "too short");
        assert!(news(NoWorker, 300_000) && !news(NoWorker, 301_000), "once");
        assert!(news(AllQuarantined, 302_000), "another reason");
        assert!(!news(AllQuarantined, 0) && !news(AllQuarantined, 300_000), "the coordinator began again");
        assert!(!news(Paused, 900_000) && !news(SlotsBusy, 900_000), "no one is needed");
        assert!(!seen(AllQuarantined, 0, 8, 1), "a job runs");
        assert!(seen(AllQuarantined, 300_000, 9, 0), "one ran in between");
        assert!(seen(AllQuarantined, 300_000, 8, 0), "one has ended in between");
    }
}
