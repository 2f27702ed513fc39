//! Answers that are made once for several who ask.

use std::time::Duration;

use terms::SweepId;

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
