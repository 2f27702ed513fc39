//! Times that are shown: they go on while nothing else happens, and by the clock of who took them.

use crate::{Site, chromium::Chromium};

/// The page's own clock, which a test puts forward by `window.later` milliseconds; and timers that need no patience.
const CLOCK: &str = "window.later = 0; const clock = performance.now.bind(performance); performance.now = () => clock() + window.later; \
    const every = window.setInterval; window.setInterval = (act, wait) => every(act, Math.min(wait, 100));";
/// A server whose clock is two hours ahead of the browser's, with all that it says of times that are to come from there.
const AHEAD: &str = "const ask = window.fetch; window.fetch = async (...all) => { \
    const answer = await ask(...all); const headers = new Headers(answer.headers); \
    headers.set('date', new Date(Date.parse(headers.get('date')) + 7_200_000).toUTCString()); \
    return new Response(answer.body, { status: answer.status, headers }); };";

#[tokio::test(flavor = "multi_thread")]
async fn times_go_on_while_nothing_else_happens() {
    let Some(chromium) = Chromium::start().await else { return };
    let site = Site::start(&[]);
    let sweep = site.submit(Some(&site.cluster.folder.path().join("never")));
    let tab = chromium.tab(&site.url).await;
    tab.before_each_page(CLOCK).await;
    for (path, what, shows) in [
        ("/", "[data-since]", "4 h"),
        (format!("/sweeps/{sweep}").as_str(), "[data-since]", "4 h"),
        (format!("/sweeps/{sweep}/jobs/1").as_str(), "[data-since]", "4 h"),
        ("/workers", "time", "4 hr. ago"),
    ] {
        tab.open(path).await;
        let text = format!("document.querySelector('main {what}')?.textContent.startsWith('{shows}')");
        tab.until(&format!("{text} === false")).await;
        tab.run("window.later = 4 * 3_600_000").await;
        tab.until(&text).await;
        tab.check().await;
    }
    chromium.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ages_are_told_by_the_servers_clock() {
    let Some(chromium) = Chromium::start().await else { return };
    let (site, sweep) = Site::with_sweep();
    let tab = chromium.tab(&site.url).await;
    tab.open(&format!("/sweeps/{sweep}")).await;
    let submitted = "[...document.querySelectorAll('.facts time')][0].textContent";
    tab.until("document.querySelector('.facts time') !== null").await;
    assert!(!tab.value::<String>(submitted).await.contains("hr."));
    tab.before_each_page(AHEAD).await;
    tab.open(&format!("/sweeps/{sweep}")).await;
    tab.until(&format!("{submitted} === '2 hr. ago'")).await;
    tab.check().await;
    chromium.end().await;
}
