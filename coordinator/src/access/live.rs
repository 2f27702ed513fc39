//! How long someone may stay who was let in: until their token is revoked or runs out. What they are being sent then ends.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use http_body::{Body, Frame, SizeHint};
use tokio_util::sync::CancellationToken;

/// How long a stream waits at a time for the end of its token by the clock on the wall, which may be set meanwhile.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Until when someone may stay; by default for as long as they like.
#[derive(Debug, Clone, Default)]
pub struct Until {
    /// Cancelled once their token is revoked.
    pub revoked: Option<CancellationToken>,
    /// When their token runs out.
    pub expires: Option<SystemTime>,
}

impl Until {
    /// Whether they may still stay.
    pub fn holds(&self, now: SystemTime) -> bool {
        let revoked = self.revoked.as_ref().is_some_and(CancellationToken::is_cancelled);
        !revoked && self.expires.is_none_or(|expires| now < expires)
    }

    /// Whether it has no end.
    pub fn is_unbounded(&self) -> bool {
        self.revoked.is_none() && self.expires.is_none()
    }

    /// Waits for the end.
    pub async fn ended(self) {
        let revoked = async {
            match &self.revoked {
                Some(revoked) => revoked.cancelled().await,
                None => std::future::pending().await,
            }
        };
        let expired = async {
            let Some(expires) = self.expires else { return std::future::pending().await };
            while let Ok(left) = expires.duration_since(SystemTime::now()) {
                tokio::time::sleep(left.min(LOOK_EVERY) + Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            () = revoked => {}
            () = expired => {}
        }
    }
}

/// Makes what is sent instead of the rest of a body.
type Last<B> = Box<dyn Fn() -> Option<Result<Frame<<B as Body>::Data>, <B as Body>::Error>> + Send>;

/// An answer's body that ends with a last frame once its reader may no longer stay.
pub struct Live<B: Body> {
    inner: Option<B>,
    ended: Pin<Box<dyn Future<Output = ()> + Send>>,
    last: Last<B>,
}

impl<B: Body> Live<B> {
    /// Of someone who may stay `until` then. `last` makes what is sent instead of the rest.
    pub fn new(
        inner: B,
        until: Until,
        last: impl Fn() -> Option<Result<Frame<B::Data>, B::Error>> + Send + 'static,
    ) -> Self {
        Self { inner: Some(inner), ended: Box::pin(until.ended()), last: Box::new(last) }
    }
}

impl<B: Body + Unpin> Body for Live<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.get_mut();
        let Some(inner) = &mut this.inner else { return Poll::Ready(None) };
        if this.ended.as_mut().poll(context).is_ready() {
            // What made the rest ends with it.
            this.inner = None;
            return Poll::Ready((this.last)());
        }
        Pin::new(inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_is_revoked_or_whose_time_is_over_may_not_stay() {
        let now = SystemTime::now();
        assert!(Until::default().holds(now) && Until::default().is_unbounded());
        let revoked = CancellationToken::new();
        let until = Until { revoked: Some(revoked.clone()), expires: None };
        assert!(until.holds(now));
        revoked.cancel();
        assert!(!until.holds(now));
        until.ended().await;
        let past = Until { revoked: None, expires: Some(now - Duration::from_secs(1)) };
        assert!(!past.holds(now));
        past.ended().await;
        assert!(Until { revoked: None, expires: Some(now + Duration::from_secs(60)) }.holds(now));
    }
}
