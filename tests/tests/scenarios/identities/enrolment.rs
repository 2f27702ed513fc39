//! Workers that join with a token and have a certificate from then on.

use std::os::unix::fs::PermissionsExt;

use futures_util::StreamExt;
use proto::{
    join::{CONNECT_AGAIN, JoinToken},
    v1::{access_service_client::AccessServiceClient, worker_service_client::WorkerServiceClient},
};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::*;

/// A coordinator with an authority of its own.
struct Enrolling {
    cluster: Cluster,
    folder: tempfile::TempDir,
}

impl Enrolling {
    /// Whose workers' certificates hold for this long.
    fn start(certificates_last: &str) -> Self {
        Self::on(None, certificates_last)
    }

    /// The same on this store, or on one of its own.
    fn on(store: Option<String>, certificates_last: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let certs = folder.path().join("certs").display().to_string();
        init(&certs);
        let admin = write(folder.path(), "admin", "all-of-it\n");
        let serve = ["--token-file", &admin, "--authority", &certs, "--certificates-last", certificates_last];
        let serve = serve.map(str::to_owned).to_vec();
        let options = ClusterOptions { store, serve, ..ClusterOptions::default() };
        Self { cluster: Cluster::start(options), folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn url(&self) -> String {
        format!("https://localhost:{}", self.cluster.coordinator.address.port())
    }

    fn sweep(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(program("sweep"));
        command.args(["--coordinator", &self.url(), "--tls-ca", &self.path("certs/ca.pem")]);
        run(command.args(["--token-file", &self.path("admin")]).args(arguments))
    }

    /// Makes a join token and puts it into a file of that name; returns its id.
    fn join_token(&self, name: &str, more: &[&str]) -> String {
        let create = ["token", "create", "--role", "worker", "--name", name, "--join", "-o", "json"];
        let made = self.sweep(&[&create[..], more].concat());
        assert_eq!(made.0, Some(0), "{made:?}");
        let made: serde_json::Value = serde_json::from_str(&made.1).unwrap();
        write(self.folder.path(), name, made["token"].as_str().unwrap());
        made["id"].as_str().unwrap().to_owned()
    }

    fn token(&self, name: &str) -> JoinToken {
        fs::read_to_string(self.path(name)).unwrap().parse().unwrap()
    }

    /// Starts a worker with the join token in this file.
    fn worker(&mut self, name: &str, join: &str) -> tests::Worker {
        self.cluster.workers_get(vec!["--join-file".to_owned(), self.path(join)]);
        self.cluster.worker(name)
    }

    /// What this worker keeps.
    fn kept(&self, worker: &str) -> PathBuf {
        self.cluster.folder.path().join(format!("spool-{worker}")).join("worker.pem")
    }

    /// A connection that shows this certificate and its key.
    async fn showing(&self, pem: Option<&str>) -> Result<Channel, tonic::transport::Error> {
        let authority = Certificate::from_pem(fs::read(self.path("certs/ca.pem")).unwrap());
        let mut tls = ClientTlsConfig::new().ca_certificate(authority);
        if let Some(pem) = pem {
            tls = tls.identity(Identity::from_pem(pem, pem));
        }
        Endpoint::from_shared(self.url()).unwrap().tls_config(tls).unwrap().connect().await
    }

    /// A certificate for this request, by the join token in a file.
    async fn enrolled(
        &self,
        join: &str,
        worker: &str,
        request: String,
    ) -> Result<v1::EnrolResponse, tonic::Status> {
        let mut client = AccessServiceClient::new(self.showing(None).await.unwrap());
        let request = v1::EnrolRequest { worker: worker.to_owned(), request };
        Ok(client.enrol(with_token(request, &self.token(join).token)).await?.into_inner())
    }

    /// One job is trained.
    fn trains(&self, sweep: &str) {
        let file = write(self.folder.path(), "sweep.yaml", &tests::source("{epochs: {value: 1}}").text);
        for arguments in [&["submit", file.as_str()][..], &["wait", sweep, "--timeout", "2m"]] {
            let done = self.sweep(arguments);
            assert_eq!(done.0, Some(0), "{done:?}");
        }
    }
}

fn init(folder: &str) {
    let made = run(Command::new(program("sweep")).args([
        "certs",
        "init",
        folder,
        "--host",
        "localhost",
        "--host",
        "127.0.0.1",
    ]));
    assert_eq!(made.0, Some(0), "{made:?}");
    assert!(made.1.contains("--authority") && made.1.contains("--join"), "{made:?}");
}

fn request(params: &CertificateParams, key: &KeyPair) -> String {
    params.serialize_request(key).unwrap().pem().unwrap()
}

/// What a worker asks for.
fn plain() -> (KeyPair, String) {
    let (key, params) = (KeyPair::generate().unwrap(), CertificateParams::new(Vec::new()).unwrap());
    let request = request(&params, &key);
    (key, request)
}

#[tokio::test]
async fn a_worker_that_is_started_on_the_spool_of_another_leaves_its_certificate_alone() {
    let mut enrolling = Enrolling::start("24h");
    enrolling.join_token("farm", &[]);
    let one = enrolling.worker("one", "farm");
    one.until_connected();
    let before = fs::read_to_string(enrolling.kept("one")).unwrap();
    let two = enrolling.cluster.worker_with_spool("two", "one");
    two.until_it_says("belongs to a worker that is running");
    assert_eq!(fs::read_to_string(enrolling.kept("one")).unwrap(), before);
    two.kill();
    // Once the first is gone, its spool and a certificate of its own name are there for the second.
    one.kill();
    let two = enrolling.cluster.worker_with_spool("two", "one");
    two.until_connected();
    assert_ne!(fs::read_to_string(enrolling.kept("one")).unwrap(), before);
}

#[tokio::test]
async fn a_worker_joins_with_a_token_renews_its_certificate_and_is_cut_off_with_the_token() {
    let mut enrolling = Enrolling::start("6s");
    let id = enrolling.join_token("farm", &[]);
    let worker = enrolling.worker("one", "farm");
    worker.until_connected();
    let kept = enrolling.kept("one");
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    let before = fs::read_to_string(&kept).unwrap();
    assert!(before.contains("PRIVATE KEY"));
    // The token is needed no more.
    fs::remove_file(enrolling.path("farm")).unwrap();
    worker.until_it_says("the certificate was renewed");
    assert_ne!(fs::read_to_string(&kept).unwrap(), before);
    // The first one has run out, and its stream with it.
    worker.until_it_says("connecting again with the certificate of now");
    worker.until_it_says("the certificate was renewed");
    enrolling.trains("1");
    // Under a coordinator that has only read of it, too.
    enrolling.cluster.replace_coordinator();
    worker.until_it_says("the certificate was renewed");
    enrolling.trains("2");
    assert_eq!(enrolling.sweep(&["token", "revoke", &id]).0, Some(0));
    worker.until_it_says("the coordinator no longer accepts the identity with which this worker joined");
    let (_, workers) = enrolling.sweep(&["workers", "-o", "json"]);
    assert!(workers.contains("the token by which it joined was revoked"), "{workers}");
    let log = enrolling.cluster.coordinator.log();
    assert!(log.contains(r#"a certificate for worker \"one\" by token"#), "{log}");
}

#[tokio::test]
async fn a_worker_that_has_joined_starts_again_without_its_token_and_joins_again_after_it_was_away_for_long()
{
    let mut enrolling = Enrolling::start("5s");
    let id = enrolling.join_token("farm", &[]);
    let worker = enrolling.worker("one", "farm");
    worker.until_connected();
    worker.kill();
    enrolling.cluster.workers_get(Vec::new());
    let worker = enrolling.cluster.worker("one");
    worker.until_connected();
    let kept = fs::read_to_string(enrolling.kept("one")).unwrap();
    worker.kill();
    let ended = until_shut_out(enrolling.showing(Some(&kept)).await.unwrap(), None).await;
    assert_eq!(ended.message(), CONNECT_AGAIN);
    let (code, log) = enrolling.cluster.worker("one").end();
    assert!(code != Some(0) && log.contains("was away for longer"), "{log}");
    assert!(log.contains("it was given no join token") && log.contains("sweep token create"), "{log}");
    // With the token that is still good, it joins again.
    let token = enrolling.token("farm").to_string();
    enrolling.cluster.workers_get(vec!["--join".to_owned(), token]);
    let worker = enrolling.cluster.worker("one");
    worker.until_connected();
    worker.kill();
    assert_eq!(enrolling.sweep(&["token", "revoke", &id]).0, Some(0));
    let (code, log) = enrolling.worker("two", "farm").end();
    assert!(code != Some(0) && log.contains("the token was revoked"), "{log}");
}

#[tokio::test]
async fn a_worker_that_knows_only_the_standby_joins_there_with_a_token_that_the_leader_has_just_made() {
    let Some(server) = Postgres::shared() else { return };
    let mut enrolling = Enrolling::on(Some(server.database()), "24h");
    let standby = enrolling.cluster.stand_by();
    enrolling.cluster.forget_others();
    enrolling.join_token("farm", &[]);
    // The worker is given the standby's address alone.
    let _leader = std::mem::replace(&mut enrolling.cluster.coordinator, standby);
    let worker = enrolling.worker("one", "farm");
    worker.line(|line| {
        assert!(!line.contains("cannot join yet"), "{line}");
        line.contains("going on at the one that leads").then_some(())
    });
    worker.until_connected();
}

/// Waits until a stream ends because what let it in has run out.
async fn until_shut_out(channel: Channel, token: Option<&str>) -> tonic::Status {
    let ask = HealthCheckRequest::default();
    let ask = match token {
        Some(token) => with_token(ask, token),
        None => Request::new(ask),
    };
    let mut stream = HealthClient::new(channel).watch(ask).await.unwrap().into_inner();
    let ended = async {
        loop {
            match stream.message().await {
                Ok(said) => assert!(said.is_some(), "the stream ended without a word"),
                Err(status) => return status,
            }
        }
    };
    tokio::time::timeout(tests::PATIENCE, ended).await.unwrap()
}

/// What a worker's certificate may not ask for.
async fn said(channel: Channel) -> Result<(), tonic::Status> {
    Client::new(channel).list_sweeps(v1::ListSweepsRequest::default()).await.map(drop)
}

#[tokio::test]
async fn a_token_that_has_run_out_lets_no_one_join_and_those_that_joined_stay() {
    let mut enrolling = Enrolling::start("24h");
    enrolling.join_token("farm", &["--expires", "10s"]);
    let worker = enrolling.worker("one", "farm");
    worker.until_connected();
    let (_, asked) = plain();
    let token = enrolling.token("farm").token;
    until_shut_out(enrolling.showing(None).await.unwrap(), Some(&token)).await;
    let refused = enrolling.enrolled("farm", "two", asked.clone()).await.unwrap_err();
    assert!(
        refused.code() == Code::Unauthenticated && refused.message().contains("has run out"),
        "{refused}"
    );
    let (code, log) = enrolling.worker("two", "farm").end();
    assert!(code != Some(0) && log.contains("the token has run out") && log.contains("--join"), "{log}");
    enrolling.trains("1");
    let kept = fs::read_to_string(enrolling.kept("one")).unwrap();
    let mut client = AccessServiceClient::new(enrolling.showing(Some(&kept)).await.unwrap());
    let ask = |worker: &str| v1::EnrolRequest { worker: worker.to_owned(), request: asked.clone() };
    client.enrol(ask("one")).await.unwrap();
    let refused = client.enrol(ask("two")).await.unwrap_err();
    assert!(
        refused.code() == Code::PermissionDenied && refused.message().contains("of the worker one"),
        "{refused}"
    );
    // Nor may it work under another's name.
    let hello = v1::Hello { protocol_version: proto::PROTOCOL_VERSION, name: "two".to_owned(), ..a_hello() };
    let refused = greeted(enrolling.showing(Some(&kept)).await.unwrap(), hello).await.unwrap_err();
    assert!(
        refused.code() == Code::PermissionDenied && refused.message().contains("of the worker one"),
        "{refused}"
    );
    drop(worker);
}

fn a_hello() -> v1::Hello {
    let slot = v1::Slot { index: 0, device: "cpu".into(), ..v1::Slot::default() };
    v1::Hello { slots: vec![slot], ..v1::Hello::default() }
}

/// What a coordinator says to a worker that begins so.
async fn greeted(channel: Channel, hello: v1::Hello) -> Result<v1::CoordinatorMessage, tonic::Status> {
    let said = v1::WorkerMessage { message: Some(v1::worker_message::Message::Hello(hello)) };
    // It says no more, and stays.
    let said = futures_util::stream::iter([said]).chain(futures_util::stream::pending());
    let mut answers = WorkerServiceClient::new(channel).session(said).await?.into_inner();
    answers.message().await.map(|message| message.expect("the stream does not end without a word"))
}

#[tokio::test]
async fn a_worker_touches_neither_weights_nor_checkpoints_of_another() {
    let mut enrolling = Enrolling::start("24h");
    enrolling.join_token("farm", &[]);
    let worker = enrolling.worker("two", "farm");
    worker.until_connected();
    let file = write(enrolling.folder.path(), "sweep.yaml", &tests::source("{epochs: {value: 999}}").text);
    assert_eq!(enrolling.sweep(&["submit", &file]).0, Some(0));
    let (key, asked) = plain();
    let given = enrolling.enrolled("farm", "one", asked).await.unwrap();
    let shown = format!("{}{}", key.serialize_pem(), given.certificate);
    let mut client = WorkerServiceClient::new(enrolling.showing(Some(&shown)).await.unwrap());
    let own = fs::read_to_string(enrolling.kept("two")).unwrap();
    let mut owns = WorkerServiceClient::new(enrolling.showing(Some(&own)).await.unwrap());
    let attempt = Some(terms::AttemptKey::new(1, 1, 1).into());
    let said = |problem: &str| v1::WeightsRequest {
        attempt,
        file: Some(v1::WeightsFile { bytes: 5, blake3: "0".repeat(64), problem: problem.to_owned() }),
        offset: 0,
        data: b"12345".to_vec(),
    };
    let ask = v1::GetCheckpointRequest { attempt, offset: 0 };
    // Once the job runs.
    let runs = async {
        while owns.weights(said("")).await.unwrap().into_inner().state() != v1::WeightsState::Waiting {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(tests::PATIENCE, runs).await.unwrap();
    for refused in [
        client.weights(said("")).await.map(drop),
        client.weights(said("it is gone")).await.map(drop),
        client.hand_over_checkpoint(said("")).await.map(drop),
        client.get_checkpoint(ask).await.map(drop),
    ] {
        let refused = refused.unwrap_err();
        assert!(
            refused.code() == Code::PermissionDenied && refused.message().contains("of the worker one"),
            "{refused}"
        );
    }
    assert_eq!(owns.get_checkpoint(ask).await.unwrap_err().code(), Code::NotFound);
    enrolling.cluster.coordinator.until_it_has_said("read the checkpoint of attempt 1/1#1");
    let log = enrolling.cluster.coordinator.log();
    let told =
        log.lines().filter(|line| line.contains("\"target\":\"audit\"") && line.contains("attempt 1/1#1"));
    assert_eq!(told.count(), 4, "{log}");
}

#[tokio::test]
async fn a_worker_joins_no_coordinator_of_another_authority() {
    let mut enrolling = Enrolling::start("24h");
    enrolling.join_token("farm", &[]);
    let JoinToken { token, authority } = enrolling.token("farm");
    let other = JoinToken { token, authority: "0".repeat(authority.len()) };
    write(enrolling.folder.path(), "other", &other.to_string());
    let (code, log) = enrolling.worker("one", "other").end();
    assert!(code != Some(0) && log.contains("another authority than the join token names"), "{log}");
    assert!(!enrolling.kept("one").exists());
    write(enrolling.folder.path(), "none", "a-token-without-a-hash");
    let (code, log) = enrolling.worker("one", "none").end();
    assert!(code != Some(0) && log.contains("is no join token"), "{log}");
}

#[tokio::test]
async fn a_request_for_other_names_and_roles_gets_a_workers_certificate_and_no_more() {
    let enrolling = Enrolling::start("24h");
    let id = enrolling.join_token("farm", &[]);
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "admin");
    params.distinguished_name.push(DnType::OrganizationalUnitName, "another-token");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let given = enrolling.enrolled("farm", "one", request(&params, &key)).await.unwrap();
    let (_, pem) = x509_parser::pem::parse_x509_pem(given.certificate.as_bytes()).unwrap();
    let certificate = pem.parse_x509().unwrap();
    let subject = certificate.subject().to_string();
    assert!(subject.contains("CN=one") && subject.contains(&id) && !subject.contains("admin"), "{subject}");
    assert!(certificate.subject_alternative_name().unwrap().is_none() && !certificate.is_ca());
    let usage = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && !usage.server_auth);
    // With it, one is a worker and nothing else.
    let shown = format!("{}{}", key.serialize_pem(), given.certificate);
    let channel = enrolling.showing(Some(&shown)).await.unwrap();
    assert_eq!(said(channel.clone()).await.unwrap_err().code(), Code::PermissionDenied);
    let mut access = AccessServiceClient::new(channel);
    let revoke = v1::RevokeTokenRequest { id: id.clone() };
    assert_eq!(access.revoke_token(revoke).await.unwrap_err().code(), Code::PermissionDenied);
    for (worker, asked) in
        [("one", "no request".to_owned()), ("a/b", plain().1), ("one", "x".repeat(1 << 16))]
    {
        let refused = enrolling.enrolled("farm", worker, asked).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
    // Only a worker's token is one to join with.
    let made = enrolling.sweep(&["token", "create", "--role", "viewer", "--name", "eve", "--join"]);
    assert_eq!(made.0, Some(2), "{made:?}");
}

#[tokio::test]
async fn certificates_of_another_authority_and_of_unknown_tokens_let_no_one_in() {
    let enrolling = Enrolling::start("24h");
    let id = enrolling.join_token("farm", &[]);
    let leaf = |issuer: &Issuer<'_, KeyPair>, token: &str| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "one");
        params.distinguished_name.push(DnType::OrganizationalUnitName, token);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let made = params.signed_by(&key, issuer).unwrap();
        format!("{}{}", key.serialize_pem(), made.pem())
    };
    // An authority of the same name, for the same token.
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "sweep authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let other = Issuer::new(params, KeyPair::generate().unwrap());
    let ours = |name: &str| fs::read_to_string(enrolling.path(&format!("certs/{name}"))).unwrap();
    let own = Issuer::from_ca_cert_pem(&ours("ca.pem"), KeyPair::from_pem(&ours("ca.key")).unwrap()).unwrap();
    let coordinators = format!("{}{}", ours("coordinator.key"), ours("coordinator.pem"));
    let (_, asked) = plain();
    let enrols = async |shown: &str| {
        let channel = enrolling.showing(Some(shown)).await.map_err(|_| Code::Unknown)?;
        let ask = v1::EnrolRequest { worker: "one".to_owned(), request: asked.clone() };
        let answer = AccessServiceClient::new(channel).enrol(ask).await;
        answer.map(drop).map_err(|status| status.code())
    };
    assert_eq!(enrols(&leaf(&own, &id)).await, Ok(()), "what is made here is let in where it is genuine");
    for wrong in [leaf(&other, &id), coordinators] {
        let code = enrols(&wrong).await.unwrap_err();
        assert!(
            code != Code::Unauthenticated && code != Code::PermissionDenied,
            "the handshake fails: {code}"
        );
    }
    assert_eq!(enrols(&leaf(&own, "of-another-store")).await, Err(Code::Unauthenticated));
    // An admin's token is no worker's.
    let mut client = AccessServiceClient::new(enrolling.showing(None).await.unwrap());
    let ask = v1::EnrolRequest { worker: "one".to_owned(), request: asked.clone() };
    let refused = client.enrol(with_token(ask, "all-of-it")).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_coordinators_certificate_is_renewed_under_it_and_an_authority_is_not_written_over() {
    let enrolling = Enrolling::start("24h");
    let certs = enrolling.path("certs");
    let sweep = |arguments: &[&str]| run(Command::new(program("sweep")).args(["certs"]).args(arguments));
    let again = sweep(&["init", &certs, "--host", "localhost"]);
    assert!(again.0 == Some(1) && again.1.contains("is not written over"), "{again:?}");
    let before = fs::read(enrolling.path("certs/coordinator.pem")).unwrap();
    let renewed = sweep(&["renew", &certs]);
    assert!(renewed.0 == Some(0) && renewed.1.contains("localhost, 127.0.0.1"), "{renewed:?}");
    assert_ne!(fs::read(enrolling.path("certs/coordinator.pem")).unwrap(), before);
    enrolling.cluster.coordinator.until_it_has_said("the certificate was read again");
    assert_eq!(enrolling.sweep(&["ls"]).0, Some(0));
    let wrong = sweep(&["init", &enrolling.path("other"), "--host", "https://localhost"]);
    assert!(wrong.0 == Some(1) && wrong.1.contains("without https://"), "{wrong:?}");
}

#[tokio::test]
async fn a_coordinator_without_an_authority_has_no_join_tokens() {
    let (cluster, _folder, admin) = guarded(&[]);
    let create = ["--token-file", &admin, "token", "create", "--role", "worker", "--name", "farm", "--join"];
    let refused = sweep(&cluster, &create);
    assert!(refused.0 == Some(1) && refused.1.contains("--authority"), "{refused:?}");
    let listed = sweep(&cluster, &["--token-file", &admin, "token", "list", "-o", "name"]);
    assert_eq!(listed.1, "", "none was made: {listed:?}");
}
