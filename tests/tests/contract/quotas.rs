//! Quotas.

use domain::record::Quota;

use super::*;

fn quota(owner: &str, slots: Option<u32>, weight: u32) -> Quota {
    Quota { owner: owner.to_owned(), slots, weight, set_unix_ms: 5, set_by: "admin".to_owned() }
}

fn kept(quota: &Quota) -> Record {
    Record::QuotaKept(Box::new(quota.clone()))
}

#[tokio::test]
async fn quotas_are_kept_as_they_were_last_in_the_order_of_their_owners() {
    for place in places() {
        let store = place.open().await;
        assert_eq!(store.quotas().await.unwrap(), []);
        let quotas =
            [quota("Zoe", Some(u32::MAX), 1_000), quota("ann@example.org", None, 3), quota("é", Some(0), 1)];
        store.commit(&quotas.iter().map(kept).collect::<Vec<_>>()).await.unwrap();
        let last = quota("Zoe", None, 1);
        // Both states of one in a commit: the last counts.
        store.commit(&[kept(&quota("Zoe", Some(1), 1)), kept(&last)]).await.unwrap();
        let expected = [last, quotas[1].clone(), quotas[2].clone()];
        assert_eq!(store.quotas().await.unwrap(), expected);
        store.close().await;
        drop(store);
        let store = place.open().await;
        assert_eq!(store.quotas().await.unwrap(), expected, "after a restart");
        store.close().await;
        drop(store);
        place.change("UPDATE quotas SET slots = 9");
        let said = place.open().await.quotas().await.unwrap_err().to_string();
        assert!(said.contains("corrupt"), "{said}");
    }
}
