//! The page of a large sweep: what was measured is shown first, and what is drawn of its parameters comes after it.

use std::process::{Command, Stdio};

use tests::{Cluster, ClusterOptions, program};

use crate::chromium::{Chromium, Tab, is_drawn};

/// Of so many jobs on, parameters come by themselves.
const JOBS: &str = "20000";

/// Keeps the answers with parameters until the page is told to go on.
const HELD: &str = "window.asked = 0; window.held = new Promise((go) => { window.goOn = go; }); const ask = window.fetch; \
    window.fetch = async (...what) => { \
      if (String(what[0]).includes('parameters=true')) { window.asked += 1; await window.held; } \
      return ask(...what); };";
/// Fails the first request for parameters.
const BROKEN: &str = "window.asked = 0; const ask = window.fetch; window.fetch = (...what) => \
    String(what[0]).includes('parameters=true') && (window.asked += 1) === 1 ? Promise.reject(new TypeError('no line')) : ask(...what);";
/// Gives the first columns another version, as if jobs had changed before the parameters came.
const CHANGED: &str = "window.asked = 0; let isFirst = true; const ask = window.fetch; window.fetch = async (...what) => { \
      if (String(what[0]).includes('parameters=true')) window.asked += 1; \
      const answer = await ask(...what); \
      if (!isFirst || !String(what[0]).endsWith('columns?coarse=true')) return answer; \
      isFirst = false; \
      return new Response(await answer.arrayBuffer(), { headers: { etag: '\"older\"' } }); };";
/// As a proxy does that compresses what it passes on.
const WEAK: &str = "window.asked = 0; const ask = window.fetch; window.fetch = async (...what) => { \
      if (String(what[0]).includes('parameters=true')) window.asked += 1; \
      const answer = await ask(...what); \
      const etag = answer.headers.get('etag'); \
      return etag ? new Response(await answer.arrayBuffer(), { headers: { etag: `W/${etag}` } }) : answer; };";

const READY: &str = "document.querySelector('main').dataset.ready === 'true' && document.querySelector('tbody tr[data-job]') !== null";
/// Whether the parallel coordinates have their axes.
const HAS_AXES: &str = "document.querySelector('.parallel')?.hasAttribute('aria-label') === true";
/// The parameters that the scatter offers.
const OFFERED: &str =
    "document.querySelectorAll('figure:has(.scatter) select option[value^=\"parameter:\"]').length";
/// The pages of the table that were asked for.
const TABLES: &str = "performance.getEntriesByType('resource').map((one) => one.name).filter((name) => name.includes('/table?'))";

/// A coordinator with a large sweep that has ended, and where its page is.
fn large() -> (Cluster, String) {
    let serve = ["--http", "127.0.0.1:0"].map(str::to_owned).to_vec();
    let cluster = Cluster::start(ClusterOptions { serve, ..ClusterOptions::default() });
    let load = Command::new(program("load"))
        .arg("run")
        .arg(format!("http://localhost:{}", cluster.coordinator.address.port()))
        .args([JOBS, "1", "4", "16"])
        .env("LOAD_PAGE", "1")
        .stdout(Stdio::null())
        .status();
    assert!(load.unwrap().success(), "the load generator failed");
    let url = format!("http://{}", cluster.coordinator.http());
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
    assert_eq!(tab.value::<u32>(OFFERED).await, 0);
    tab.run("window.goOn()").await;
    tab.until(HAS_AXES).await;
    tab.until(&format!("{OFFERED} === 8")).await;
    tab.until("document.querySelectorAll('figure:has(.heatmap) select').length > 1").await;
    tab.scroll_to(".parallel").await;
    tab.until(&is_drawn(".parallel")).await;
    assert_eq!(tab.value::<Vec<String>>(TABLES).await.len(), 1);
    assert_eq!(tab.value::<u32>("window.asked").await, 1);
    tab.check().await;

    // What the reader left is shown at once as it was: half of the jobs.
    choose(&tab, ".parallel", "'50'").await;
    let half = "document.querySelector('#jobs .range')?.innerText.includes('10,000')";
    tab.until(half).await;
    tab.open_plain("/sweeps/1").await;
    tab.until("window.asked === 1").await;
    assert!(!tab.value::<bool>("document.querySelector('tbody tr[data-job]') !== null").await);
    tab.run("window.goOn()").await;
    tab.until(half).await;
    assert!(tab.value::<Vec<String>>(TABLES).await.iter().all(|asked| asked.contains("where=")));
    choose(&tab, ".parallel", "'100'").await;
    tab.until("document.querySelector('#jobs .range')?.innerText.includes('20,000')").await;

    // The same with a parameter on an axis.
    let first = "document.querySelector('figure:has(.scatter) option[value^=\"parameter:\"]').value";
    choose(&tab, ".scatter", first).await;
    tab.open_plain("/sweeps/1").await;
    tab.until("window.asked === 1").await;
    tab.run("window.goOn()").await;
    tab.until(READY).await;
    tab.until(&format!("document.querySelector('figure:has(.scatter) select').value === {first}")).await;
    tab.check().await;
    chromium.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_that_do_not_come_or_are_of_other_jobs_are_asked_for_again() {
    let Some(chromium) = Chromium::start().await else { return };
    let (_cluster, url) = large();
    for (script, asked) in [(BROKEN, 2), (CHANGED, 2), (WEAK, 1)] {
        let tab = chromium.tab(&url).await;
        tab.before_each_page(script).await;
        tab.open("/sweeps/1").await;
        tab.until(READY).await;
        tab.until(HAS_AXES).await;
        assert_eq!(tab.value::<u32>(OFFERED).await, 8);
        assert_eq!(tab.value::<u32>("window.asked").await, asked, "{script}");
        tab.check().await;
    }
    chromium.end().await;
}
