//! Tokens and owners.

use domain::record::Token;
use terms::{Role, VariantArray};

use super::*;

fn token(id: &str, role: Role) -> Token {
    Token {
        id: id.to_owned(),
        name: "ann@example.org".to_owned(),
        role,
        secret_hash: std::array::from_fn(|index| u8::try_from(index).unwrap() * 7),
        created_unix_ms: 5,
        created_by: "admin".to_owned(),
        expires_unix_ms: None,
        revoked_unix_ms: None,
    }
}

fn kept(token: &Token) -> Record {
    Record::TokenKept(Box::new(token.clone()))
}

#[tokio::test]
async fn tokens_are_kept_as_they_were_last() {
    for place in places() {
        let store = place.open().await;
        assert_eq!(store.tokens().await.unwrap(), []);
        let mut tokens: Vec<Token> = Role::VARIANTS.iter().map(|role| token(role.as_str(), *role)).collect();
        store.commit(&tokens.iter().map(kept).collect::<Vec<_>>()).await.unwrap();
        tokens[1].revoked_unix_ms = Some(9);
        tokens[2].expires_unix_ms = Some(u64::from(u32::MAX) * 1_000);
        // Both states of one token in a commit: the last counts.
        let before = token(tokens[1].role.as_str(), tokens[1].role);
        store.commit(&[kept(&before), kept(&tokens[1]), kept(&tokens[2])]).await.unwrap();
        tokens.sort_by(|a, b| a.id.cmp(&b.id));
        assert_eq!(store.tokens().await.unwrap(), tokens);
        store.close().await;
        drop(store);
        let store = place.open().await;
        assert_eq!(store.tokens().await.unwrap(), tokens, "after a restart");
        store.close().await;
    }
}

#[tokio::test]
async fn two_owners_have_the_same_request_id_and_one_of_an_older_row_is_still_known() {
    for place in places() {
        let store = place.open().await;
        let owned_by = |sweep, name: &str| {
            let mut owned = submitted(sweep, "serve");
            if let Record::SweepSubmitted { owner, .. } = &mut owned {
                *owner = Some(name.to_owned());
            }
            owned
        };
        let records = [owned_by(1, "ann"), owned_by(2, "ben"), submitted(3, "serve"), submitted(4, "")];
        store.commit(&records).await.unwrap();
        assert!(store.commit(&[owned_by(5, "ben")]).await.is_err(), "the store has it once for each");
        let ids = async || -> Vec<String> {
            store.load().await.unwrap().into_iter().map(|sweep| sweep.request_id).collect()
        };
        assert_eq!(ids().await, ["serve", "serve", "serve", ""]);
        store.close().await;
    }
}

#[tokio::test]
async fn a_sweep_has_the_owner_that_it_was_submitted_with() {
    for place in places() {
        let store = place.open().await;
        let mut owned = submitted(1, "");
        if let Record::SweepSubmitted { owner, .. } = &mut owned {
            *owner = Some("ann".to_owned());
        }
        store.commit(&[owned, submitted(2, "")]).await.unwrap();
        // A change writes the whole row again.
        let paused = |sweep| Record::SweepChanged { sweep, state: SweepState::Paused, ended_unix_ms: None };
        store.commit(&[paused(SweepId(1)), paused(SweepId(2))]).await.unwrap();
        let owners: Vec<_> = store.load().await.unwrap().into_iter().map(|sweep| sweep.owner).collect();
        assert_eq!(owners, [Some("ann".to_owned()), None]);
        store.close().await;
    }
}

#[tokio::test]
async fn a_token_that_was_changed_behind_the_store_is_corrupt() {
    for place in places() {
        let store = place.open().await;
        store.commit(&[kept(&token("a", Role::Viewer))]).await.unwrap();
        store.close().await;
        drop(store);
        place.change("UPDATE tokens SET role = 'admin'");
        let said = place.open().await.tokens().await.unwrap_err().to_string();
        assert!(said.contains("corrupt"), "{said}");
    }
}
