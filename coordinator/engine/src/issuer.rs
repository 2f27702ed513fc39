//! Who gives a command, and whose sweeps they may change.

use std::{fmt, sync::Arc};

/// Who gave a command: a name, for people and for what belongs to whom, from where, and by which token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    name: Arc<str>,
    rights: Rights,
    from: Arc<str>,
    token: Arc<str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rights {
    /// Of anyone who reaches a coordinator that asks no one.
    Everyone,
    /// To change all sweeps.
    All,
    /// To change their own.
    Own,
}

impl Issuer {
    /// Someone of that name, who changes their own sweeps.
    pub fn named(name: &str) -> Self {
        Self { name: name.into(), rights: Rights::Own, from: "".into(), token: "".into() }
    }

    /// Someone of that name who may change all sweeps.
    pub fn admin(name: &str) -> Self {
        Self { rights: Rights::All, ..Self::named(name) }
    }

    /// Anyone who can reach a coordinator that requires no token.
    pub fn local() -> Self {
        Self { rights: Rights::Everyone, ..Self::named("local") }
    }

    /// The same, from this place.
    #[must_use]
    pub fn from(self, place: &str) -> Self {
        Self { from: place.into(), ..self }
    }

    /// From where; may be empty.
    pub fn place(&self) -> &str {
        &self.from
    }

    /// The same, who has shown the stored token that begins so.
    #[must_use]
    pub fn by(self, token: &str) -> Self {
        Self { token: token.into(), ..self }
    }

    /// What their stored token begins with; empty where they have shown none.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Whose the sweeps are that they submit; no one's where no one was asked for a name.
    pub fn owner(&self) -> Option<Arc<str>> {
        (self.rights != Rights::Everyone).then(|| Arc::clone(&self.name))
    }

    /// The name of one whose sweeps may take only a part of the coordinator's memory; none of admins, and where no one is asked for a name.
    pub(crate) fn bound(&self) -> Option<&str> {
        (self.rights == Rights::Own).then_some(&*self.name)
    }

    /// Whether they may change a sweep of this owner.
    pub fn may_change(&self, owner: Option<&str>) -> bool {
        self.rights != Rights::Own || owner == Some(&*self.name)
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}
