//! Answers that are made once for several who ask.

use std::time::Duration;

use futures_util::FutureExt;
use terms::SweepId;
use tokio::sync::oneshot;

use super::{
    kept::{Bounds, Kept},
    *,
};

const BOUNDS: Bounds<u32> =
    Bounds { fresh: Duration::from_secs(3_600), kept_max: 2, size: |_| 1, size_max: 10 };

#[tokio::test]
async fn what_was_made_of_some_sweeps_serves_for_the_same_in_this_order() {
    let served = filled::served().await;
    let kept = Kept::default();
    let of = async |sweeps: &[u64], made: u32| {
        let sweeps: Vec<SweepId> = sweeps.iter().copied().map(SweepId).collect();
        kept.of(&served.api, &sweeps, &BOUNDS, async { Ok(made) }).await.unwrap()
    };
    assert_eq!(of(&[1], 1).await, 1);
    assert_eq!(of(&[1, 1], 2).await, 2);
    assert_eq!((of(&[1], 3).await, of(&[1, 1], 4).await), (1, 2));
    assert_eq!(of(&[1, 1, 1], 5).await, 5);
    assert_eq!((of(&[1, 1], 6).await, of(&[1], 7).await), (2, 7), "two are kept, the latest");
}

#[tokio::test]
async fn what_is_kept_of_one_sweep_comes_while_that_of_another_is_made() {
    let served = filled::served().await;
    let kept = Kept::default();
    let api = &served.api;
    let (one, other, third) = ([SweepId(1)], [SweepId(1), SweepId(1)], [SweepId(1), SweepId(1), SweepId(1)]);
    assert_eq!(kept.of(api, &other, &BOUNDS, async { Ok(7) }).await.unwrap(), 7);
    let (go, goes) = oneshot::channel();
    assert!(kept.is_idle(&one));
    let mut held = Box::pin(kept.of(api, &one, &BOUNDS, async { Ok(goes.await.unwrap()) }));
    begun(&mut held).await;
    assert!(!kept.is_idle(&one) && kept.is_idle(&third), "one is made, and there is room for another");
    assert_eq!(kept.of(api, &other, &BOUNDS, async { Ok(8) }).await.unwrap(), 7, "it is kept");
    assert_eq!(kept.of(api, &third, &BOUNDS, async { Ok(9) }).await.unwrap(), 9, "two are made at a time");
    let mut again = Box::pin(kept.of(api, &one, &BOUNDS, async { panic!("it is being made already") }));
    begun(&mut again).await;
    go.send(1).unwrap();
    assert_eq!((held.await.unwrap(), again.await.unwrap()), (1, 1));
    assert!(kept.is_idle(&one));
}

/// Polls until nothing else can be done without what it waits for.
async fn begun(future: &mut (impl Future<Output: std::fmt::Debug> + Unpin)) {
    for _ in 0..100 {
        assert!((&mut *future).now_or_never().is_none(), "it has to wait");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
