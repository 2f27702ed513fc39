//! Where a coordinator that stands by says who leads, and whether whoever called it goes there. Who leads is told by the coordinator that was
//! asked, which has seen the token already; but over TLS it showed who it is, and the token must not travel in plain text afterwards.

use tonic::{Code, Status};

/// The metadata with the leader's address, next to UNAVAILABLE.
pub const LEADER_METADATA: &str = "sweep-leader";
/// Longest address that is followed, in bytes: a scheme, the longest name of DNS and a port.
const ADDRESS_BYTES_MAX: usize = 300;

/// The leader's address is not one to go to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotFollowed {
    /// The token would be sent in another way than to the one that was asked.
    #[error(
        "the coordinator at {asked} stands by for the one at {leader}, to which nothing is sent, as one of the two is asked by TLS and the \
         other is not; start all coordinators with --tls-cert, and give --advertise an https:// address"
    )]
    OtherTls { asked: String, leader: String },
    /// It is none.
    #[error(
        "the coordinator at {asked} stands by for one whose address is none: {reason}; give it another with --advertise"
    )]
    NoAddress { asked: String, reason: String },
}

/// What a coordinator that stands by answers: in words, and the leader's address where it knows one that can be a header.
pub fn stands_by(message: impl Into<String>, leader: Option<&str>) -> Status {
    let mut status = Status::unavailable(message);
    if let Some(leader) = leader.and_then(|leader| leader.parse().ok()) {
        status.metadata_mut().insert(LEADER_METADATA, leader);
    }
    status
}

/// Where to go after this answer of the coordinator at `asked`; none where it does not stand by for another one.
///
/// # Errors
/// There is another one, and it is not gone to.
pub fn elsewhere(status: &Status, asked: &str) -> Result<Option<String>, NotFollowed> {
    let Some(leader) = status.metadata().get(LEADER_METADATA).filter(|_| status.code() == Code::Unavailable)
    else {
        return Ok(None);
    };
    let none = |reason: &str| NotFollowed::NoAddress { asked: asked.to_owned(), reason: reason.to_owned() };
    let leader = leader.to_str().map_err(|_| none("it is no text"))?;
    if leader.len() > ADDRESS_BYTES_MAX {
        return Err(none("it is too long"));
    }
    let leader = terms::coordinator_url(leader).map_err(none)?;
    let asked_url = terms::coordinator_url(asked).map_err(none)?;
    if leader.starts_with("https://") != asked_url.starts_with("https://") {
        return Err(NotFollowed::OtherTls { asked: asked.to_owned(), leader });
    }
    // One that names itself has just lost or taken the lead.
    Ok(Some(leader).filter(|leader| leader.trim_end_matches('/') != asked_url.trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leads(leader: &str) -> Status {
        stands_by("it stands by", Some(leader))
    }

    #[test]
    fn a_leader_is_gone_to_under_the_same_rules_as_the_one_that_was_asked() {
        let there = |url: &str| Ok(Some(url.to_owned()));
        assert_eq!(elsewhere(&leads("http://b:1"), "a:1"), there("http://b:1"));
        assert_eq!(elsewhere(&leads("https://b:1"), "https://a:1"), there("https://b:1"));
        for (asked, leader) in
            [("https://a:1", "http://b:1"), ("http://a:1", "https://b:1"), ("https://a:1", "b:1")]
        {
            let refused = elsewhere(&leads(leader), asked).unwrap_err();
            assert!(matches!(&refused, NotFollowed::OtherTls { .. }), "{asked} {leader}: {refused}");
            assert!(refused.to_string().contains("--advertise"), "{refused}");
        }
    }

    #[test]
    fn nothing_else_is_followed() {
        assert_eq!(elsewhere(&Status::unavailable("away"), "http://a:1"), Ok(None));
        assert_eq!(elsewhere(&leads("http://a:1"), "http://a:1/"), Ok(None));
        let mut other = Status::internal("a bug");
        other.metadata_mut().insert(LEADER_METADATA, "http://b:1".parse().unwrap());
        assert_eq!(elsewhere(&other, "http://a:1"), Ok(None));
        for leader in ["ftp://b", &format!("http://{}", "b".repeat(400))] {
            let refused = elsewhere(&leads(leader), "http://a:1").unwrap_err();
            assert!(matches!(refused, NotFollowed::NoAddress { .. }), "{leader}: {refused}");
        }
    }
}
