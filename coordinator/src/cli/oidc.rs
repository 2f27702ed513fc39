//! The options of `sweep serve` for logins of an organisation.

use std::path::PathBuf;

use terms::{Role, VariantArray};

use super::failure::Failure;
use crate::access::OidcConfig;

/// Whose logins are taken.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct OidcArguments {
    /// Let people in with tokens of this OpenID Connect issuer too, by exactly the address that is in its tokens; its keys are found at
    /// ISSUER/.well-known/openid-configuration
    #[arg(long, env = "SWEEP_OIDC_ISSUER", value_name = "URL", requires = "oidc_audience")]
    oidc_issuer: Option<String>,
    /// Whom the issuer's tokens must be for: the id of the client that asks it for them
    #[arg(long, env = "SWEEP_OIDC_AUDIENCE", value_name = "NAME", requires = "oidc_issuer")]
    oidc_audience: Option<String>,
    /// The claim that is the name; sweeps belong to names, so take one that no one can choose for themselves
    #[arg(long, env = "SWEEP_OIDC_USERNAME_CLAIM", value_name = "CLAIM", default_value = "sub")]
    oidc_username_claim: String,
    /// What is put before the name, such as oidc: [default: nothing; a token of the same name owns the same sweeps]
    #[arg(
        long,
        env = "SWEEP_OIDC_USERNAME_PREFIX",
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    oidc_username_prefix: String,
    /// The claim with the groups, a text or a list; points lead into objects, as in realm_access.roles
    #[arg(long, env = "SWEEP_OIDC_ROLE_CLAIM", value_name = "CLAIM", default_value = "groups")]
    oidc_role_claim: String,
    /// The role of a group here, such as submitter=ml-team; * stands for everyone. May be given several times; of several roles the
    /// strongest counts
    #[arg(
        long,
        env = "SWEEP_OIDC_ROLE",
        value_name = "ROLE=GROUP",
        value_parser = role,
        value_delimiter = ',',
        requires = "oidc_issuer"
    )]
    oidc_role: Vec<(Role, String)>,
    /// Trust these certificate authorities (PEM) for the issuer, not those of the system
    #[arg(long, env = "SWEEP_OIDC_CA", value_name = "FILE", requires = "oidc_issuer")]
    oidc_ca: Option<PathBuf>,
}

fn role(text: &str) -> Result<(Role, String), String> {
    let known = || Role::VARIANTS.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(", ");
    let (role, group) = text.split_once('=').ok_or("write ROLE=GROUP, such as submitter=ml-team")?;
    let role = Role::from_name(role).ok_or_else(|| format!("{role:?} is no role; use one of {}", known()))?;
    if group.is_empty() {
        return Err("name a group after the =, or * for everyone".to_owned());
    }
    Ok((role, group.to_owned()))
}

impl OidcArguments {
    /// The same for a coordinator; none where no logins are taken.
    ///
    /// # Errors
    /// There is no token besides: the first admin's makes the others, and browsers log in with tokens.
    pub(super) fn config(self, has_token: bool) -> Result<Option<OidcConfig>, Failure> {
        let Some((issuer, audience)) = self.oidc_issuer.zip(self.oidc_audience) else { return Ok(None) };
        if !has_token {
            return Err(Failure::usage(
                "--oidc-issuer is for a coordinator with a token: without --token-file everyone may do everything",
            ));
        }
        Ok(Some(OidcConfig {
            issuer,
            audience,
            username_claim: self.oidc_username_claim,
            username_prefix: self.oidc_username_prefix,
            role_claim: self.oidc_role_claim,
            roles: self.oidc_role,
            ca: self.oidc_ca,
        }))
    }
}
