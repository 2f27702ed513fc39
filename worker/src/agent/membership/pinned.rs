//! Trust in one authority that is known by its hash alone: a coordinator sends the authority's certificate after its own, and must have one of it,
//! for its name and now.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use proto::join::authority_hash;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring::default_provider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

/// See the module's description.
#[derive(Debug)]
pub(super) struct Pinned {
    authority: String,
    /// Whether a coordinator had another one.
    met_another: AtomicBool,
    provider: Arc<CryptoProvider>,
}

impl Pinned {
    /// Trusts the authority with this hash.
    pub(super) fn new(authority: String) -> Self {
        Self { authority, met_another: AtomicBool::new(false), provider: Arc::new(default_provider()) }
    }

    /// Whether a coordinator was asked that is of another authority.
    pub(super) fn met_another(&self) -> bool {
        self.met_another.load(Ordering::Relaxed)
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let known = intermediates.iter().find(|one| authority_hash(one) == self.authority);
        let authority = known.ok_or_else(|| {
            self.met_another.store(true, Ordering::Relaxed);
            Error::General("the coordinator has another authority than the join token names".to_owned())
        })?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider))
                .build()
                .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

    use super::*;

    #[test]
    fn only_a_certificate_of_the_authority_for_this_name_is_trusted() {
        let authority = || {
            let (key, mut params) =
                (KeyPair::generate().unwrap(), CertificateParams::new(Vec::new()).unwrap());
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            let certificate = params.self_signed(&key).unwrap();
            (certificate.der().clone(), Issuer::new(params, key))
        };
        let ((ours, issuer), (others, other)) = (authority(), authority());
        let signed = |issuer: &Issuer<'_, KeyPair>| {
            let params = CertificateParams::new(vec!["host".to_owned()]).unwrap();
            params.signed_by(&KeyPair::generate().unwrap(), issuer).unwrap().der().clone()
        };
        let pinned = Pinned::new(authority_hash(&ours));
        let trusts = |leaf: &CertificateDer<'_>, chain: &[CertificateDer<'_>], name: &'static str| {
            let name = ServerName::try_from(name).unwrap();
            pinned.verify_server_cert(leaf, chain, &name, &[], UnixTime::now()).is_ok()
        };
        let leaf = signed(&issuer);
        assert!(trusts(&leaf, std::slice::from_ref(&ours), "host"));
        assert!(!trusts(&leaf, std::slice::from_ref(&ours), "another"));
        assert!(!pinned.met_another());
        assert!(!trusts(&leaf, &[], "host"), "the authority is not there");
        assert!(pinned.met_another());
        assert!(!trusts(&signed(&other), std::slice::from_ref(&others), "host"));
        assert!(!trusts(&signed(&other), &[ours, others], "host"), "it is there, but has not signed");
    }
}
