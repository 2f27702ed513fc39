//! Why a connection to a coordinator came to nothing, and what to do where that shows: a scheme or a port was taken for another one, or the
//! certificate is not one that is trusted. Both programs say it in these words.

use std::{error::Error, io, time::Duration};

use rustls::{AlertDescription, CertificateError, Error as TlsError, pki_types::UnixTime};
use x509_parser::time::ASN1Time;

use tonic::{Code, transport::Endpoint};

use crate::{
    client::innermost,
    v1::{ListSweepsRequest, sweep_service_client::SweepServiceClient},
};

/// What is said where a port that was named with `https://` speaks no TLS.
const NO_TLS: &str = "this port speaks no TLS: name the coordinator with http://";

/// What [`why`] said of this address, or more: where the port speaks no TLS, it is asked in plain text, and without a token, whether it is one
/// for calls at all. Ports of the page and for probes say what they are.
pub async fn explained(url: &str, why: String, within: Duration) -> String {
    if !why.ends_with(NO_TLS) {
        return why;
    }
    said_without_tls(url, within).await.unwrap_or(why)
}

/// What [`why`] said of a port that speaks no TLS, without what to do about it; none of others.
pub fn without_tls(why: &str) -> Option<&str> {
    why.strip_suffix(NO_TLS)?.strip_suffix("; ")
}

/// What a port says to a call in plain text that is for none.
async fn said_without_tls(url: &str, within: Duration) -> Option<String> {
    let rest = url.strip_prefix("https://")?;
    let endpoint = Endpoint::from_shared(format!("http://{rest}")).ok()?;
    let channel = endpoint.connect_timeout(within).timeout(within).connect().await.ok()?;
    let status = SweepServiceClient::new(channel).list_sweeps(ListSweepsRequest::default()).await.err()?;
    (status.code() == Code::InvalidArgument).then(|| status.message().to_owned())
}

/// The innermost cause of an error, and what to do.
pub fn why(error: &(dyn Error + 'static)) -> String {
    let fault = tls_error(error);
    let cause = fault.and_then(dated).unwrap_or_else(|| innermost(error));
    match fault.and_then(hint) {
        Some(hint) => format!("{cause}; {hint}"),
        None => cause,
    }
}

/// The fault of TLS among the causes. What is within an error of input and output is not among its sources.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a TlsError> {
    if let Some(found) = error.downcast_ref() {
        return Some(found);
    }
    let within = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    match within {
        Some(within) => tls_error(within),
        None => error.source().and_then(tls_error),
    }
}

/// Why a connection broke that there was. What rustls says of one that ends without a word is for programmers.
pub fn broken(error: &(dyn Error + 'static)) -> String {
    let cause = innermost(error);
    match cause.contains("close_notify") {
        true => "the other side closed it without a word".to_owned(),
        false => cause,
    }
}

/// A certificate's times, which rustls counts in seconds.
fn dated(error: &TlsError) -> Option<String> {
    let TlsError::InvalidCertificate(fault) = error else { return None };
    Some(match fault {
        CertificateError::ExpiredContext { time, not_after } => {
            format!(
                "the coordinator's certificate ran out at {}, and now it is {}",
                day(*not_after),
                day(*time)
            )
        }
        CertificateError::NotValidYetContext { time, not_before } => {
            format!(
                "the coordinator's certificate holds from {} on, and now it is {}",
                day(*not_before),
                day(*time)
            )
        }
        _ => return None,
    })
}

fn day(at: UnixTime) -> String {
    ASN1Time::from_timestamp(i64::try_from(at.as_secs()).unwrap_or(i64::MAX))
        .map_or_else(|_| format!("{} s after 1970", at.as_secs()), |at| at.to_string())
}

fn hint(error: &TlsError) -> Option<&'static str> {
    Some(match error {
        TlsError::InvalidMessage(_) => NO_TLS,
        TlsError::AlertReceived(AlertDescription::NoApplicationProtocol)
        | TlsError::NoApplicationProtocol => {
            "this port is not one for calls: name the port of the coordinator's --listen, not that of its page"
        }
        TlsError::AlertReceived(
            AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::BadCertificate,
        ) => "the coordinator does not take the certificate that was shown",
        TlsError::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "name the certificate of the coordinator's authority with --tls-ca"
        }
        TlsError::InvalidCertificate(CertificateError::BadSignature) => {
            "the certificates of --tls-ca are those of another authority of the same name: give the coordinator's own"
        }
        TlsError::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => {
            "reach the coordinator by a name that its certificate has, or give that another name (`sweep certs renew DIR --host NAME`)"
        }
        TlsError::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "give the coordinator another certificate (`sweep certs renew DIR`), or set the clock of this machine"
        }
        TlsError::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => "set the clocks of this machine and of the one that made the certificate",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_of_tls_is_found_among_the_causes_and_says_what_to_do() {
        let inner = TlsError::InvalidCertificate(CertificateError::UnknownIssuer);
        let outer = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, inner));
        let told = why(&outer);
        assert!(told.contains("UnknownIssuer") && told.ends_with("with --tls-ca"), "{told}");
        let same_name = TlsError::InvalidCertificate(CertificateError::BadSignature);
        let told = why(&io::Error::other(same_name));
        assert!(told.contains("BadSignature") && told.ends_with("give the coordinator's own"), "{told}");
        let at = |seconds| UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        let early = CertificateError::NotValidYetContext { time: at(0), not_before: at(86_400) };
        let told = why(&io::Error::other(TlsError::InvalidCertificate(early)));
        assert!(told.contains("Jan  2 00:00:00 1970") && told.contains("set the clocks"), "{told}");
        let late = CertificateError::ExpiredContext { time: at(86_400), not_after: at(0) };
        let told = why(&io::Error::other(TlsError::InvalidCertificate(late)));
        assert!(told.contains("ran out at Jan  1 00:00:00 1970") && told.contains("certs renew"), "{told}");
        let silent = "peer closed connection without sending TLS close_notify: https://docs.rs/rustls";
        let silent = io::Error::new(io::ErrorKind::UnexpectedEof, silent);
        assert_eq!(broken(&silent), "the other side closed it without a word");
        let other = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(why(&other), other.to_string());
    }
}
