//! A coordinator that dies under an open page, and another one in its place.

use std::fs;

use crate::{Site, chromium::Chromium, free_address};

/// Keeps what the page says of how it is kept up to date.
const LIVES: &str = "window.lives = []; new MutationObserver(() => { \
    const { live } = document.querySelector('.liveness').dataset; if (window.lives.at(-1) !== live) window.lives.push(live); \
    }).observe(document.querySelector('.liveness'), { attributes: true })";

#[tokio::test(flavor = "multi_thread")]
async fn a_page_says_that_its_coordinator_is_away_and_shows_then_what_happened_meanwhile() {
    let Some(chromium) = Chromium::start().await else { return };
    let mut site = Site::start_at(&free_address(), &[]);
    let goes = site.cluster.folder.path().join("goes");
    let sweep = site.submit(Some(&goes));
    let (tab, list) = (chromium.tab(&site.url).await, chromium.tab(&site.url).await);
    let live = |state: &str| format!("document.querySelector('.liveness')?.dataset.live === {state:?}");
    for (page, path) in [(&list, "/".to_owned()), (&tab, format!("/sweeps/{sweep}"))] {
        page.to_front().await;
        page.open(&path).await;
        page.until(&live("live")).await;
        page.run("window.same = true").await;
    }
    tab.until("document.body.innerText.includes('Running jobs')").await;
    tab.run(LIVES).await;
    site.cluster.coordinator.kill();
    tab.until(&live("waiting")).await;
    // The job that runs goes on at its worker, which tells of it once it can.
    fs::write(goes, "").unwrap();
    site.cluster.start_plain_coordinator();
    tab.until("document.body.innerText.includes('12 of 12')").await;
    tab.until("window.lives.join().startsWith('waiting,live')").await;
    list.to_front().await;
    list.until("document.body.innerText.includes('12 of 12')").await;
    list.until(&live("live")).await;
    for page in [&tab, &list] {
        assert!(page.value::<bool>("window.same").await, "nothing is loaded again");
        // That no one answered, or not yet, is on the console, and nothing else.
        let is_away = |fault: &String| fault.contains("net::ERR_") || fault.contains("status of 503");
        let others: Vec<_> = page.faults().await.into_iter().filter(|fault| !is_away(fault)).collect();
        assert_eq!(others, Vec::<String>::new());
        page.check().await;
    }
    chromium.end().await;
}
