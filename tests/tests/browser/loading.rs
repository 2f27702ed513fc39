//! How a page loads: what it needs is asked for at once, and nothing twice.

use crate::{Site, chromium::Chromium};

/// The files of the script that the page did not name in its head, and those that it named and did not load.
const UNNAMED: &str = "(() => { \
    const paths = (all) => new Set(all.map((one) => new URL(one).pathname)); \
    const named = paths([...document.querySelectorAll('link[rel=modulepreload], script[src]')].map((one) => one.href || one.src)); \
    const loaded = paths(performance.getEntriesByType('resource').map((one) => one.name).filter((name) => name.endsWith('.js') && !name.endsWith('uplot.js'))); \
    return [...[...loaded].filter((path) => !named.has(path)), ...[...named].filter((path) => !loaded.has(path))]; })()";
/// How often each answer was asked for before the page was there, the first time by the page's head.
const ASKED: &str = "performance.getEntriesByType('resource').filter((one) => new URL(one.name).pathname.startsWith('/api/') && \
    document.querySelector(`link[as=fetch][href=\"${new URL(one.name).pathname}${new URL(one.name).search}\"]`)).map((one) => one.initiatorType)";

#[tokio::test(flavor = "multi_thread")]
async fn a_page_names_all_that_it_needs_so_that_nothing_waits_for_another() {
    let Some(chromium) = Chromium::start().await else { return };
    let (site, _) = Site::with_sweep();
    let tab = chromium.tab(&site.url).await;
    for (path, answers) in
        [("/", 0), ("/sweeps/1", 2), ("/sweeps/1/jobs/1", 2), ("/workers", 0), ("/compare?sweeps=1,2", 0)]
    {
        tab.open(path).await;
        assert_eq!(tab.value::<Vec<String>>(UNNAMED).await, Vec::<String>::new(), "{path}");
        // The script takes what the head asked for, in place of asking itself; later it may ask again.
        let asked: Vec<String> = tab.value(ASKED).await;
        assert_eq!(asked.iter().take(answers).collect::<Vec<_>>(), vec!["link"; answers], "{path}");
        assert!(asked.len() == answers || path.contains("/jobs/"), "{path}: {asked:?}");
    }
    chromium.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_of_jobs_is_asked_for_once_and_as_it_was_left() {
    let Some(chromium) = Chromium::start().await else { return };
    let (site, sweep) = Site::with_sweep();
    let tab = chromium.tab(&site.url).await;
    let path = format!("/sweeps/{sweep}");
    tab.open(&path).await;
    let rows = |count: u32| format!("document.querySelectorAll('tbody tr[data-job]').length === {count}");
    tab.until(&rows(12)).await;
    let tables =
        "performance.getEntriesByType('resource').filter((one) => one.name.includes('/table?')).length";
    assert_eq!(tab.value::<u32>(tables).await, 1);
    // With half of the jobs left out the table has the other half, also when the reader comes back.
    tab.run(
        "{ const select = document.querySelector('figure.wide .controls select'); select.value = '50'; \
         select.dispatchEvent(new Event('change')); }",
    )
    .await;
    tab.until(&rows(6)).await;
    tab.open(&path).await;
    tab.until(&rows(6)).await;
    assert_eq!(tab.value::<u32>(tables).await, 1);
    tab.check().await;
    chromium.end().await;
}
