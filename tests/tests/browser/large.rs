//! The page of a large sweep: what was measured is shown first, and what is drawn of its parameters comes after it.

use std::process::{Child, Command, Stdio};

use tests::{Cluster, ClusterOptions, program};

use crate::chromium::{Chromium, Tab, is_drawn};

/// Of so many jobs on, parameters come after the rest.
const JOBS: &str = "20000";

/// Keeps what comes after the rest until the page is told to go on. What a page asks every now and then is left out, however long a test takes.
const HELD: &str = "window.asked = 0; window.held = new Promise((go) => { window.goOn = go; }); const ask = window.fetch; \
    window.fetch = async (...what) => { \
      if (String(what[0]).includes('has=')) { window.asked += 1; await window.held; } \
      return ask(...what); }; \
    const soon = window.setTimeout; window.setTimeout = (call, ms, ...more) => (ms >= 10_000 ? 0 : soon(call, ms, ...more));";
/// Fails the first request for it.
const BROKEN: &str = "window.asked = 0; const ask = window.fetch; window.fetch = (...what) => \
    String(what[0]).includes('has=') && (window.asked += 1) === 1 ? Promise.reject(new TypeError('no line')) : ask(...what);";
/// A line on which the first answer takes so long that jobs change meanwhile. Counts the answers to `has=` that are of other jobs, and those with
/// which charts were renewed later, and notes whether the page ever said that something failed.
const SLOW: &str = "Object.assign(window, { changed: 0, renewed: 0, failed: false }); const ask = window.fetch; \
    const tagged = async (path) => { const answer = await ask(path, { cache: 'no-store' }); await answer.body?.cancel(); return answer.headers.get('etag'); }; \
    window.fetch = async (...what) => { \
      const path = String(what[0]); const answer = await ask(...what); \
      if (path.includes('first=true')) { \
        while ((await tagged(path)) === answer.headers.get('etag')) await new Promise((go) => setTimeout(go, 100)); \
      } else if (path.includes('knows=') && answer.status === 200) window.renewed += 1; \
      else if (path.includes('has=')) { \
        const bytes = await answer.clone().arrayBuffer(); \
        const head = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 4, new DataView(bytes).getUint32(0, true)))); \
        if (!path.endsWith(head.version)) window.changed += 1; \
      } \
      return answer; }; \
    new MutationObserver(() => { if (document.querySelector('main .banner[data-kind=error]')) window.failed = true; }) \
      .observe(document, { childList: true, subtree: true });";

const READY: &str = "document.querySelector('main').dataset.ready === 'true' && document.querySelector('tbody tr[data-job]') !== null";
/// Whether the parallel coordinates have their axes.
const HAS_AXES: &str = "document.querySelector('.parallel')?.hasAttribute('aria-label') === true";
/// The pages of the table that were asked for.
const TABLES: &str = "performance.getEntriesByType('resource').map((one) => one.name).filter((name) => name.includes('/table?'))";
/// A parameter that the scatter offers.
const OFFERED: &str = "document.querySelector('figure:has(.scatter) option[value^=\"parameter:\"]').value";
/// What the axes of the scatter are.
const SCATTER: &str = "document.querySelector('.scatter').getAttribute('aria-label')";

/// A program that is ended with the test.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A coordinator that serves the page, and where it is.
fn served() -> (Cluster, String) {
    let serve = ["--http", "127.0.0.1:0"].map(str::to_owned).to_vec();
    let cluster = Cluster::start(ClusterOptions { serve, ..ClusterOptions::default() });
    let url = format!("http://{}", cluster.coordinator.http());
    (cluster, url)
}

/// Runs a sweep of which nearly all values differ, with these numbers of jobs, epochs, workers and slots, and of jobs a second.
fn load(cluster: &Cluster, numbers: &[&str]) -> Ends {
    let load = Command::new(program("load"))
        .arg("run")
        .arg(format!("http://localhost:{}", cluster.coordinator.address.port()))
        .args(numbers)
        .env("LOAD_PAGE", "1")
        .stdout(Stdio::null())
        .spawn();
    Ends(load.unwrap())
}

/// The same with a large sweep that has ended.
fn large() -> (Cluster, String) {
    let (cluster, url) = served();
    let ended = load(&cluster, &[JOBS, "1", "4", "16"]).0.wait();
    assert!(ended.unwrap().success(), "the load generator failed");
    (cluster, url)
}

/// Chooses what a list of the figure with this chart offers.
async fn choose(tab: &Tab, chart: &str, value: &str) {
    tab.run(&format!(
        "{{ const list = [...document.querySelectorAll('figure:has({chart}) select')].find((one) => \
         [...one.options].some((option) => option.value === {value})); \
         list.value = {value}; list.dispatchEvent(new Event('change')); }}"
    ))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_measured_is_shown_before_the_parameters_come() {
    let Some(chromium) = Chromium::start().await else { return };
    let (_cluster, url) = large();
    let tab = chromium.tab(&url).await;
    tab.before_each_page(HELD).await;
    tab.open("/sweeps/1").await;
    tab.until(READY).await;
    tab.until(&is_drawn(".scatter")).await;
    tab.until("window.asked === 1").await;
    assert!(!tab.value::<bool>(HAS_AXES).await);
    // Who chooses a parameter before it is there has it on the axis then.
    let name = format!("{OFFERED}.replace('parameter:', '')");
    let shows = format!("{SCATTER}.includes({name})");
    choose(&tab, ".scatter", OFFERED).await;
    assert!(!tab.value::<bool>(&shows).await);
    tab.run("window.goOn()").await;
    tab.until(HAS_AXES).await;
    tab.until(&shows).await;
    tab.until("document.querySelectorAll('figure:has(.heatmap) select').length > 1").await;
    tab.scroll_to(".parallel").await;
    tab.until(&is_drawn(".parallel")).await;
    assert_eq!(tab.value::<Vec<String>>(TABLES).await.len(), 1);
    assert_eq!(tab.value::<u32>("window.asked").await, 1);
    tab.check().await;

    // Who comes back finds the axis as it was left.
    tab.open_plain("/sweeps/1").await;
    tab.until("window.asked === 1").await;
    tab.run("window.goOn()").await;
    tab.until(READY).await;
    assert!(tab.value::<bool>(&shows).await);
    choose(&tab, ".scatter", "'train_seconds'").await;

    // The same with half of the jobs, which the table shows and no others.
    choose(&tab, ".parallel", "'50'").await;
    let half = "document.querySelector('#jobs .range')?.innerText.includes('10,000')";
    tab.until(half).await;
    tab.open_plain("/sweeps/1").await;
    tab.until("window.asked === 1").await;
    assert!(!tab.value::<bool>("document.querySelector('tbody tr[data-job]') !== null").await);
    tab.run("window.goOn()").await;
    tab.until(half).await;
    assert!(tab.value::<Vec<String>>(TABLES).await.iter().all(|asked| asked.contains("where=")));
    tab.check().await;
    chromium.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_that_do_not_come_are_asked_for_again() {
    let Some(chromium) = Chromium::start().await else { return };
    let (_cluster, url) = large();
    let tab = chromium.tab(&url).await;
    tab.before_each_page(BROKEN).await;
    tab.open("/sweeps/1").await;
    tab.until(HAS_AXES).await;
    assert!(tab.value::<bool>("window.asked >= 2").await);
    tab.check().await;
    chromium.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_that_runs_is_followed_on_a_line_on_which_jobs_change_before_the_parameters_come() {
    let Some(chromium) = Chromium::start().await else { return };
    let (cluster, url) = served();
    let tab = chromium.tab(&url).await;
    // It does not end before the test.
    let _load = load(&cluster, &["1000000", "1", "4", "16", "2000"]);
    tab.open("/").await;
    tab.until(
        "fetch('/api/v1/sweeps?rows=1').then((answer) => answer.json()).then(({ items }) => items[0]?.done > 20_000)",
    )
    .await;
    tab.before_each_page(SLOW).await;
    tab.open("/sweeps/1").await;
    tab.until(HAS_AXES).await;
    tab.until("window.changed === 1 && window.renewed >= 1").await;
    assert!(!tab.value::<bool>("window.failed").await);
    tab.check().await;
    chromium.end().await;
}
