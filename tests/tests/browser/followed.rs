//! What changes while one looks: nothing that was asked for is lost, and who has no session any more is asked for the token.

use std::fs;

use crate::{Site, chromium::Chromium};

/// Runs what follows in an async function with `atMost` of the page.
fn with_at_most(body: &str) -> String {
    format!(
        "(async () => {{ const {{ atMost }} = await import(document.querySelector('script[src$=\"main.js\"]').src.replace('main.js', 'live.js')); \
         {body} }})()"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_meanwhile_is_done_afterwards() {
    let Some(chromium) = Chromium::start().await else { return };
    let site = Site::start(&[]);
    let tab = chromium.tab(&site.url).await;
    tab.open("/").await;
    // Three times while the first is on its way: once more, with what is true by then.
    let calls = with_at_most(
        "let shown = 1; let go; const seen = []; let told; const twice = new Promise((done) => { told = done; }); \
         const act = () => { seen.push(shown); if (seen.length === 2) told(); return new Promise((done) => { go = done; }); }; \
         const soon = atMost(act, () => 1); soon(); \
         while (!seen.length) await new Promise((next) => setTimeout(next)); \
         for (shown of [2, 3, 4]) soon(); go(); await twice; return seen;",
    );
    assert_eq!(tab.value::<Vec<u32>>(&calls).await, [1, 4]);
    // Also where it failed.
    let failed = with_at_most(
        "let fail; let count = 0; let told; const twice = new Promise((done) => { told = done; }); \
         const act = () => { count += 1; if (count === 2) told(); else return new Promise((_, no) => { fail = no; }); }; \
         const soon = atMost(act, () => 1); soon(); \
         while (!count) await new Promise((next) => setTimeout(next)); \
         soon(); fail(new Error('it is to fail')); await twice; return count;",
    );
    assert_eq!(tab.value::<u32>(&failed).await, 2);
    chromium.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_has_the_jobs_of_the_last_brush_however_late_it_came() {
    let Some(chromium) = Chromium::start().await else { return };
    let (site, sweep) = Site::with_sweep();
    let tab = chromium.tab(&site.url).await;
    // The first page of the table that a brush asks for comes once the test lets it.
    tab.before_each_page(
        "const ask = window.fetch; window.brushed = 0; const held = new Promise((go) => { window.letGo = go; }); \
         window.fetch = async (address, ...more) => { \
           if (String(address).includes('/table?') && String(address).includes('where=') && !window.brushed++) await held; \
           return ask(address, ...more); };",
    )
    .await;
    tab.open(&format!("/sweeps/{sweep}")).await;
    let rows = "document.querySelectorAll('tbody tr[data-job]').length";
    tab.until(&format!("{rows} === 12")).await;
    let brush = "document.querySelector('.wide .range button').click()";
    let axis = |name: &str| {
        format!(
            "{{ const list = document.querySelector('.wide details.menu select'); \
             list.value = [...list.options].find((option) => option.text === {name:?}).value; list.dispatchEvent(new Event('change')); }}"
        )
    };
    tab.run(&axis("rate")).await;
    tab.run("document.querySelector('.wide .range input').value = '0.005'").await;
    tab.run(brush).await;
    tab.until("window.brushed === 1").await;
    tab.run(&axis("label")).await;
    tab.run(brush).await;
    tab.until("document.querySelector('.wide .under').innerText.includes('4 of 12 jobs')").await;
    tab.run("window.letGo()").await;
    tab.until(&format!("{rows} === 4")).await;
    tab.check().await;
    chromium.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_session_any_more_is_asked_for_the_token() {
    let Some(chromium) = Chromium::start().await else { return };
    let token = tempfile::NamedTempFile::new().unwrap();
    fs::write(token.path(), "a-long-secret").unwrap();
    let serve = ["--http", "127.0.0.1:0", "--token-file", token.path().to_str().unwrap()].map(str::to_owned);
    let options = tests::ClusterOptions { serve: serve.into(), ..tests::ClusterOptions::default() };
    let cluster = tests::Cluster::start(options);
    let tab = chromium.tab(&format!("http://{}", cluster.coordinator.http())).await;
    tab.open_plain("/login").await;
    tab.type_into("#token", "a-long-secret").await;
    tab.press("Enter").await;
    tab.until("document.body.dataset.role === 'admin'").await;
    tab.open("/workers").await;
    tab.until("document.querySelector('.liveness')?.dataset.live === 'live'").await;
    let out = "fetch('/logout', { method: 'POST' }).then(() => true)";
    assert!(tab.value::<bool>(out).await);
    // As where the connection breaks, or the page was hidden: it listens again.
    tab.run("document.dispatchEvent(new Event('visibilitychange'))").await;
    tab.until("location.pathname === '/login'").await;
    assert_eq!(tab.value::<String>("new URLSearchParams(location.search).get('next')").await, "/workers");
    chromium.end().await;
}
