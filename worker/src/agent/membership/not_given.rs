//! Why a worker gets no certificate: what was found, whether it may pass, and what to do about it. There is one piece of advice for each finding.

use std::fmt;

use tonic::{Code, Status};

use crate::agent::target::is_misled;

/// What a finding means for a worker that wants a certificate. Of several, the greatest counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// No coordinator answers, which may pass.
    Unanswered,
    /// One answers that it has not the time, or that another one leads, which may pass.
    NotNow,
    /// None was asked that could give one: the address or the file is wrong, or the authority another. No other join token helps.
    Misdirected,
    /// One refuses.
    Refused,
}

impl Kind {
    /// What to do where the finding itself does not say it.
    fn advice(self) -> &'static str {
        match self {
            Self::Unanswered => {
                "correct --coordinator, or start one there with `sweep serve --authority DIR`, or see whether a firewall is in the way"
            }
            Self::NotNow => "look again in a moment: a worker that is started now tries until it is let in",
            Self::Misdirected => {
                "correct --coordinator: its scheme, and the port of the coordinator's --listen"
            }
            Self::Refused => {
                "make a join token with `sweep token create --role worker --name NAME --join`, and name its file with --join-file"
            }
        }
    }
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct NotGiven {
    kind: Kind,
    /// What was found, without what to do.
    finding: String,
    /// What to do, where the finding says it; or empty.
    own_advice: String,
    /// What the advice is about: of two findings, that of the decisive one.
    advised_for: Kind,
}

impl NotGiven {
    /// Of a message that may end with what to do, after a semicolon.
    pub(super) fn new(kind: Kind, message: &str) -> Self {
        let (finding, advice) = message.split_once("; ").unwrap_or((message, ""));
        Self { kind, finding: finding.to_owned(), own_advice: advice.to_owned(), advised_for: kind }
    }

    pub(super) fn unanswered(message: &str) -> Self {
        Self::new(Kind::Unanswered, message)
    }

    pub(super) fn misdirected(message: &str) -> Self {
        Self::new(Kind::Misdirected, message)
    }

    pub(super) fn refused(message: &str) -> Self {
        Self::new(Kind::Refused, message)
    }

    /// What a coordinator, or whoever else was asked, answered.
    pub(super) fn answered(status: &Status) -> Self {
        let broke = std::error::Error::source(status).map(proto::unreached::broken);
        let said = match (status.message(), &broke) {
            ("", _) => status.code().to_string(),
            (_, Some(cause)) => format!("the connection broke: {cause}"),
            (message, None) => message.to_owned(),
        };
        match status.code() {
            _ if is_misled(status) => Self::misdirected(&said),
            Code::Unimplemented => Self::misdirected(&said),
            // What it advises is for those who have a token.
            Code::Unauthenticated => Self { own_advice: String::new(), ..Self::refused(&said) },
            Code::PermissionDenied | Code::FailedPrecondition | Code::InvalidArgument => Self::refused(&said),
            Code::Unavailable | Code::ResourceExhausted if broke.is_none() => Self::new(Kind::NotNow, &said),
            _ => Self::unanswered(&said),
        }
    }

    /// What the coordinator at this address said, or why it said nothing.
    pub(super) fn at(self, url: &str) -> Self {
        Self { finding: format!("{url}: {}", self.finding), ..self }
    }

    /// What all coordinators said that were asked one after the other.
    pub(super) fn by_all(mut said: Vec<Self>) -> Self {
        if said.len() == 1 {
            return said.remove(0);
        }
        let kind = said.iter().map(|one| one.kind).max().unwrap_or(Kind::Unanswered);
        let finding: Vec<String> = said.iter().map(Self::to_string).collect();
        Self { kind, finding: finding.join("; "), own_advice: String::new(), advised_for: kind }
    }

    /// After the certificate that was there was tried in vain. It is what a worker renews by, so its finding is decisive unless one of the
    /// two was refused.
    pub(super) fn after(self, first: Self) -> Self {
        let finding =
            format!("with the certificate: {}; with the join token: {}", first.finding, self.finding);
        let was_refused = first.kind == Kind::Refused || self.kind == Kind::Refused;
        let kind = self.kind;
        let decisive = if was_refused { self } else { first };
        Self { kind, finding, own_advice: decisive.own_advice, advised_for: decisive.advised_for }
    }

    /// What it means.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether it may pass, so that it is worth asking again.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self.kind, Kind::Unanswered | Kind::NotNow)
    }

    /// Whether the finding says itself what to do.
    pub(super) fn advises(&self) -> bool {
        !self.own_advice.is_empty()
    }

    /// What was found, without what to do.
    pub(crate) fn finding(&self) -> &str {
        &self.finding
    }

    /// What to do.
    pub(crate) fn advice(&self) -> &str {
        if self.advises() { &self.own_advice } else { self.advised_for.advice() }
    }
}

impl fmt::Display for NotGiven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.finding)?;
        if self.advises() { write!(f, "; {}", self.own_advice) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use tonic::metadata::MetadataMap;

    use super::*;

    #[test]
    fn only_what_stays_as_it_is_is_not_asked_again() {
        let may_pass = |code| NotGiven::answered(&Status::new(code, "no")).may_pass();
        for code in
            [Code::Unauthenticated, Code::PermissionDenied, Code::FailedPrecondition, Code::Unimplemented]
        {
            assert!(!may_pass(code), "{code}");
        }
        for code in [Code::Unavailable, Code::ResourceExhausted, Code::Internal, Code::Unknown] {
            assert!(may_pass(code), "{code}");
        }
    }

    #[test]
    fn each_finding_has_the_one_advice_that_fits_it() {
        let answered = |code, said: &str| NotGiven::answered(&Status::new(code, said));
        let mut misled = MetadataMap::new();
        misled.insert(telemetry::plain_calls::MISLED_METADATA, "1".parse().unwrap());
        let probes = "this port is for probes and metrics; name another one";
        let misled = NotGiven::answered(&Status::with_metadata(Code::InvalidArgument, probes, misled));
        for (found, finding, advice) in [
            (NotGiven::unanswered("Connection refused"), "Connection refused", "correct --coordinator, or"),
            (misled, "this port is for probes and metrics", "name another one"),
            (answered(Code::Unimplemented, "none"), "none", "correct --coordinator: its scheme"),
            (
                answered(Code::Unauthenticated, "it is wrong; check --token-file"),
                "it is wrong",
                "make a join token",
            ),
            (answered(Code::FailedPrecondition, "none given; start it"), "none given", "start it"),
            (answered(Code::ResourceExhausted, "too many"), "too many", "look again in a moment"),
        ] {
            assert_eq!(found.finding(), finding);
            assert!(found.advice().starts_with(advice) && !found.advice().contains("; "), "{found:?}");
        }
    }

    #[test]
    fn of_two_ways_the_certificate_has_the_word_unless_one_was_refused() {
        let (away, wrong) = (|| NotGiven::unanswered("away"), || NotGiven::refused("wrong"));
        let gone = || NotGiven::misdirected("it is gone; check --join-file");
        let told = gone().after(away());
        assert_eq!(told.to_string(), "with the certificate: away; with the join token: it is gone");
        assert!(told.advice().starts_with("correct --coordinator") && !told.may_pass(), "{told:?}");
        assert!(gone().after(wrong()).advice() == "check --join-file");
        assert!(wrong().after(away()).advice().starts_with("make a join token"));
    }

    #[test]
    fn of_several_coordinators_each_has_its_word_and_a_refusal_counts() {
        let (away, wrong) = (|| NotGiven::unanswered("away").at("a"), || NotGiven::refused("no; go").at("b"));
        let told = NotGiven::by_all(vec![away(), wrong()]);
        assert_eq!((told.kind(), told.to_string().as_str()), (Kind::Refused, "a: away; b: no; go"));
        assert_eq!(NotGiven::by_all(vec![away(), away()]).kind(), Kind::Unanswered);
        assert_eq!(NotGiven::by_all(vec![wrong()]).advice(), "go");
    }
}
