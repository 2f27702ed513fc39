//! A second look for who shows a token that this coordinator does not know, while another one may make tokens: it may be in the store by now.
//! A caller asks for it, and the task that follows the store takes it, which no caller interrupts by leaving.

use std::time::Duration;

use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout},
};

/// Shortest time from one look to the next that a caller causes: who makes up tokens costs the store one query a second.
const LOOKS_APART: Duration = Duration::from_secs(1);
/// How long a caller waits for a look; then they hear what they would have heard without.
const LOOK_WITHIN: Duration = Duration::from_secs(2);

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct SecondLook {
    wanted: Notify,
    /// When the last one ended.
    last: watch::Sender<Option<Instant>>,
}

impl SecondLook {
    /// Waits for a look at the store; at `now` it is too early for one where there was one just before.
    pub(super) async fn ask(&self, now: Instant) {
        // First, so that no end of a look is missed.
        let mut looks = self.last.subscribe();
        if self.is_early(now) {
            return;
        }
        self.wanted.notify_one();
        // Without a look, the caller is as well known as before.
        let _ = timeout(LOOK_WITHIN, looks.changed()).await;
    }

    /// Waits until a caller wants a look, and it is not too early for one.
    pub(super) async fn wanted(&self) {
        loop {
            self.wanted.notified().await;
            // They may have asked while the last one was taken.
            if !self.is_early(Instant::now()) {
                return;
            }
        }
    }

    /// A look ended then, whether the store could be read or not.
    pub(super) fn taken(&self, at: Instant) {
        self.last.send_replace(Some(at));
    }

    fn is_early(&self, now: Instant) -> bool {
        self.last.borrow().is_some_and(|last| now < last + LOOKS_APART)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_look_soon_after_another_is_not_taken_however_often_it_is_wanted() {
        let (look, last) = (SecondLook::default(), Instant::now());
        look.taken(last);
        for _ in 0..3 {
            look.ask(last + LOOKS_APART - Duration::from_millis(1)).await;
        }
        assert!(look.wanted().now_or_never().is_none(), "no one waits for one");
        let later = look.ask(last + LOOKS_APART);
        tokio::pin!(later);
        assert!(later.as_mut().now_or_never().is_none(), "it is waited for");
        look.taken(last + LOOKS_APART);
        later.await;
    }

    #[tokio::test]
    async fn all_who_wait_are_served_by_one_look() {
        let look = SecondLook::default();
        let takes = async {
            look.wanted().await;
            look.taken(Instant::now());
        };
        let now = Instant::now();
        tokio::join!(look.ask(now), look.ask(now), look.ask(now), takes);
    }
}
