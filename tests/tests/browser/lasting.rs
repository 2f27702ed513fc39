//! Pages that stay open: what was limited stays so as jobs begin, what fails comes again, and what others do to a sweep that has ended is seen.

use std::fs;

use crate::{Site, chromium::Chromium};

/// Lets time pass twenty times as fast for what pages wait for.
const HASTE: &str =
    "const wait = window.setTimeout; window.setTimeout = (act, ms, ...more) => wait(act, ms / 20, ...more);";

/// Answers the next requests for which `isMeant` is true as a coordinator does that has too much to do, as often as `window.refused` says.
fn refusing(is_meant: &str) -> String {
    format!(
        "const ask = window.fetch; window.refused = 0; const isMeant = (address) => {is_meant}; \
         window.fetch = async (address, ...more) => isMeant(String(address)) && window.refused-- > 0 \
           ? new Response('{{}}', {{ status: 503 }}) : ask(address, ...more);"
    )
}

/// Waits for the end of a sweep of which jobs fail, for which `sweep wait` would be no success.
fn finished(site: &Site, sweep: u64) {
    while site.sweep(&["show", &sweep.to_string(), "-o", "json"])["state"] != "finished" {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_to_names_stays_at_these_names_as_others_come() {
    let Some(chromium) = Chromium::start().await else { return };
    let site = Site::start(&[]);
    let tab = chromium.tab(&site.url).await;
    tab.open("/").await;
    tab.run(
        "window.limit = async () => { \
           const at = (path) => import(document.querySelector('script[src$=\"main.js\"]').src.replace('main.js', path)); \
           const [{ Brushes }, { Scale }, { Column }] = await Promise.all(['charts/brushes.js', 'charts/scale.js', 'api.js'].map(at)); \
           const axis = (...values) => { const column = new Column('parameter:name', Uint8Array.from(values.keys()), values); \
             return { column, name: column.name, numbers: column.numbers, scale: new Scale(column) }; }; \
           const brushes = new Brushes(() => {}); \
           let now = axis('adam', 'sgd'); \
           const left = () => brushes.active([now]).flatMap(({ axis, ranges }) => brushes.wanted(axis, ranges).where.values); \
           const become = (...values) => { const kept = JSON.parse(JSON.stringify(brushes.values([now]))); now = axis(...values); brushes.place(kept, [now]); }; \
           brushes.add(now.name, [0.5, 1]); \
           const seen = [left()]; \
           become('adam', 'sgd', 'adamw'); seen.push(left()); \
           become('zeta', 'adam', 'sgd', 'adamw', 'rmsprop'); seen.push(left()); \
           brushes.clear(); brushes.add(now.name, [now.scale.at(0.5), now.scale.at(2.5)]); seen.push(left()); \
           become('adam', 'adamw', 'rmsprop', 'sgd', 'zeta', 'b'); seen.push(left()); \
           become('none of them', 'nor this'); seen.push(left()); \
           return seen; }",
    )
    .await;
    let seen: Vec<Vec<String>> = tab.value("window.limit()").await;
    let two = ["adamw", "rmsprop"].map(str::to_owned).to_vec();
    let sgd = vec!["sgd".to_owned()];
    assert_eq!(seen, [sgd.clone(), sgd.clone(), sgd, two.clone(), two, vec![]]);
    tab.check().await;
    chromium.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_to_numbers_leaves_the_same_jobs_of_those_that_are_only_drawn_and_of_exact_ones() {
    let Some(chromium) = Chromium::start().await else { return };
    let site = Site::start(&[]);
    let tab = chromium.tab(&site.url).await;
    tab.open("/").await;
    // How often a limit parts the numbers that came as steps otherwise than the exact ones: next to a number between steps, and as it is.
    tab.run(
        "window.apart = async (low, high, isLog) => { \
           const { Column } = await import(document.querySelector('script[src$=\"main.js\"]').src.replace('main.js', 'api.js')); \
           const at = (part) => (isLog ? low * (high / low) ** part : low + (high - low) * part); \
           const parts = Array.from({ length: 50_000 }, (_, row) => (row * 0.6180339887) % 1); \
           const exact = parts.map(at); \
           const drawn = Float32Array.from(parts, (part) => at(Math.round(part * 65_534) / 65_534)); \
           const column = new Column('parameter:x', drawn, undefined, { low, high, is_log: isLog }); \
           const differs = (limit) => exact.filter((one) => one >= limit).length !== drawn.filter((one) => one >= limit).length; \
           const limits = Array.from({ length: 100 }, (_, place) => at((place * 0.7548776662 + 0.05) % 1)); \
           return [limits.map((limit) => column.between(limit)), limits].map((all) => all.filter(differs).length); }",
    )
    .await;
    for scale in ["0, 1, false", "1e-5, 0.1, true"] {
        let [between, as_it_is]: [u32; 2] = tab.value(&format!("window.apart({scale})")).await;
        assert_eq!(between, 0, "{scale}");
        assert!(as_it_is > 0, "{scale}: limits between the steps would not be needed");
    }
    tab.check().await;
    chromium.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn buttons_work_before_the_charts_have_come() {
    let Some(chromium) = Chromium::start().await else { return };
    let site = Site::start(&[]);
    let sweep = site.submit(Some(&site.cluster.folder.path().join("never")));
    let tab = chromium.tab(&site.url).await;
    tab.before_each_page(
        "const ask = window.fetch; const held = new Promise((go) => { window.letGo = go; }); window.asked = 0; \
         window.fetch = async (address, ...more) => { if (String(address).includes('/columns')) { window.asked += 1; await held; } \
         return ask(address, ...more); };",
    )
    .await;
    tab.open_plain(&format!("/sweeps/{sweep}")).await;
    // What runs is there, too.
    tab.until("document.body.innerText.includes('Running jobs')").await;
    let press = |text: &str| {
        format!(
            "[...document.querySelectorAll('.caption .controls button')].find((one) => one.innerText === {text:?}).click()"
        )
    };
    tab.run(&press("Pause")).await;
    tab.until("document.querySelector('dialog[open]') !== null").await;
    tab.click("dialog[open] .buttons button:last-child").await;
    tab.until("document.querySelector('dialog[open]') === null").await;
    tab.until("document.querySelector('h1').parentElement.innerText.includes('paused')").await;
    // Megabytes are not asked for a second time meanwhile.
    assert_eq!(tab.value::<u32>("window.asked").await, 1);
    tab.run(&press("Resume")).await;
    tab.until("document.querySelector('dialog[open]') !== null").await;
    tab.click("dialog[open] .buttons button:last-child").await;
    tab.until("document.querySelector('h1').parentElement.innerText.includes('running')").await;
    tab.run("window.letGo()").await;
    tab.until("document.querySelectorAll('tbody tr[data-job]').length > 0").await;
    tab.until("document.querySelector('.scatter canvas') !== null").await;
    tab.check().await;
    chromium.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_is_no_longer_listed_once_a_sweep_is_cancelled() {
    let Some(chromium) = Chromium::start().await else { return };
    let site = Site::start(&[]);
    let sweep = site.submit(Some(&site.cluster.folder.path().join("never")));
    let tab = chromium.tab(&site.url).await;
    tab.open(&format!("/sweeps/{sweep}")).await;
    let runs = "document.body.innerText.includes('Running jobs')";
    tab.until(runs).await;
    let cancel = "[...document.querySelectorAll('.caption .controls button')].find((one) => one.innerText === 'Cancel').click()";
    tab.run(cancel).await;
    tab.until("document.querySelector('dialog[open]') !== null").await;
    tab.click("dialog[open] .buttons button:last-child").await;
    tab.until("document.querySelector('h1').parentElement.innerText.includes('cancelled')").await;
    tab.until(&format!("!{runs}")).await;
    tab.check().await;
    chromium.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_read_is_asked_for_again() {
    let Some(chromium) = Chromium::start().await else { return };
    let (site, sweep) = Site::with_sweep();
    let tab = chromium.tab(&site.url).await;
    tab.before_each_page(HASTE).await;
    tab.before_each_page(&refusing("address.includes('/columns')")).await;
    tab.before_each_page("window.refused = 2;").await;
    tab.open(&format!("/sweeps/{sweep}")).await;
    // The rest of the page is there meanwhile.
    tab.until("document.querySelectorAll('tbody tr[data-job]').length === 12").await;
    tab.until("document.querySelector('.scatter canvas') !== null && document.querySelector('.banner[data-kind=error]') === null").await;
    tab.check().await;
    chromium.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comparison_stays_and_goes_on_after_answers_that_failed() {
    let Some(chromium) = Chromium::start().await else { return };
    let (site, first) = Site::with_sweep();
    let goes = site.cluster.folder.path().join("goes");
    let second = site.submit(Some(&goes));
    let tab = chromium.tab(&site.url).await;
    tab.before_each_page(HASTE).await;
    tab.before_each_page(&refusing("/sweeps[/][0-9]+$/.test(address)")).await;
    tab.open(&format!("/compare?sweeps={first},{second}")).await;
    tab.until("document.querySelectorAll('table tbody tr').length > 1").await;
    for refused in [1, 2, 4] {
        tab.run(&format!("window.refused = {refused}")).await;
        tab.until("window.refused <= 0").await;
        tab.until("document.querySelector('.banner[data-kind=error]') === null").await;
        assert!(!tab.value::<bool>("document.querySelector('table').closest('.page').hidden").await);
    }
    fs::write(goes, "").unwrap();
    tab.until("document.querySelector('table').innerText.match(/12 of 12/g)?.length === 2").await;
    tab.check().await;
    chromium.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_and_a_job_that_have_ended_are_seen_to_go_on() {
    let Some(chromium) = Chromium::start().await else { return };
    let site = Site::start(&[]);
    let sweep = site.submit_this(
        "name: again\nprogram: train.py\nmetric: {name: score, goal: maximize}\nparameters:\n  rate: {values: [0.5]}\n  width: {values: [1]}\n  \
         label: {values: [plain, fails]}\nexecution: {env: {WAIT_FOR: ''}, attempts_max: 1}\n",
    );
    // One of its jobs fails, which is no fault of the command.
    finished(&site, sweep);
    let tab = chromium.tab(&site.url).await;
    tab.before_each_page(HASTE).await;
    let job = chromium.tab(&site.url).await;
    job.before_each_page(HASTE).await;
    job.open(&format!("/sweeps/{sweep}/jobs/2")).await;
    job.until("document.querySelectorAll('.stacks tbody tr').length === 1").await;
    site.sweep(&["retry", &sweep.to_string()]);
    job.until("document.querySelectorAll('.stacks tbody tr').length === 2").await;
    tab.open(&format!("/sweeps/{sweep}")).await;
    tab.to_front().await;
    finished(&site, sweep);
    tab.until("document.querySelector('.liveness').hidden").await;
    site.sweep(&["retry", &sweep.to_string()]);
    // It runs, and ends again, or did both already: the table has the third attempt.
    tab.run("document.querySelector('#jobs details.menu').open = true").await;
    tab.run(
        "[...document.querySelectorAll('#jobs .checks label')].find((one) => one.innerText === 'Attempts').querySelector('input').click()",
    )
    .await;
    tab.until("[...document.querySelectorAll('#jobs td')].some((cell) => cell.innerText === '3')").await;
    tab.check().await;
    chromium.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_have_not_begun_are_listed_whatever_becomes_of_the_sweep() {
    let Some(chromium) = Chromium::start().await else { return };
    let site = Site::start(&[]);
    let sweep = site.submit(Some(&site.cluster.folder.path().join("never")));
    let tab = chromium.tab(&site.url).await;
    tab.open(&format!("/sweeps/{sweep}")).await;
    tab.until("document.querySelectorAll('tbody tr[data-job]').length > 0").await;
    tab.until("document.querySelector('.chips .link') !== null").await;
    let begun: u64 = tab.value("document.querySelectorAll('#jobs tbody tr[data-job]').length").await;
    let listed = format!("document.querySelectorAll('#jobs tbody tr').length === {}", 12 - begun);
    let back =
        "[...document.querySelectorAll('#jobs .pager button')].some((one) => one.innerText.includes('Back'))";
    tab.run("document.querySelector('.chips .link').click()").await;
    tab.until(&format!("{listed} && {back}")).await;
    // Other columns are for the jobs that have begun.
    tab.run("document.querySelector('#jobs details.menu').open = true").await;
    tab.run("document.querySelector('#jobs .checks input').click()").await;
    tab.until(&format!("{listed} && {back}")).await;
    tab.run("[...document.querySelectorAll('#jobs .pager button')].find((one) => one.innerText.includes('Back')).click()").await;
    tab.until(&format!("document.querySelectorAll('#jobs tbody tr[data-job]').length === {begun}")).await;
    // They are cancelled with the sweep, and never begin.
    site.sweep(&["cancel", &sweep.to_string(), "--yes"]);
    tab.until("document.querySelector('h1').parentElement.innerText.includes('cancelled')").await;
    tab.run("document.querySelector('.chips .link').click()").await;
    tab.until(&listed).await;
    tab.check().await;
    chromium.end().await;
}
