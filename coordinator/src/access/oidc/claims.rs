//! What the claims of a token say: a name, and a role.

use serde_json::{Map, Value};
use terms::Role;

use super::{super::RESERVED, NotLoggedIn, OidcConfig};

/// Longest name, in characters: a long address of mail with a prefix.
const NAME_CHARACTERS_MAX: usize = 200;
/// Roles from the strongest: someone of several groups has the first.
const BY_STRENGTH: [Role; 4] = [Role::Admin, Role::Submitter, Role::Worker, Role::Viewer];

/// The name of who was logged in.
///
/// # Errors
/// There is none, or none that can be one here.
pub(super) fn name(claims: &Map<String, Value>, config: &OidcConfig) -> Result<String, NotLoggedIn> {
    let claim = found(claims, &config.username_claim).and_then(Value::as_str).ok_or(NotLoggedIn::NoName)?;
    // An address that its issuer does not say it has seen answered may be someone else's.
    let is_mail = config.username_claim == "email";
    if is_mail && claims.get("email_verified") != Some(&Value::Bool(true)) {
        return Err(NotLoggedIn::MailNotVerified);
    }
    let name = format!("{}{claim}", config.username_prefix);
    let is_plain = |character: char| !character.is_control() && !character.is_whitespace();
    if claim.is_empty() || name.chars().count() > NAME_CHARACTERS_MAX || !name.chars().all(is_plain) {
        return Err(NotLoggedIn::BadName);
    }
    match RESERVED.contains(&name.as_str()) {
        true => Err(NotLoggedIn::ReservedName),
        false => Ok(name),
    }
}

/// The strongest role that a token's groups have here.
pub(super) fn role(claims: &Map<String, Value>, config: &OidcConfig) -> Option<Role> {
    let groups: Vec<&str> = match found(claims, &config.role_claim) {
        Some(Value::String(group)) => vec![group],
        Some(Value::Array(groups)) => groups.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let has = |role: Role| {
        config
            .roles
            .iter()
            .any(|(of, group)| *of == role && (group == "*" || groups.contains(&group.as_str())))
    };
    BY_STRENGTH.into_iter().find(|role| has(*role))
}

/// A claim by its name, or by names with points between them that lead into objects.
fn found<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    if let Some(claim) = claims.get(name) {
        return Some(claim);
    }
    let (first, rest) = name.split_once('.')?;
    found(claims.get(first)?.as_object()?, rest)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config(username_claim: &str, role_claim: &str) -> OidcConfig {
        OidcConfig {
            issuer: "https://issuer.example".to_owned(),
            audience: "sweep".to_owned(),
            username_claim: username_claim.to_owned(),
            username_prefix: String::new(),
            role_claim: role_claim.to_owned(),
            roles: vec![(Role::Admin, "root".to_owned()), (Role::Submitter, "ml".to_owned())],
            ca: None,
        }
    }

    fn of(claims: &Value) -> &Map<String, Value> {
        claims.as_object().unwrap()
    }

    #[test]
    fn names_are_texts_of_one_line_that_no_other_token_has() {
        let (none, bad, reserved) =
            (Err(NotLoggedIn::NoName), Err(NotLoggedIn::BadName), Err(NotLoggedIn::ReservedName));
        for (claim, expected) in [
            (json!("ann@example.org"), Ok("ann@example.org".to_owned())),
            (json!("auth0|5f"), Ok("auth0|5f".to_owned())),
            (json!("admin"), reserved.clone()),
            (json!("local"), reserved),
            (json!(""), bad.clone()),
            (json!("two words"), bad.clone()),
            (json!("line\n"), bad.clone()),
            (json!("a".repeat(201)), bad.clone()),
            (json!(7), none.clone()),
            (json!(null), none.clone()),
        ] {
            let claims = json!({"sub": claim});
            assert_eq!(name(of(&claims), &config("sub", "groups")), expected, "{claims}");
        }
        assert_eq!(name(of(&json!({})), &config("sub", "groups")), none);
        let with_prefix = OidcConfig { username_prefix: "oidc:".to_owned(), ..config("sub", "groups") };
        assert_eq!(name(of(&json!({"sub": "admin"})), &with_prefix), Ok("oidc:admin".to_owned()));
        assert_eq!(name(of(&json!({"sub": ""})), &with_prefix), bad);
        let mail = |verified: Value| {
            name(of(&json!({"email": "ann@a", "email_verified": verified})), &config("email", "groups"))
        };
        let unverified = Err(NotLoggedIn::MailNotVerified);
        assert_eq!(mail(json!(true)), Ok("ann@a".to_owned()));
        assert_eq!((mail(json!(false)), mail(json!("true"))), (unverified.clone(), unverified.clone()));
        assert_eq!(name(of(&json!({"email": "ann@a"})), &config("email", "groups")), unverified);
        assert_eq!(name(of(&json!({})), &config("email", "groups")), none);
    }

    #[test]
    fn the_strongest_group_decides_wherever_the_claim_is() {
        for (claims, expected) in [
            (json!({"groups": ["x", "ml"]}), Some(Role::Submitter)),
            (json!({"groups": ["ml", "root"]}), Some(Role::Admin)),
            (json!({"groups": "ml"}), Some(Role::Submitter)),
            (json!({"groups": ["ML", 7, null]}), None),
            (json!({"groups": {"ml": true}}), None),
            (json!({}), None),
        ] {
            assert_eq!(role(of(&claims), &config("sub", "groups")), expected, "{claims}");
        }
        let nested = json!({"realm_access": {"roles": ["ml"]}});
        assert_eq!(role(of(&nested), &config("sub", "realm_access.roles")), Some(Role::Submitter));
        let whole = json!({"https://example.org/roles": ["root"]});
        assert_eq!(role(of(&whole), &config("sub", "https://example.org/roles")), Some(Role::Admin));
        let mut open = config("sub", "groups");
        open.roles.push((Role::Viewer, "*".to_owned()));
        assert_eq!(role(of(&json!({})), &open), Some(Role::Viewer));
        assert_eq!(role(of(&json!({"groups": ["ml"]})), &open), Some(Role::Submitter));
    }
}
