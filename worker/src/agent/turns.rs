//! Which coordinator is asked next: those of the target in turn, and once, after one that stands by, the one that it names.

use proto::{client::ClientError, leader::elsewhere};
use tonic::{Status, transport::Endpoint};

use super::target::{Target, endpoint, endpoints, urls};

/// See the module's description.
#[derive(Debug)]
pub(super) struct Turns {
    known: Vec<(String, Endpoint)>,
    next: usize,
    /// The leader that a standby named, for one try.
    named: Option<(String, Endpoint)>,
    /// The one that was asked last, and whether it was such a leader: it sends no one elsewhere.
    asked: Option<(String, bool)>,
}

impl Turns {
    /// The coordinators of a target.
    ///
    /// # Errors
    /// The target is unusable.
    pub(super) fn new(target: &Target) -> Result<Self, ClientError> {
        let known = urls(target).map(str::to_owned).zip(endpoints(target)?).collect();
        Ok(Self { known, next: 0, named: None, asked: None })
    }

    /// The one to ask now.
    pub(super) fn take(&mut self) -> Endpoint {
        if let Some((url, endpoint)) = self.named.take() {
            self.asked = Some((url, true));
            return endpoint;
        }
        let (url, endpoint) = &self.known[self.next % self.known.len()];
        self.next = (self.next + 1) % self.known.len();
        self.asked = Some((url.clone(), false));
        endpoint.clone()
    }

    /// Hears what the one that was asked said. The leader that it names is the next, unless it was named itself.
    ///
    /// # Errors
    /// Why the leader that it names is not asked.
    pub(super) fn heard(&mut self, target: &Target, status: &Status) -> Result<Option<String>, String> {
        let Some((asked, false)) = &self.asked else { return Ok(None) };
        let Some(leader) = elsewhere(status, asked).map_err(|refused| refused.to_string())? else {
            return Ok(None);
        };
        let endpoint = endpoint(target, &leader).map_err(|error| error.to_string())?;
        self.named = Some((leader.clone(), endpoint));
        Ok(Some(leader))
    }
}

#[cfg(test)]
mod tests {
    use proto::leader::LEADER_METADATA;

    use super::*;

    fn standby(leader: &str) -> Status {
        let mut status = Status::unavailable("it stands by");
        status.metadata_mut().insert(LEADER_METADATA, leader.parse().unwrap());
        status
    }

    #[test]
    fn a_leader_that_a_standby_names_is_asked_once_and_names_no_other() {
        let target = Target { url: "a:1, b:2".to_owned(), token_file: None, tls_ca: None };
        let mut turns = Turns::new(&target).unwrap();
        let next = |turns: &mut Turns| turns.take().uri().to_string();
        assert_eq!(next(&mut turns), "http://a:1/");
        assert_eq!(turns.heard(&target, &standby("http://c:3")), Ok(Some("http://c:3".to_owned())));
        assert_eq!(next(&mut turns), "http://c:3/");
        assert_eq!(turns.heard(&target, &standby("http://d:4")), Ok(None), "one hop");
        assert_eq!([next(&mut turns), next(&mut turns)], ["http://b:2/", "http://a:1/"]);
        assert_eq!(turns.heard(&target, &Status::unavailable("away")), Ok(None));
        let refused = turns.heard(&target, &standby("https://c:3")).unwrap_err();
        assert!(refused.contains("--advertise"), "{refused}");
        assert_eq!(next(&mut turns), "http://b:2/");
    }
}
