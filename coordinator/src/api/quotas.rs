//! Quotas: how many slots each owner of sweeps may hold, and how large their shares are.

use domain::record::{Quota, Token};
use engine::{Issuer, QuotaView, command::KeepQuota, query::ListQuotas};

use super::{Api, ApiError, tokens::now};
use crate::access::RESERVED;

/// Most slots of a quota: more than any cluster has.
pub const QUOTA_SLOTS_MAX: u32 = 1_000_000;
/// Largest weight of a share: an owner with a thousandth of another's share has next to nothing.
pub const WEIGHT_MAX: u32 = 1_000;
/// Longest name of an owner, in characters: more than any name of a token has.
const OWNER_CHARACTERS_MAX: usize = 200;

/// What changes in a quota.
#[derive(Debug, Clone)]
pub struct QuotaChange {
    pub owner: String,
    /// None to leave it as it is.
    pub slots: Option<u32>,
    /// None to leave it as it is.
    pub weight: Option<u32>,
}

impl Api {
    /// Sets an owner's quota. Also answers whether anything is known of the owner: a token, or a sweep. Who logs in at an organisation's
    /// issuer is known by their sweeps alone.
    ///
    /// # Errors
    /// There can be no such quota, or there are too many.
    pub async fn set_quota(
        &self,
        issuer: Issuer,
        change: QuotaChange,
    ) -> Result<(QuotaView, bool), ApiError> {
        let QuotaChange { owner, slots, weight } = change;
        self.wants_tokens()?;
        check_owner(&owner)?;
        if slots.is_none() && weight.is_none() {
            return Err(ApiError::Invalid("nothing is set; give a number of slots, or a weight".to_owned()));
        }
        if slots.is_some_and(|slots| slots > QUOTA_SLOTS_MAX) {
            return Err(ApiError::Invalid(format!("a quota has at most {QUOTA_SLOTS_MAX} slots")));
        }
        if weight.is_some_and(|weight| !(1..=WEIGHT_MAX).contains(&weight)) {
            return Err(ApiError::Invalid(format!("a weight is a whole number from 1 to {WEIGHT_MAX}")));
        }
        // One after the other, so that what one sets is not taken back by another that knew nothing of it.
        let _only = self.tokens_change.lock().await;
        let before = self.quotas().await?.into_iter().map(|view| view.quota);
        let before = before.into_iter().find(|quota| quota.owner == owner);
        let (slots_before, weight_before) = before.map_or((None, 1), |quota| (quota.slots, quota.weight));
        let (slots, weight) = (slots.or(slots_before), weight.unwrap_or(weight_before));
        let quota = Quota { owner, slots, weight, set_unix_ms: now(), set_by: issuer.to_string() };
        let view = self.leadership.command(issuer, KeepQuota(quota)).await?;
        let is_known = view.has_sweeps || self.has_token(&view.quota.owner);
        Ok((view, is_known))
    }

    /// Whether a token is of that name that was not revoked.
    fn has_token(&self, owner: &str) -> bool {
        let holds = |token: &Token| token.name == owner && token.revoked_unix_ms.is_none();
        RESERVED.contains(&owner) || self.identities.all().iter().any(holds)
    }

    /// The quotas that hold, in the order of their owners.
    ///
    /// # Errors
    /// This coordinator does not lead.
    pub async fn quotas(&self) -> Result<Vec<QuotaView>, ApiError> {
        Ok(self.leadership.query(ListQuotas).await?)
    }

    /// Lifts an owner's quota.
    ///
    /// # Errors
    /// There is none of that name.
    pub async fn remove_quota(&self, issuer: Issuer, owner: String) -> Result<QuotaView, ApiError> {
        self.wants_tokens()?;
        check_owner(&owner)?;
        let _only = self.tokens_change.lock().await;
        let mut quotas = self.quotas().await?.into_iter();
        if !quotas.any(|view| view.quota.owner == owner) {
            return Err(ApiError::NotFound(format!(
                "there is no quota for {owner:?}; `sweep quota list` lists them"
            )));
        }
        let quota = Quota { owner, slots: None, weight: 1, set_unix_ms: now(), set_by: issuer.to_string() };
        Ok(self.leadership.command(issuer, KeepQuota(quota)).await?)
    }
}

fn check_owner(owner: &str) -> Result<(), ApiError> {
    let is_plain = |character: char| !character.is_control() && !character.is_whitespace();
    let length = owner.chars().count();
    if length == 0 || length > OWNER_CHARACTERS_MAX || !owner.chars().all(is_plain) {
        return Err(ApiError::Invalid(format!(
            "an owner is the name of a token: 1 to {OWNER_CHARACTERS_MAX} characters without spaces, which {:?} is not",
            domain::text::shortened(owner, OWNER_CHARACTERS_MAX)
        )));
    }
    Ok(())
}
