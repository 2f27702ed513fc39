//! Logins of an OpenID Connect issuer: a small real one over HTTP, whose keys and answers a test has in hand.

use std::{fs, net::SocketAddr, process::Command};

use serde_json::{Value, json};
use tests::{Cluster, ClusterOptions, program, write};
use tonic::{Code, Request};

mod issuer;

use issuer::{Issuer, Signing, now};

/// A coordinator that takes the logins of an issuer, and a folder for tokens.
struct Served {
    cluster: Cluster,
    /// Where it answers over HTTP.
    page: SocketAddr,
    issuer: Issuer,
    folder: tempfile::TempDir,
}

impl Served {
    fn start(issuer: Issuer) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let admin = folder.path().join("admin");
        fs::write(&admin, "all-of-it\n").unwrap();
        let url = issuer.url();
        let serve = [
            "--token-file",
            &admin.display().to_string(),
            "--http",
            "127.0.0.1:0",
            "--oidc-issuer",
            &url,
            "--oidc-audience",
            "sweep",
            "--oidc-username-claim",
            "email",
            "--oidc-role",
            "submitter=ml,viewer=guests",
            "--oidc-role",
            "admin=root",
        ];
        let serve = serve.into_iter().map(str::to_owned).collect();
        let cluster = Cluster::start(ClusterOptions { serve, ..ClusterOptions::default() });
        let page = cluster.coordinator.http();
        Self { cluster, page, issuer, folder }
    }

    /// What someone of these groups is given by the issuer.
    fn claims(&self, name: &str, groups: &[&str]) -> Value {
        json!({
            "iss": self.issuer.url(), "aud": ["other", "sweep"], "exp": now() + 300, "nbf": now() - 5,
            "sub": "5f", "email": name, "email_verified": true, "groups": groups,
        })
    }

    /// Runs `sweep` with a token; its exit code and what it wrote.
    fn sweep(&self, token: &str, arguments: &[&str]) -> (Option<i32>, String) {
        let file = self.folder.path().join("login");
        fs::write(&file, token).unwrap();
        let url = format!("http://{}", self.cluster.coordinator.address);
        let mut command = Command::new(program("sweep"));
        command.args(["--coordinator", &url, "--token-file"]).arg(&file).args(arguments);
        let output = command.env("SWEEP_CONFIG", "/dev/null").output().unwrap();
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    }

    /// The code and the message of one call with a token; nothing where it is answered.
    async fn refusal(&self, token: &str) -> Option<(Code, String)> {
        let mut request = Request::new(proto::v1::ListSweepsRequest::default());
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        let answer = self.cluster.client().await.list_sweeps(request).await;
        answer.err().map(|status| (status.code(), status.message().to_owned()))
    }

    /// The same once the keys that it needs were fetched, or not found.
    async fn settled(&self, token: &str) -> Option<(Code, String)> {
        let asks = async {
            loop {
                match self.refusal(token).await {
                    Some((Code::Unavailable, _)) => {}
                    settled => return settled,
                }
            }
        };
        tokio::time::timeout(tests::PATIENCE, asks).await.expect("the keys are fetched")
    }

    /// The status of a request over HTTP.
    fn http(&self, method: &str, path: &str, token: &str) -> u16 {
        issuer::status(self.page, method, path, token)
    }
}

#[tokio::test]
async fn a_login_has_the_name_and_the_role_that_its_claims_say_with_each_kind_of_key() {
    let keys = [Signing::rsa("r"), Signing::ecdsa("e"), Signing::ed25519("d")];
    let served = Served::start(Issuer::start(&keys));
    let file = write(served.folder.path(), "sweep.yaml", &tests::source("{epochs: {value: 1}}").text);
    for (key, name) in keys.iter().zip(["ann@example.org", "ben@example.org", "cleo@example.org"]) {
        let submitter = key.token(&served.claims(name, &["x", "ml"]));
        assert_eq!(served.settled(&submitter).await, None);
        let (code, said) = served.sweep(&submitter, &["submit", &file]);
        assert_eq!(code, Some(0), "{said}");
        let listed = served.sweep(&submitter, &["ls"]);
        assert!(listed.1.contains(name), "{listed:?}");
        let quotas = served.sweep(&submitter, &["quota", "set", name, "--slots", "1"]);
        assert!(quotas.0 == Some(1) && quotas.1.contains("for the role submitter"), "{quotas:?}");
        let guest = key.token(&served.claims("eve@example.org", &["guests"]));
        let refused = served.sweep(&guest, &["submit", &file]);
        assert!(refused.0 == Some(1) && refused.1.contains("for the role viewer"), "{refused:?}");
        assert_eq!(served.http("GET", "/api/v1/sweeps", &guest), 200);
        assert_eq!(served.http("POST", "/api/v1/sweeps/1/pause", &guest), 403);
        assert_eq!(served.http("POST", "/api/v1/sweeps/1/pause", &format!("{guest}x")), 401);
    }
    let ben = keys[0].token(&served.claims("ben@example.org", &["ml"]));
    let others = served.sweep(&ben, &["pause", "1"]);
    assert!(others.0 == Some(1) && others.1.contains("belongs to ann@example.org"), "{others:?}");
    let root = keys[0].token(&served.claims("root@example.org", &["ml", "root"]));
    let quota = served.sweep(&root, &["quota", "set", "ann@example.org", "--slots", "1"]);
    assert_eq!(quota.0, Some(0), "{quota:?}");
    let log = served.cluster.coordinator.log();
    assert!(log.contains("\"who\":\"root@example.org\""), "{log}");
    assert!(!log.contains(&root), "no token is in a log");
    // The coordinator's own tokens still hold.
    assert_eq!(served.sweep("all-of-it", &["token", "list"]).0, Some(0));
}

#[tokio::test]
async fn a_token_that_is_not_quite_right_lets_no_one_in() {
    let (rsa, other) = (Signing::rsa("r"), Signing::ed25519("r"));
    let served = Served::start(Issuer::start(std::slice::from_ref(&rsa)));
    let good = served.claims("ann@example.org", &["ml"]);
    assert_eq!(served.settled(&rsa.token(&good)).await, None);
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        rsa.token(&claims)
    };
    let without = |name: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        rsa.token(&claims)
    };
    let mut changed = rsa.token(&good);
    changed.replace_range(changed.len() - 8..changed.len() - 4, "AAAA");
    let of_parts = |header: &Value, signature: &str| issuer::token(header, &good, signature);
    let rs256 = json!({"alg": "RS256", "typ": "JWT", "kid": "r"});
    for (what, token, expected) in [
        ("expired", with("exp", json!(now() - 300)), "has run out"),
        ("without an end", without("exp"), "is wrong"),
        ("an end that is no number", with("exp", json!("soon")), "is wrong"),
        ("not yet", with("nbf", json!(now() + 300)), "does not hold yet"),
        ("another audience", with("aud", json!("other")), "another audience"),
        ("without an audience", without("aud"), "is wrong"),
        ("another issuer", with("iss", json!("https://issuer.example")), "another issuer"),
        ("without an issuer", without("iss"), "is wrong"),
        ("no name", without("email"), "no name"),
        ("a name of the coordinator's own", with("email", json!("admin")), "one of the coordinator's own"),
        ("mail that is not verified", with("email_verified", json!(false)), "is not verified"),
        ("no role", with("groups", json!(["others"])), "has no role here"),
        ("changed", changed, "is wrong"),
        ("another key of the name", other.token(&good), "is wrong"),
        ("alg none", of_parts(&json!({"alg": "none", "kid": "r"}), ""), "is wrong"),
        ("alg None", of_parts(&json!({"alg": "None", "kid": "r"}), ""), "is wrong"),
        ("HS256 with the public key", rsa.forged(&good), "is wrong"),
        ("RS512 of an RS256 key", of_parts(&json!({"alg": "RS512", "kid": "r"}), "AAAA"), "is wrong"),
        ("no signature", of_parts(&rs256, ""), "is wrong"),
        ("longer than there are", with("more", json!("x".repeat(9_500))), "is wrong"),
    ] {
        let Some((code, said)) = served.refusal(&token).await else { panic!("{what}: let in") };
        assert!(code == Code::Unauthenticated && said.contains(expected), "{what}: {code:?} {said}");
    }
    assert_eq!(served.refusal(&rsa.token(&good)).await, None);
}

#[tokio::test]
async fn keys_are_replaced_kept_while_the_issuer_is_away_and_not_fetched_without_end() {
    let (old, new) = (Signing::ecdsa("old"), Signing::ecdsa("new"));
    let issuer = Issuer::start(std::slice::from_ref(&old));
    issuer.goes_away(true);
    let served = Served::start(issuer);
    let claims = served.claims("ann@example.org", &["ml"]);
    // The coordinator starts without its issuer, and lets others in.
    let early = served.refusal(&old.token(&claims)).await;
    assert!(early.as_ref().is_some_and(|(code, _)| *code == Code::Unavailable), "{early:?}");
    assert_eq!(served.sweep("all-of-it", &["ls"]).0, Some(0));
    served.issuer.goes_away(false);
    assert_eq!(served.settled(&old.token(&claims)).await, None);
    served.issuer.has(std::slice::from_ref(&new));
    assert_eq!(served.settled(&new.token(&claims)).await, None);
    let refused = served.settled(&old.token(&claims)).await;
    assert!(refused.as_ref().is_some_and(|(_, said)| said.contains("does not have")), "{refused:?}");
    served.issuer.goes_away(true);
    let asked = served.issuer.asked();
    for number in 0..200 {
        let unknown = new.named(&format!("k{number}")).token(&claims);
        let (code, said) = served.refusal(&unknown).await.unwrap();
        assert!(matches!(code, Code::Unavailable | Code::Unauthenticated), "{said}");
    }
    assert_eq!(served.refusal(&new.token(&claims)).await, None, "known keys hold while the issuer is away");
    let more = served.issuer.asked() - asked;
    assert!(more <= 8, "200 unknown keys have the issuer asked {more} times");
    let log = served.cluster.coordinator.log();
    assert!(log.contains("the keys of the OIDC issuer cannot be fetched"), "{log}");
}

#[tokio::test]
async fn an_issuer_that_answers_nonsense_gives_no_keys_and_wrong_options_do_not_start() {
    let key = Signing::ed25519("k");
    for (nonsense, said) in [
        (issuer::Answers::Huge, "more than 1048576 bytes"),
        (issuer::Answers::OfAnother, "the issuer calls itself"),
        (issuer::Answers::NoJson, "does not answer as an issuer does"),
        (issuer::Answers::KeysElsewhere, "keys are fetched over https:// alone"),
    ] {
        let issuer = Issuer::start(std::slice::from_ref(&key));
        issuer.answers(nonsense);
        let served = Served::start(issuer);
        served.cluster.coordinator.until_it_has_said(said);
        let token = key.token(&served.claims("ann@example.org", &["ml"]));
        assert_eq!(served.refusal(&token).await.unwrap().0, Code::Unavailable, "{said}");
    }
    let folder = tempfile::tempdir().unwrap();
    let token = write(folder.path(), "admin", "secret\n");
    let issuer = ["--oidc-issuer", "https://issuer.example", "--oidc-audience", "a"];
    for (arguments, said) in [
        (vec!["--oidc-issuer", "https://issuer.example"], "--oidc-audience"),
        (
            [&issuer[..], &["--oidc-role", "viewer=*"]].concat(),
            "without --token-file everyone may do everything",
        ),
        ([&["--token-file", token.as_str()], &issuer[..]].concat(), "give --oidc-role ROLE=GROUP"),
        (
            [&["--token-file", token.as_str()], &issuer[..], &["--oidc-role", "king=*"]].concat(),
            "\"king\" is no role",
        ),
        (
            vec![
                "--token-file",
                &token,
                "--oidc-issuer",
                "http://issuer.example",
                "--oidc-audience",
                "a",
                "--oidc-role",
                "viewer=*",
            ],
            "keys are fetched over https:// alone",
        ),
    ] {
        let mut command = Command::new(program("sweep"));
        command.current_dir(folder.path()).args(["serve", "--listen", "127.0.0.1:0"]).args(&arguments);
        let output = command.env("SWEEP_CONFIG", "/dev/null").output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(output.status.code() == Some(2) && text.contains(said), "{arguments:?}: {text}");
    }
}
