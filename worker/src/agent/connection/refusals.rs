//! Which errors are refusals by the coordinator, and when a refusal counts.

use std::time::{Duration, Instant};

use tonic::{Code, Status};

use super::LinkEvent;
use crate::agent::membership::JOIN_AGAIN;

/// How long a coordinator that has accepted this worker may refuse it before that counts: a token that is changed at
/// the coordinator first, or a proxy that is starting, must not cost running trainings.
pub(crate) const REFUSED_WITHIN: Duration = Duration::from_secs(5 * 60);

/// How long the coordinator has refused this worker.
#[derive(Debug)]
pub(super) struct Refusals {
    /// How long it may refuse before that counts.
    pub(super) within: Duration,
    /// Whether it ever accepted this worker.
    was_let_in: bool,
    /// Since when it has refused it.
    since: Option<Instant>,
    /// Whether the agent knows.
    told: bool,
}

impl Refusals {
    /// None so far, by a coordinator that may refuse for `within` once it has accepted this worker.
    pub(super) fn new(within: Duration) -> Self {
        Self { within, was_let_in: false, since: None, told: false }
    }

    /// The coordinator has accepted this worker.
    pub(super) fn let_in(&mut self) {
        (self.was_let_in, self.since, self.told) = (true, None, false);
    }

    /// Whether it ever accepted this worker.
    pub(super) fn was_let_in(&self) -> bool {
        self.was_let_in
    }

    /// What to report about a refusal at `now`; nothing if it may be temporary, or was reported already.
    pub(super) fn event(&mut self, now: Instant, code: Code, reason: String) -> Option<LinkEvent> {
        if !self.was_let_in || !may_pass(code) {
            return Some(LinkEvent::Refused(reason));
        }
        let refused_for = now.saturating_duration_since(*self.since.get_or_insert(now));
        if refused_for < self.within || std::mem::replace(&mut self.told, true) {
            return None;
        }
        let within = humantime::format_duration(self.within);
        Some(LinkEvent::RefusedForLong(format!("{reason}; it was tried again for {within}")))
    }
}

/// Whether a refusal may end by itself, when someone corrects the token or the version.
fn may_pass(code: Code) -> bool {
    matches!(code, Code::Unauthenticated | Code::PermissionDenied | Code::FailedPrecondition)
}

/// The message for people, if the coordinator, or a proxy before it, refuses this worker, which has joined or shows a token.
pub(super) fn refusal(status: &Status, has_joined: bool) -> Option<String> {
    let said = status.message();
    Some(match status.code() {
        Code::Unauthenticated | Code::PermissionDenied if has_joined => {
            format!(
                "the coordinator no longer accepts the identity with which this worker joined: {said}. {JOIN_AGAIN}"
            )
        }
        // A coordinator says what to do; a proxy before it does not.
        Code::Unauthenticated | Code::PermissionDenied if said.contains("--token-file") => {
            format!("the coordinator refuses this worker: {said}")
        }
        Code::Unauthenticated | Code::PermissionDenied => {
            format!("the coordinator does not accept this worker's token ({said}); see --token-file")
        }
        Code::FailedPrecondition => {
            format!(
                "the coordinator does not work with this version of the worker ({said}); use the same version of both"
            )
        }
        Code::AlreadyExists => format!("another process has taken this worker's place: {said}"),
        Code::InvalidArgument => format!("the coordinator does not accept this worker ({said})"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stays_as_it_is_is_a_refusal() {
        for code in
            [Code::Unauthenticated, Code::FailedPrecondition, Code::AlreadyExists, Code::InvalidArgument]
        {
            assert!(refusal(&Status::new(code, "no"), false).is_some(), "{code}");
        }
        for code in [
            Code::Unavailable,
            Code::Aborted,
            Code::Internal,
            Code::Unknown,
            Code::ResourceExhausted,
            Code::Unimplemented,
        ] {
            assert!(refusal(&Status::new(code, "no"), true).is_none(), "{code}");
        }
    }

    #[test]
    fn what_a_coordinator_says_of_a_token_is_said_once() {
        let told =
            refusal(&Status::unauthenticated("the token is wrong; check --token-file"), false).unwrap();
        assert_eq!(told, "the coordinator refuses this worker: the token is wrong; check --token-file");
        let told = refusal(&Status::permission_denied("no"), false).unwrap();
        assert!(told.ends_with("does not accept this worker's token (no); see --token-file"), "{told}");
    }

    #[test]
    fn a_worker_that_has_joined_is_told_to_join_again_and_of_no_token_file() {
        for code in [Code::Unauthenticated, Code::PermissionDenied] {
            let told = refusal(&Status::new(code, "the token was revoked"), true).unwrap();
            assert!(told.contains("the identity with which this worker joined"), "{told}");
            assert!(told.contains("was revoked") && told.contains("--join-file"), "{told}");
            assert!(!told.contains("--token-file"), "{told}");
        }
    }

    #[test]
    fn a_refusal_by_a_coordinator_that_let_the_worker_in_before_is_believed_after_a_while() {
        let within = Duration::from_secs(60);
        let mut refusals = Refusals::new(within);
        let begin = Instant::now();
        let hear = |refusals: &mut Refusals, seconds: u64, code| match refusals.event(
            begin + Duration::from_secs(seconds),
            code,
            "no".into(),
        ) {
            None => "it may pass",
            Some(LinkEvent::Refused(_)) => "at once",
            Some(LinkEvent::RefusedForLong(_)) => "for long",
            Some(other) => panic!("{other:?}"),
        };
        assert_eq!(hear(&mut refusals, 0, Code::Unauthenticated), "at once", "it was never let in");
        refusals.let_in();
        assert_eq!(hear(&mut refusals, 100, Code::Unauthenticated), "it may pass");
        assert_eq!(hear(&mut refusals, 159, Code::PermissionDenied), "it may pass");
        refusals.let_in();
        assert_eq!(hear(&mut refusals, 161, Code::FailedPrecondition), "it may pass");
        assert_eq!(hear(&mut refusals, 221, Code::Unauthenticated), "for long");
        assert_eq!(hear(&mut refusals, 300, Code::Unauthenticated), "it may pass", "it is reported once");
        assert_eq!(hear(&mut refusals, 300, Code::AlreadyExists), "at once", "its place is taken");
    }
}
