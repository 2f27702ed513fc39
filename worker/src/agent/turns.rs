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
    /// Where the certificates to trust are read again.
    target: Target,
    /// Why they cannot be read, where that was told.
    complaint: Option<String>,
}

impl Turns {
    /// The coordinators of a target.
    ///
    /// # Errors
    /// The target is unusable.
    pub(super) fn new(target: &Target) -> Result<Self, ClientError> {
        let known = urls(target).map(str::to_owned).zip(endpoints(target)?).collect();
        Ok(Self { known, next: 0, named: None, asked: None, target: target.clone(), complaint: None })
    }

    /// Trusts the certificates that are there now: their file may have changed. While it cannot be used, those from before are trusted.
    fn read_again(&mut self) {
        let said = match endpoints(&self.target) {
            Ok(endpoints) => {
                self.known.iter_mut().zip(endpoints).for_each(|((_, known), new)| *known = new);
                self.complaint = None;
                return;
            }
            Err(error) => error.to_string(),
        };
        if self.complaint.as_ref() != Some(&said) {
            tracing::warn!("{said}; the certificates from before are trusted until then");
        }
        self.complaint = Some(said);
    }

    /// The one to ask now.
    pub(super) fn take(&mut self) -> Endpoint {
        self.read_again();
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
    use proto::leader::stands_by;

    use super::*;

    #[test]
    fn a_leader_that_a_standby_names_is_asked_once_and_names_no_other() {
        let target = Target { url: "a:1, b:2".to_owned(), token_file: None, tls_ca: None, identity: None };
        let mut turns = Turns::new(&target).unwrap();
        let next = |turns: &mut Turns| turns.take().uri().to_string();
        assert_eq!(next(&mut turns), "http://a:1/");
        assert_eq!(
            turns.heard(&target, &stands_by("it stands by", Some("http://c:3"))),
            Ok(Some("http://c:3".to_owned()))
        );
        assert_eq!(next(&mut turns), "http://c:3/");
        assert_eq!(turns.heard(&target, &stands_by("it stands by", Some("http://d:4"))), Ok(None), "one hop");
        assert_eq!([next(&mut turns), next(&mut turns)], ["http://b:2/", "http://a:1/"]);
        assert_eq!(turns.heard(&target, &Status::unavailable("away")), Ok(None));
        let refused = turns.heard(&target, &stands_by("it stands by", Some("https://c:3"))).unwrap_err();
        assert!(refused.contains("--advertise"), "{refused}");
        assert_eq!(next(&mut turns), "http://b:2/");
    }

    #[test]
    fn certificates_are_read_at_each_connection_and_broken_ones_leave_those_from_before() {
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca.pem");
        let (host, other) = ("https://host:1/", "https://other:1/");
        let made = rcgen::generate_simple_self_signed(["host".to_owned()]).unwrap();
        std::fs::write(&ca, made.cert.pem()).unwrap();
        let url = "https://host:1,https://other:1".to_owned();
        let target = Target { url, token_file: None, tls_ca: Some(ca.clone()), identity: None };
        let mut turns = Turns::new(&target).unwrap();
        assert_eq!(turns.take().uri().to_string(), host);
        std::fs::write(&ca, "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n").unwrap();
        assert_eq!(turns.take().uri().to_string(), other);
        assert!(turns.complaint.as_ref().unwrap().contains("ca.pem"), "{turns:?}");
        std::fs::write(&ca, made.cert.pem()).unwrap();
        assert_eq!(turns.take().uri().to_string(), host);
        assert_eq!(turns.complaint, None);
    }
}
