//! What stays as a reader left it, and what must not: choices, a part of a chart, the focus, and what was asked for.

use crate::{Site, chromium::Chromium};

#[tokio::test(flavor = "multi_thread")]
async fn lists_that_cannot_be_read_say_so_and_are_asked_for_until_they_can() {
    let Some(chromium) = Chromium::start().await else { return };
    let (site, _) = Site::with_sweep();
    let tab = chromium.tab(&site.url).await;
    // Without events, which would bring the list.
    tab.before_each_page(
        "window.EventSource = class { addEventListener() {} close() {} }; window.isAway = true; const ask = window.fetch; \
         window.fetch = (...all) => (window.isAway ? Promise.reject(new TypeError('away')) : ask(...all));",
    )
    .await;
    for path in ["/", "/workers"] {
        tab.open(path).await;
        tab.until(
            "document.querySelector('.banner[data-kind=error]')?.innerText.includes('cannot be reached')",
        )
        .await;
        tab.run("window.isAway = false").await;
        tab.until("document.querySelectorAll('tbody tr').length === 1").await;
        tab.until("[...document.querySelectorAll('main > div > .banner')].length === 0").await;
    }
    tab.check().await;
    chromium.end().await;
}
