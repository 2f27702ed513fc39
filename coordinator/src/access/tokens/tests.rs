//! Tokens of files and of the store.

use std::os::unix::fs::PermissionsExt;

use super::*;

/// A token of that number and role, whose secret is `secret`.
pub(crate) fn token(id: &str, role: Role) -> Token {
    Token {
        id: id.to_owned(),
        name: "ann".to_owned(),
        role,
        secret_hash: *blake3::hash(b"secret").as_bytes(),
        created_unix_ms: 1,
        created_by: ADMIN.to_owned(),
        expires_unix_ms: None,
        revoked_unix_ms: None,
    }
}

fn identities() -> Identities {
    let text = |text: &str| Some(Secret::Text(text.to_owned()));
    Identities::open(TokenFiles { admin: text("all.of-it"), viewer: text("look") }).unwrap()
}

#[test]
fn a_token_has_its_role_and_no_other_has_one() {
    let known = identities();
    known.take(vec![token("a", Role::Worker)], true);
    let of = |given: &str| known.of_token(given).map(|caller| (caller.role, caller.name));
    assert_eq!(of("all.of-it"), Ok((Role::Admin, None)));
    assert_eq!(of("look"), Ok((Role::Viewer, Some(VIEWER.into()))));
    assert_eq!(of("a.secret"), Ok((Role::Worker, Some("ann".into()))));
    for wrong in
        ["", "all.of-i", "all.of-itt", "a.", "a", "a.secre", "a.secrets", "b.secret", ".secret", "look "]
    {
        assert_eq!(of(wrong), Err(NotKnown::Wrong), "{wrong:?}");
    }
}

#[test]
fn a_join_token_is_not_taken_for_a_login() {
    let config = OidcConfig {
        issuer: "https://issuer.example".to_owned(),
        audience: "sweep".to_owned(),
        username_claim: "sub".to_owned(),
        username_prefix: String::new(),
        role_claim: "groups".to_owned(),
        roles: vec![(Role::Viewer, "*".to_owned())],
        ca: None,
    };
    let files = TokenFiles { admin: Some(Secret::Text("all-of-it".to_owned())), viewer: None };
    let known = Identities::with_logins(files, Some(config)).unwrap();
    known.take(vec![token("a", Role::Worker)], true);
    let of = |given: &str| known.of_token(given).map(|caller| caller.role);
    assert_eq!(of(&format!("a.secret.{}", "0f".repeat(32))), Err(NotKnown::Wrong));
    assert_eq!(of("head.claims.signature"), Err(NotKnown::NotLoggedIn(NotLoggedIn::Wrong)));
    assert_eq!(of("a.secret"), Ok(Role::Worker));
}

#[test]
fn a_token_that_was_revoked_or_has_run_out_lets_no_one_in_and_ends_those_who_are() {
    let known = identities();
    known.take(vec![token("a", Role::Worker)], true);
    let caller = known.of_token("a.secret").unwrap();
    known.keep(Token { revoked_unix_ms: Some(2), ..token("a", Role::Worker) });
    assert!(!caller.until.holds(SystemTime::now()));
    assert_eq!(known.of_token("a.secret").unwrap_err(), NotKnown::Revoked);
    // Taken from the store as it was before, it stays revoked.
    known.take(vec![token("a", Role::Worker)], true);
    assert_eq!(known.stored("a").unwrap().revoked_unix_ms, Some(2));
    assert_eq!(known.of_token("a.secret").unwrap_err(), NotKnown::Revoked);
    known.keep(Token { expires_unix_ms: Some(1), ..token("b", Role::Worker) });
    assert_eq!(known.of_token("b.secret").unwrap_err(), NotKnown::Expired);
    let later = Token { expires_unix_ms: Some(u64::from(u32::MAX) * 1_000), ..token("c", Role::Viewer) };
    known.keep(later);
    assert_eq!(known.of_token("c.secret").unwrap().role, Role::Viewer);
}

#[test]
fn a_certificate_of_a_token_that_was_revoked_is_told_to_join_again() {
    let known = identities();
    known.take(vec![token("a", Role::Worker)], true);
    let expires = SystemTime::now() + Duration::from_secs(60);
    let shown = WorkerCertificate { worker: "one".to_owned(), token: "a".to_owned(), expires };
    assert_eq!(known.of_certificate(&shown).unwrap().worker.as_deref(), Some("one"));
    known.keep(Token { revoked_unix_ms: Some(2), ..token("a", Role::Worker) });
    let refused = known.of_certificate(&shown).unwrap_err();
    assert!(refused == NotKnown::JoinRevoked && refused.to_string().contains("join again"), "{refused}");
}

#[test]
fn a_coordinator_that_does_not_lead_takes_no_unknown_token_for_a_wrong_one() {
    let known = identities();
    assert_eq!(known.of_token("a.secret").unwrap_err(), NotKnown::Unsure);
    known.take(Vec::new(), true);
    assert_eq!(known.of_token("a.secret").unwrap_err(), NotKnown::Wrong);
    known.may_be_old();
    assert_eq!(known.of_token("a.secret").unwrap_err(), NotKnown::Unsure);
    assert_eq!(known.of_token("nonsense").unwrap_err(), NotKnown::Wrong);
}

#[test]
fn a_token_that_is_short_or_that_others_can_read_is_warned_of_and_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    for (token, mode, expected) in [
        ("0123456789abcdef", 0o600, &[][..]),
        ("0123456789abcde", 0o600, &["has 15 characters"]),
        ("x", 0o644, &["mode 0644", "has 1 character, which"]),
    ] {
        std::fs::write(&path, token).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let told = weaknesses(&path, token);
        assert_eq!(told.len(), expected.len(), "{told:?}");
        assert!(told.iter().zip(expected).all(|(told, part)| told.contains(part)), "{told:?}");
        let files = TokenFiles { admin: Some(Secret::File(path.clone())), viewer: None };
        assert!(Identities::open(files).unwrap().of_token(token).is_ok());
    }
}

#[test]
fn what_was_read_before_a_coordinator_led_does_not_make_it_doubt_and_one_that_was_frozen_doubts() {
    let known = identities();
    known.take(Vec::new(), true);
    known.take(vec![token("a", Role::Worker)], false);
    assert_eq!(known.of_token("b.secret").unwrap_err(), NotKnown::Wrong);
    let is_sure = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let sure = Arc::clone(&is_sure);
    known.sure_while(move || sure.load(std::sync::atomic::Ordering::Relaxed));
    assert_eq!(known.of_token("b.secret").unwrap_err(), NotKnown::Unsure);
    let expires = SystemTime::now() + Duration::from_secs(60);
    let shown = WorkerCertificate { worker: "one".to_owned(), token: "b".to_owned(), expires };
    assert_eq!(known.of_certificate(&shown).unwrap_err(), NotKnown::Unsure);
    is_sure.store(true, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(known.of_token("b.secret").unwrap_err(), NotKnown::Wrong);
    assert!(known.of_token("a.secret").is_ok());
}

#[test]
fn files_are_read_again_and_a_broken_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "first\n").unwrap();
    let files = TokenFiles { admin: Some(Secret::File(path.clone())), viewer: None };
    let known = Identities::open(files).unwrap();
    assert_eq!(known.of_token("first").unwrap().name.as_deref(), Some(ADMIN));
    std::fs::write(&path, "two words").unwrap();
    assert!(known.read_again().unwrap_err().to_string().contains("one line of printable"));
    assert!(known.of_token("first").is_ok());
    std::fs::write(&path, "second").unwrap();
    known.read_again().unwrap();
    assert!(known.of_token("first").is_err() && known.of_token("second").is_ok());
    let same = Some(Secret::File(path));
    let both = Identities::open(TokenFiles { admin: same.clone(), viewer: same });
    assert!(both.unwrap_err().to_string().contains("make another for viewers"));
}
