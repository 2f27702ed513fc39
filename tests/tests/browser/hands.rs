//! What hands do on a page: a mouse, and a screen that is set to dark.

use std::time::Duration;

use chromiumoxide::cdp::browser_protocol::{
    emulation::{MediaFeature, SetEmulatedMediaParams},
    input::{DispatchMouseEventParams, DispatchMouseEventType, MouseButton},
};

use crate::chromium::Tab;

/// How long what stands still has not moved.
const STILL: Duration = Duration::from_millis(400);
/// Steps of a movement.
const STEPS: u32 = 8;

/// Where something is on the page.
pub(crate) type Place = (f64, f64);

impl Tab {
    /// A place within what a selector finds, from 0 to 1 of its width and height, on the screen; once it stands still, as what is above may
    /// still grow.
    pub(crate) async fn within(&self, selector: &str, (across, down): Place) -> Place {
        let found = format!("document.querySelector({selector:?})");
        let look = format!(
            "{found}.scrollIntoView({{ block: 'center', behavior: 'instant' }}), \
             (({{ left, top, width, height }}) => [left, top, width, height].map(Math.round))({found}.getBoundingClientRect())"
        );
        let mut last = [0.0; 4];
        loop {
            let seen: [f64; 4] = self.value(&look).await;
            let [left, top, width, height] = seen;
            if seen.map(f64::to_bits) == last.map(f64::to_bits) {
                return (left + across * width, top + down * height);
            }
            last = seen;
            tokio::time::sleep(STILL).await;
        }
    }

    async fn mouse(&self, what: DispatchMouseEventType, (x, y): Place, clicks: i64) {
        let is_down = what != DispatchMouseEventType::MouseMoved || clicks > 0;
        let mut event = DispatchMouseEventParams::builder().r#type(what).x(x).y(y).click_count(clicks);
        if is_down {
            event = event.button(MouseButton::Left).buttons(1);
        }
        self.page.execute(event.build().unwrap()).await.unwrap();
    }

    /// Moves a mouse to a place.
    pub(crate) async fn point(&self, at: Place) {
        self.mouse(DispatchMouseEventType::MouseMoved, at, 0).await;
    }

    /// Clicks so often at a place.
    pub(crate) async fn clicks(&self, at: Place, clicks: i64) {
        self.point(at).await;
        for click in 1..=clicks {
            self.mouse(DispatchMouseEventType::MousePressed, at, click).await;
            self.mouse(DispatchMouseEventType::MouseReleased, at, click).await;
        }
    }

    /// Drags with a mouse from one place to another.
    pub(crate) async fn drag(&self, from: Place, to: Place) {
        self.point(from).await;
        self.mouse(DispatchMouseEventType::MousePressed, from, 1).await;
        for step in 1..=STEPS {
            self.mouse(DispatchMouseEventType::MouseMoved, between(from, to, step), 1).await;
        }
        self.mouse(DispatchMouseEventType::MouseReleased, to, 1).await;
    }

    /// Has the page in the colours for the dark, or for the light.
    pub(crate) async fn darken(&self, is_dark: bool) {
        let scheme = MediaFeature::new("prefers-color-scheme", if is_dark { "dark" } else { "light" });
        self.page.execute(SetEmulatedMediaParams::builder().feature(scheme).build()).await.unwrap();
    }
}

/// Where a movement is after so many of its steps.
fn between(from: Place, to: Place, step: u32) -> Place {
    let part = f64::from(step) / f64::from(STEPS);
    (from.0 + (to.0 - from.0) * part, from.1 + (to.1 - from.1) * part)
}
