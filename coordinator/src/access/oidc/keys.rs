//! The public keys of an issuer, and when they are fetched again. Time is passed in.

use std::time::{Duration, Instant};

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse},
};
use serde_json::Value;

/// Keys of an issuer: some for now and the next ones. Others are left out.
const KEYS_MAX: usize = 100;
/// Fetches that unknown keys may cause one after the other, and how long it takes until one more may come. Anyone who reaches the port can
/// name a key.
const FETCHES_MAX: u32 = 5;
const FETCH_EVERY: Duration = Duration::from_secs(10);
/// Names of keys that the issuer did not have when it was asked, the latest ones, and for how long that counts.
const MISSING_MAX: usize = 64;
const MISSING_FOR: Duration = Duration::from_secs(60);

/// A key, with the one algorithm that it verifies.
pub(super) type Key = (Algorithm, DecodingKey);

/// What becomes of a key that is not here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sought {
    /// The issuer does not have it, as far as is known.
    Missing,
    /// The keys have to be fetched now.
    Fetched,
    /// They are being fetched.
    Away,
}

/// The keys.
#[derive(Debug)]
pub(super) struct Keys {
    keys: Vec<(Option<String>, Key)>,
    /// Whether they were ever here.
    are_known: bool,
    /// Names that the next fetch may bring.
    sought: Vec<Option<String>>,
    /// Names that the last ones did not bring.
    missing: Vec<(Option<String>, Instant)>,
    /// Fetches that may still be asked for, and when one more may.
    fetches: u32,
    next_fetch: Instant,
}

impl Keys {
    /// None yet.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            keys: Vec::new(),
            are_known: false,
            sought: Vec::new(),
            missing: Vec::new(),
            fetches: FETCHES_MAX,
            next_fetch: now + FETCH_EVERY,
        }
    }

    /// The key of this name. Without a name, the only one.
    pub(super) fn find(&self, kid: Option<&str>) -> Option<&Key> {
        match (kid, self.keys.as_slice()) {
            (None, [(_, key)]) => Some(key),
            (None, _) => None,
            (Some(kid), keys) => {
                keys.iter().find(|(name, _)| name.as_deref() == Some(kid)).map(|(_, key)| key)
            }
        }
    }

    /// A key is not here.
    pub(super) fn seek(&mut self, kid: Option<&str>, now: Instant) -> Sought {
        let is_it = |name: &Option<String>| name.as_deref() == kid;
        self.missing.retain(|(_, since)| now.duration_since(*since) < MISSING_FOR);
        if self.missing.iter().any(|(name, _)| is_it(name)) {
            return Sought::Missing;
        }
        if self.sought.iter().any(is_it) {
            return Sought::Away;
        }
        while self.fetches < FETCHES_MAX && self.next_fetch <= now {
            self.fetches += 1;
            self.next_fetch += FETCH_EVERY;
        }
        let Some(left) = self.fetches.checked_sub(1) else {
            return if self.are_known { Sought::Missing } else { Sought::Away };
        };
        if self.fetches == FETCHES_MAX {
            self.next_fetch = now + FETCH_EVERY;
        }
        self.fetches = left;
        // While the issuer is away, anyone may name more of them; the oldest is asked for again.
        if self.sought.len() >= MISSING_MAX {
            self.sought.remove(0);
        }
        self.sought.push(kid.map(str::to_owned));
        Sought::Fetched
    }

    /// The issuer has these keys.
    pub(super) fn replace(&mut self, set: Vec<Value>, now: Instant) {
        self.keys = set.into_iter().filter_map(key).take(KEYS_MAX).collect();
        self.are_known = true;
        for name in std::mem::take(&mut self.sought) {
            if self.find(name.as_deref()).is_none() {
                self.missing.push((name, now));
            }
        }
        let excess = self.missing.len().saturating_sub(MISSING_MAX);
        self.missing.drain(..excess);
    }
}

/// A key that verifies signatures of tokens; none where it is of another kind, or for something else.
fn key(value: Value) -> Option<(Option<String>, Key)> {
    let key: Jwk = serde_json::from_value(value).ok()?;
    if matches!(key.common.public_key_use, Some(PublicKeyUse::Encryption)) {
        return None;
    }
    let (algorithm, named) = match &key.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        _ => return None,
    };
    if key.common.key_algorithm.is_some_and(|other| other != named) {
        return None;
    }
    Some((key.common.key_id.clone(), (algorithm, DecodingKey::from_jwk(&key).ok()?)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ed(kid: &str) -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "kid": kid})
    }

    #[test]
    fn keys_of_other_kinds_and_for_other_ends_are_left_out() {
        let mut keys = Keys::new(Instant::now());
        let with = |mut key: Value, name: &str, value: &str| {
            key[name] = value.into();
            key
        };
        let set = vec![
            ed("good"),
            with(ed("sealed"), "use", "enc"),
            with(ed("other"), "alg", "RS256"),
            json!({"kty": "oct", "k": "c2VjcmV0", "kid": "shared", "alg": "HS256"}),
            json!({"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA", "kid": "large"}),
            json!({"kty": "new", "kid": "unknown"}),
            json!(7),
        ];
        keys.replace(set, Instant::now());
        assert_eq!(keys.keys.iter().map(|(name, _)| name.as_deref()).collect::<Vec<_>>(), [Some("good")]);
        assert!(keys.find(None).is_some(), "the only key needs no name");
        keys.replace(vec![ed("a"), ed("b")], Instant::now());
        assert!(keys.find(None).is_none() && keys.find(Some("b")).is_some());
        keys.replace((0..999).map(|name| ed(&name.to_string())).collect(), Instant::now());
        assert_eq!(keys.keys.len(), KEYS_MAX);
    }

    #[test]
    fn unknown_names_cause_few_fetches_and_new_keys_are_found_at_once() {
        let start = Instant::now();
        let mut keys = Keys::new(start);
        assert_eq!(keys.seek(Some("new"), start), Sought::Fetched);
        assert_eq!(keys.seek(Some("new"), start), Sought::Away);
        keys.replace(vec![ed("old")], start);
        assert_eq!(keys.seek(Some("new"), start), Sought::Missing);
        let names: Vec<String> = (0..100).map(|name| name.to_string()).collect();
        let fetches = |keys: &mut Keys, at| {
            names.iter().filter(|name| keys.seek(Some(name), at) == Sought::Fetched).count()
        };
        assert_eq!(fetches(&mut keys, start), FETCHES_MAX as usize - 1);
        assert_eq!(keys.seek(Some("later"), start), Sought::Missing);
        // One more after a while, and all of them after a long time.
        keys.replace(vec![ed("old")], start);
        assert_eq!(keys.seek(Some("later"), start + FETCH_EVERY), Sought::Fetched);
        keys.replace(vec![ed("old"), ed("later")], start + FETCH_EVERY);
        assert!(keys.find(Some("later")).is_some());
        let late = start + 100 * FETCH_EVERY;
        assert_eq!(fetches(&mut keys, late), FETCHES_MAX as usize);
        keys.replace(Vec::new(), late);
        assert!(keys.missing.len() <= MISSING_MAX);
        assert_eq!(keys.seek(Some("new"), late), Sought::Missing, "none is left to ask for");
    }

    #[test]
    fn before_the_first_keys_no_name_is_missing() {
        let start = Instant::now();
        let mut keys = Keys::new(start);
        let names: Vec<String> = (0..100).map(|name| name.to_string()).collect();
        assert!(names.iter().all(|name| keys.seek(Some(name), start) != Sought::Missing));
    }
}
