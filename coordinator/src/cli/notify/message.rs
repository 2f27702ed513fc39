//! What is told: one shape for programs, and a line for people within it.

use proto::v1;
use report::{measured, view};
use serde::Serialize;
use terminal::text;
use terms::count;

use super::address::Form;
use crate::{
    cli::{failure::Failure, follow::none_done, output::job_of_mean, tables::sweep_state_name},
    shapes,
};

/// Characters of a message's id: no two messages share them by chance.
const ID_CHARACTERS: usize = 32;

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub(super) enum Event {
    /// No job is left, and one is done.
    Finished,
    /// A job has reached the target of the sweep file, and the others were not needed.
    TargetReached,
    /// A user stopped the sweep.
    Stopped,
    /// A user cancelled the sweep.
    Cancelled,
    /// No job is left, and none is done: each has failed, has diverged or was stopped early.
    AllFailed,
    /// No job has run for long, and none will before someone does something.
    Stalled,
    /// Waiting for the sweep has failed: nothing is known of it any more.
    LostSight,
}

/// A message.
#[derive(Debug, Serialize)]
pub(super) struct Message {
    /// The same however often it is sent, so that a receiver can drop what it has already.
    id: String,
    event: Event,
    /// For people, in one line.
    text: String,
    /// The sweep, as lists show it; null where it cannot be asked for.
    sweep: Option<view::Sweep>,
    /// The folder with the report, where there is one.
    results: Option<String>,
}

impl Message {
    /// A sweep has ended.
    pub(super) fn ended(sweep: &v1::Sweep, results: Option<String>) -> Self {
        let event = end_of(sweep);
        let text = format!("{} {}", named(sweep), outcome(event, sweep));
        Self { results, ..Self::of(sweep, event, text, &sweep.ended_unix_ms.to_string()) }
    }

    /// No job of a sweep runs.
    pub(super) fn stalled(sweep: &v1::Sweep, waiting: &v1::Waiting) -> Self {
        let minutes = waiting.idle_ms / 60_000;
        let since = if minutes > 0 { format!(" for {}", count(minutes, "minute")) } else { String::new() };
        let text = format!("{}: nothing has moved{since}: {}", named(sweep), text::line(&waiting.text));
        // Since when: what a second command says of the same stop is the same message. An older coordinator does not say it to the millisecond.
        let since = match waiting.since_unix_ms {
            0 => now_ms().saturating_sub(waiting.idle_ms) / 60_000,
            since => since,
        };
        Self::of(sweep, Event::Stalled, text, &format!("{} {since}", waiting.reason))
    }

    /// Waiting has failed. `began_ms` tells this wait from others.
    pub(super) fn lost_sight(sweep_id: u64, failure: &Failure, began_ms: u64) -> Self {
        let text = format!(
            "sweep {sweep_id} is no longer followed, and may go on: {}",
            text::line(&failure.to_string())
        );
        let unknown = v1::Sweep { sweep_id, ..v1::Sweep::default() };
        Self { sweep: None, ..Self::of(&unknown, Event::LostSight, text, &began_ms.to_string()) }
    }

    fn of(sweep: &v1::Sweep, event: Event, text: String, occasion: &str) -> Self {
        let what: &str = event.into();
        let parts = format!("{} {} {what} {occasion}", sweep.sweep_id, sweep.created_unix_ms);
        let id = blake3::hash(parts.as_bytes()).to_hex()[..ID_CHARACTERS].to_owned();
        Self { id, event, text, sweep: Some(shapes::listed(sweep)), results: None }
    }

    /// What has happened, in a word.
    pub(super) fn event(&self) -> &'static str {
        self.event.into()
    }

    /// What is sent to a receiver of this form.
    pub(super) fn body(&self, form: Form) -> Result<Vec<u8>, Failure> {
        let body = match form {
            Form::Json => serde_json::to_vec(self),
            Form::Slack => serde_json::to_vec(&serde_json::json!({"text": for_slack(&self.text)})),
        };
        body.map_err(|error| Failure::operation(format!("a message cannot be written as JSON: {error}")))
    }
}

/// Milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Text in which Slack finds no mention, link or channel: a sweep may be named `<!channel>`.
fn for_slack(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn end_of(sweep: &v1::Sweep) -> Event {
    match sweep.state() {
        v1::SweepState::Stopped | v1::SweepState::Stopping if !sweep.stopped.is_empty() => {
            Event::TargetReached
        }
        v1::SweepState::Stopped | v1::SweepState::Stopping => Event::Stopped,
        v1::SweepState::Cancelled => Event::Cancelled,
        _ if none_done(sweep).is_some() => Event::AllFailed,
        _ => Event::Finished,
    }
}

fn named(sweep: &v1::Sweep) -> String {
    format!("sweep {} ({})", sweep.sweep_id, text::line(&sweep.name))
}

/// `has finished: 12 of 16 jobs done, 4 failed; best val_accuracy 0.9812 (job 5)`.
fn outcome(event: Event, sweep: &v1::Sweep) -> String {
    let counts = sweep.counts.unwrap_or_default();
    let what = match event {
        Event::TargetReached => "has reached its target".to_owned(),
        Event::AllFailed if counts.failed == sweep.job_count => "has failed".to_owned(),
        Event::AllFailed => "has ended without a result".to_owned(),
        Event::Finished => "has finished".to_owned(),
        _ => format!("is {}", sweep_state_name(sweep.state())),
    };
    let others = [
        (counts.diverged, "diverged"),
        (counts.stopped, "stopped early"),
        (counts.failed, "failed"),
        (counts.cancelled, "cancelled"),
        (counts.pending, "not run"),
    ];
    let mut parts = vec![format!("{} of {} done", counts.done, count(sweep.job_count, "job"))];
    parts.extend(others.iter().filter(|(jobs, _)| *jobs > 0).map(|(jobs, state)| format!("{jobs} {state}")));
    format!("{what}: {}{}", parts.join(", "), best(sweep))
}

fn best(sweep: &v1::Sweep) -> String {
    let Some((best, point)) = sweep.best.as_ref().and_then(|best| Some((best, best.point.as_ref()?))) else {
        return String::new();
    };
    let metric = sweep.metric.as_ref().map_or("", |metric| metric.name.as_str());
    let job = job_of_mean(best.trainings, point.job);
    format!("; best {} {} ({job})", text::line(metric), measured(best.value, 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sweep(state: v1::SweepState, counts: v1::JobCounts) -> v1::Sweep {
        v1::Sweep {
            sweep_id: 3,
            name: "<!channel> & \u{1b}[31m".to_owned(),
            state: state.into(),
            job_count: 4,
            counts: Some(counts),
            created_unix_ms: 1_700_000_000_000,
            ended_unix_ms: 1_700_000_100_000,
            ..v1::Sweep::default()
        }
    }

    fn json(message: &Message, form: Form) -> serde_json::Value {
        serde_json::from_slice(&message.body(form).unwrap()).unwrap()
    }

    #[test]
    fn an_end_is_named_as_what_it_is() {
        let counts = |done, failed| v1::JobCounts { done, failed, ..v1::JobCounts::default() };
        let diverged = v1::JobCounts { diverged: 3, stopped: 1, ..v1::JobCounts::default() };
        let reached =
            v1::Sweep { stopped: "job 1".to_owned(), ..sweep(v1::SweepState::Stopped, counts(1, 0)) };
        for (sweep, event, says) in [
            (
                sweep(v1::SweepState::Finished, counts(3, 1)),
                "finished",
                "has finished: 3 of 4 jobs done, 1 failed",
            ),
            (
                sweep(v1::SweepState::Finished, counts(0, 4)),
                "all_failed",
                "has failed: 0 of 4 jobs done, 4 failed",
            ),
            (
                sweep(v1::SweepState::Finished, diverged),
                "all_failed",
                "has ended without a result: 0 of 4 jobs done, 3 diverged, 1 stopped early",
            ),
            (sweep(v1::SweepState::Stopped, counts(3, 0)), "stopped", "is stopped: 3 of 4 jobs done"),
            (sweep(v1::SweepState::Cancelled, counts(0, 0)), "cancelled", "is cancelled: 0 of 4 jobs done"),
            (reached, "target_reached", "has reached its target: 1 of 4 jobs done"),
        ] {
            let message = json(&Message::ended(&sweep, None), Form::Json);
            assert_eq!(message["event"], event);
            let text = message["text"].as_str().unwrap();
            assert!(text.ends_with(says), "{text}");
            assert_eq!((&message["sweep"]["id"], &message["sweep"]["jobs"]), (&3.into(), &4.into()));
        }
    }

    #[test]
    fn a_name_mentions_no_one_and_moves_no_cursor() {
        let message = Message::ended(&sweep(v1::SweepState::Finished, v1::JobCounts::default()), None);
        let slack = json(&message, Form::Slack);
        let text = slack["text"].as_str().unwrap();
        assert!(text.starts_with("sweep 3 (&lt;!channel&gt; &amp; \\u{1b}[31m) has finished"), "{text}");
        assert_eq!(slack.as_object().unwrap().len(), 1, "Slack refuses other keys");
    }

    #[test]
    fn a_message_keeps_its_id_and_another_end_has_another() {
        let id = |sweep: &v1::Sweep| json(&Message::ended(sweep, None), Form::Json)["id"].clone();
        let first = sweep(v1::SweepState::Finished, v1::JobCounts::default());
        let renamed = v1::Sweep { name: "b".to_owned(), ..first.clone() };
        assert_eq!(id(&first), id(&renamed));
        let again = v1::Sweep { ended_unix_ms: 1, ..first.clone() };
        let elsewhere = v1::Sweep { created_unix_ms: 1, ..first.clone() };
        assert!(id(&first) != id(&again) && id(&first) != id(&elsewhere));
    }

    #[test]
    fn a_standstill_has_the_id_of_when_it_began_whoever_tells_of_it() {
        let running = sweep(v1::SweepState::Running, v1::JobCounts::default());
        let id = |since_unix_ms, idle_ms| {
            let reason = v1::WaitReason::NoWorker.into();
            let waiting = v1::Waiting { reason, text: "no worker".to_owned(), idle_ms, since_unix_ms };
            json(&Message::stalled(&running, &waiting), Form::Json)["id"].clone()
        };
        // Around the boundary of a minute, and told at other times.
        assert_eq!(id(1_700_000_039_999, 300_000), id(1_700_000_039_999, 360_001));
        assert_ne!(id(1_700_000_039_999, 300_000), id(1_700_000_040_000, 300_000), "another one");
    }
}
