//! Who may write when several coordinators share a store.

use super::*;

/// A coordinator on a shared database, and the address of the leader that it heard.
async fn contender(
    url: &str,
    address: &'static str,
) -> (Arc<dyn Store>, mpsc::UnboundedReceiver<String>, JoinHandle<()>) {
    let store = open(url).await.unwrap();
    let (sender, told) = mpsc::unbounded_channel();
    let leading = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            store.lead(address, &|leader| drop(sender.send(leader.to_owned()))).await.unwrap();
        })
    };
    (store, told, leading)
}

#[tokio::test]
async fn one_coordinator_leads_and_a_replaced_one_cannot_write() {
    let Some(server) = Postgres::shared() else { return };
    let url = server.database();
    let (first, _, leads) = contender(&url, "http://first").await;
    leads.await.unwrap();
    // It leads, but shows no sign of life.
    let (second, mut told, leads) = contender(&url, "http://second").await;
    assert_eq!(told.recv().await.as_deref(), Some("http://first"));
    first.commit(&[submitted(1, "")]).await.unwrap();
    leads.await.unwrap();
    let late = first.commit(&[granted(1, 1)]).await;
    assert!(matches!(late, Err(StoreError::Superseded)), "{late:?}");
    assert!(matches!(first.deposed().await, StoreError::Superseded));
    second.commit(&[granted(1, 1)]).await.unwrap();
    assert_eq!(second.jobs(SweepId(1), 1, 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_leader_that_lives_keeps_the_lead_and_one_that_leaves_hands_it_over() {
    let Some(server) = Postgres::shared() else { return };
    let url = server.database();
    let (first, _, leads) = contender(&url, "http://first").await;
    leads.await.unwrap();
    let beating = {
        let first = Arc::clone(&first);
        tokio::spawn(async move { first.deposed().await })
    };
    let (second, mut told, leads) = contender(&url, "http://second").await;
    // Longer than a silent leader would keep the lead: it looks twice a second.
    for _ in 0..12 {
        assert_eq!(told.recv().await.as_deref(), Some("http://first"));
    }
    assert!(!leads.is_finished());
    beating.abort();
    first.close().await;
    leads.await.unwrap();
    second.commit(&[submitted(1, "")]).await.unwrap();
}

#[tokio::test]
async fn a_leader_that_lays_the_lead_down_is_replaced_while_it_is_still_there() {
    let Some(server) = Postgres::shared() else { return };
    let url = server.database();
    let (first, _, leads) = contender(&url, "http://first").await;
    leads.await.unwrap();
    first.commit(&[submitted(1, "")]).await.unwrap();
    first.lay_down().await;
    // Not because of a stalled heartbeat: this one would have seen it.
    let second = open(&url).await.unwrap();
    second.lead("http://second", &|leader| panic!("{leader} leads")).await.unwrap();
    let late = first.commit(&[granted(1, 1)]).await;
    assert!(matches!(late, Err(StoreError::Superseded)), "{late:?}");
    second.commit(&[granted(1, 1)]).await.unwrap();
}

#[tokio::test]
async fn a_leader_is_only_sure_to_lead_while_its_beats_are_kept_and_not_once_another_may_lead() {
    let Some(server) = Postgres::shared() else { return };
    let url = server.database();
    let (first, _, leads) = contender(&url, "http://first").await;
    leads.await.unwrap();
    assert!(!first.leads_surely(), "no beat was kept");
    let mut deposed = first.deposed();
    tokio::select! {
        error = &mut deposed => panic!("{error}"),
        () = until(|| first.leads_surely()) => {}
    }
    // It is frozen: nothing of it goes on but the clock.
    let (second, _, leads) = contender(&url, "http://second").await;
    leads.await.unwrap();
    assert!(!first.leads_surely());
    let error = deposed.await;
    assert!(matches!(error, StoreError::Superseded | StoreError::Silent(_)), "{error}");
    assert!(!first.leads_surely() && !second.leads_surely());
    second.commit(&[submitted(1, "")]).await.unwrap();
}

/// Waits until something is so.
async fn until(is_so: impl Fn() -> bool) {
    let so = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(tests::PATIENCE, so).await.unwrap();
}
