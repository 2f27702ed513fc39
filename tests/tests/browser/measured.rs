//! What a sweep of a hundred thousand jobs costs its reader, measured in Chromium: `make bench` runs it, and tests leave it out.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use chromiumoxide::cdp::browser_protocol::network::DisableParams;
use tests::{Cluster, ClusterOptions, program};

use crate::chromium::{Chromium, Tab};

const JOBS: &str = "100000";
/// How often a page is opened by a browser that has nothing of it; the median counts.
const RUNS: usize = 5;
/// The page is there once its first figures are drawn and the browser has time for the reader.
const INTERACTIVE: &str = "new Promise((found) => { const look = () => document.querySelector('main')?.dataset.ready === 'true' && \
                           document.querySelector('tbody tr[data-job]') ? setTimeout(() => found(performance.now())) : \
                           requestAnimationFrame(look); look(); })";
/// The charts of its parameters are further down, and have what they are drawn from.
const WHOLE: &str = "new Promise((found) => { const look = () => document.querySelector('.parallel[aria-label]') ? \
                     setTimeout(() => found(performance.now())) : requestAnimationFrame(look); look(); })";
/// How long a page that is drawn may still ask for more, and a browser that was started does things of its own.
const SETTLED_AFTER: Duration = Duration::from_secs(2);
/// Bytes of all answers with their heads, as they came over the wire.
const BYTES: &str = "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')].reduce((sum, one) => \
                     sum + one.transferSize, 0)";

/// A row of the table in `RESULTS.md`.
fn row(what: &str, mut values: Vec<f64>, unit: &str, bar: Option<f64>) {
    values.sort_by(f64::total_cmp);
    let value = values[values.len() / 2];
    let bar = bar.map(|bar| bar.to_string()).unwrap_or_default();
    println!("| a page of 100,000 jobs in Chromium: {what}, {unit} | {value:.2} | {bar} |");
}

/// What it cost to open the page.
struct Opened {
    interactive: f64,
    whole: f64,
    bytes: f64,
}

async fn opened(tab: &Tab) -> Opened {
    tab.open_plain("/sweeps/1").await;
    let interactive = tab.value(INTERACTIVE).await;
    let whole = tab.value(WHOLE).await;
    // What it asks for afterwards, for what is further down, counts as well.
    tokio::time::sleep(SETTLED_AFTER).await;
    Opened { interactive, whole, bytes: tab.value(BYTES).await }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures: `make bench`"]
async fn a_sweep_of_a_hundred_thousand_jobs_is_opened() {
    let serve = ["--http", "127.0.0.1:0"].map(str::to_owned).to_vec();
    let mut cluster = Cluster::start(ClusterOptions { serve, ..ClusterOptions::default() });
    let load = Command::new(program("load"))
        .arg("run")
        .arg(format!("http://localhost:{}", cluster.coordinator.address.port()))
        .args([JOBS, "1", "16", "64"])
        .env("LOAD_PAGE", "1")
        .stdout(Stdio::null())
        .status();
    assert!(load.unwrap().success(), "the load generator failed");
    let (mut cold, mut warm) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        // Nothing of the sweep is kept from before.
        cluster.replace_coordinator();
        let site = format!("http://{}", cluster.coordinator.http());
        let Some(chromium) = Chromium::start().await else { return };
        let tab = chromium.tab(&site).await;
        // A reader's browser runs already, and is not told of each request by a debugger.
        tab.page.execute(DisableParams::default()).await.unwrap();
        tokio::time::sleep(SETTLED_AFTER).await;
        cold.push(opened(&tab).await);
        warm.push(opened(&tab).await);
        tab.check().await;
        chromium.end().await;
    }
    let of = |all: &[Opened], figure: fn(&Opened) -> f64| all.iter().map(figure).collect::<Vec<_>>();
    row("interactive, cold", of(&cold, |one| one.interactive), "ms", Some(1_000.0));
    row("charts of parameters, cold", of(&cold, |one| one.whole), "ms", None);
    row("interactive again", of(&warm, |one| one.interactive), "ms", Some(1_000.0));
    row("charts of parameters again", of(&warm, |one| one.whole), "ms", None);
    row("over the wire", of(&cold, |one| one.bytes / 1e6), "MB", Some(3.0));
}
