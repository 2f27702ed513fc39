//! Why a connection to a coordinator came to nothing, and what to do where that shows: a scheme or a port was taken for another one, or the
//! certificate is not one that is trusted. Both programs say it in these words.

use std::{error::Error, io};

use rustls::{AlertDescription, CertificateError, Error as TlsError};

use crate::client::innermost;

/// The innermost cause of an error, and what to do.
pub fn why(error: &(dyn Error + 'static)) -> String {
    let cause = innermost(error);
    match tls_error(error).and_then(hint) {
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

fn hint(error: &TlsError) -> Option<&'static str> {
    Some(match error {
        TlsError::InvalidMessage(_) => "this port speaks no TLS: name the coordinator with http://",
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
        TlsError::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => {
            "reach the coordinator by a name that its certificate has, or give that another name (`sweep certs renew DIR --host NAME`)"
        }
        TlsError::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "give the coordinator another certificate (`sweep certs renew DIR`)"
        }
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
        let other = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(why(&other), other.to_string());
    }
}
