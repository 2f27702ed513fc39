//! What an authority gives, and what it does not.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use rcgen::{BasicConstraints, IsCa};

use proto::join::WorkerCertificate;

use super::*;

fn request(params: &CertificateParams) -> String {
    params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap()
}

fn hosts(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn leaf(path: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(path).unwrap()
}

#[test]
fn a_worker_gets_a_certificate_for_its_key_and_for_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::init(folder.path(), &hosts(&["localhost"])).unwrap();
    let worker: WorkerName = "one".parse().unwrap();
    let mut asks = CertificateParams::new(vec!["coordinator".to_owned()]).unwrap();
    asks.distinguished_name = named("admin", Some("another-token"));
    asks.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    asks.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let pem = authority.sign(&request(&asks), &worker, "a1").unwrap();
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let read = WorkerCertificate::read(&der).unwrap();
    assert_eq!((read.worker.as_str(), read.token.as_str()), ("one", "a1"));
    let left = read.expires.duration_since(SystemTime::now()).unwrap();
    assert!(left <= WORKER_LASTS && left > WORKER_LASTS - Duration::from_secs(60), "{left:?}");
    let (_, parsed) = X509Certificate::from_der(&der).unwrap();
    assert!(!parsed.is_ca() && parsed.subject_alternative_name().unwrap().is_none());
    assert_eq!(parsed.subject().iter_common_name().count(), 1);
    let usage = parsed.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && !usage.server_auth);
    assert!(!parsed.key_usage().unwrap().unwrap().value.key_cert_sign());
}

#[test]
fn what_is_no_request_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::init(folder.path(), &hosts(&["localhost"])).unwrap();
    let worker: WorkerName = "one".parse().unwrap();
    let plain = request(&CertificateParams::new(Vec::new()).unwrap());
    assert!(authority.sign(&plain, &worker, "a1").is_ok());
    // The last line of the content: the signature no longer fits the key.
    let mut lines: Vec<String> = plain.lines().map(str::to_owned).collect();
    let last = lines.len() - 2;
    let broken = if lines[last].starts_with('A') { "B" } else { "A" };
    lines[last].replace_range(..1, broken);
    let (mut asks, long) = (CertificateParams::new(Vec::new()).unwrap(), "x".repeat(REQUEST_BYTES_MAX + 1));
    asks.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    for wrong in ["", "no request", &lines.join("\n"), &long] {
        assert!(authority.sign(wrong, &worker, "a1").is_err(), "{wrong}");
    }
    // Who asks to be an authority becomes none.
    if let Ok(pem) = authority.sign(&request(&asks), &worker, "a1") {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        assert!(!X509Certificate::from_der(&der).unwrap().1.is_ca());
    }
}

#[test]
fn an_authority_is_made_once_and_its_keys_are_its_owners() {
    let folder = tempfile::tempdir().unwrap();
    let first = Authority::init(folder.path(), &hosts(&["localhost", "10.0.0.1", "::1"])).unwrap().hash;
    let again = Authority::init(folder.path(), &hosts(&["localhost"])).unwrap_err().to_string();
    assert!(again.contains("is not written over") && again.contains("`sweep certs renew"), "{again}");
    for secret in [KEY, COORDINATOR_KEY] {
        let mode = fs::metadata(folder.path().join(secret)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{secret}");
    }
    let before = leaf(&folder.path().join(COORDINATOR_CERTIFICATE));
    let (authority, kept) = Authority::renew(folder.path(), &[]).unwrap();
    assert_eq!((authority.hash.as_str(), kept), (first.as_str(), hosts(&["localhost", "10.0.0.1", "::1"])));
    let after = leaf(&folder.path().join(COORDINATOR_CERTIFICATE));
    assert_ne!(before, after);
    let (chain, is_of_it) = authority.complete(vec![after]);
    assert!(is_of_it && chain.len() == 2);
    let (_, kept) = Authority::renew(folder.path(), &hosts(&["other"])).unwrap();
    assert_eq!(kept, ["other"]);
}

#[test]
fn who_was_interrupted_is_told_what_to_remove() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(KEY), "begun").unwrap();
    let told = Authority::init(folder.path(), &hosts(&["localhost"])).unwrap_err().to_string();
    assert!(told.contains("ca.key is there") && told.contains("so remove it"), "{told}");
    assert_eq!(fs::read_to_string(folder.path().join(KEY)).unwrap(), "begun");
}

#[test]
fn what_cannot_be_an_authority_is_refused_with_the_file_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let open = |folder: &Path| {
        let config = AuthorityConfig { folder: folder.to_owned(), workers_last: WORKER_LASTS };
        format!("{:#}", Authority::open(&config).unwrap_err())
    };
    let missing = open(&folder.path().join("none"));
    assert!(missing.contains("none/ca.pem") && missing.contains("`sweep certs init"), "{missing}");
    for wrong in ["https://host", "host:7070", "", "a..b", "two words"] {
        let refused = Authority::init(folder.path(), &hosts(&[wrong])).unwrap_err().to_string();
        assert!(refused.contains(&format!("--host {wrong:?}")), "{refused}");
    }
    assert!(fs::read_dir(folder.path()).unwrap().next().is_none(), "nothing was made");
    let refused = Authority::renew(folder.path(), &hosts(&["host"])).unwrap_err();
    assert!(format!("{refused:#}").contains("ca.pem"), "{refused:#}");
    Authority::init(folder.path(), &hosts(&["host"])).unwrap();
    fs::write(folder.path().join(KEY), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    assert!(open(folder.path()).contains("do not go together"));
    fs::copy(folder.path().join(COORDINATOR_CERTIFICATE), folder.path().join(CERTIFICATE)).unwrap();
    fs::copy(folder.path().join(COORDINATOR_KEY), folder.path().join(KEY)).unwrap();
    assert!(open(folder.path()).contains("not the certificate of an authority"));
}

#[test]
fn a_certificate_of_another_authority_is_told_from_its_own() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let authority = Authority::init(one.path(), &hosts(&["host"])).unwrap();
    Authority::init(two.path(), &hosts(&["host"])).unwrap();
    let (chain, is_of_it) = authority.complete(vec![leaf(&two.path().join(COORDINATOR_CERTIFICATE))]);
    assert!(!is_of_it && chain.len() == 2);
}
