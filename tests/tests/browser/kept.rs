//! What stays as a reader left it, and what must not: choices, a part of a chart, the focus, and what was asked for.

use std::fs;

use crate::{Site, chromium::Chromium, free_address};

/// An expression with `Lines` of the page.
const LINES: &str = "import(new URL('charts/curves.js', document.querySelector('script[type=module]').src)).then(({ Lines }) => { \
    window.opened = []; \
    window.lines = new Lines({ label: 'loss', onOpen: (key) => window.opened.push(key) }); \
    document.getElementById('main').prepend(window.lines.element); \
    window.show = (last, ...more) => window.lines.show([{ key: 1, title: 'a', x: [...Array(last).keys()], y: [...Array(last).keys()] }, ...more], { y: 'loss' }); \
    window.show(11); })";
/// Where the line has a point in the part that the test looks at.
const POINT: (f64, f64) = (1.0 / 3.0, 0.64);
const RANGE: &str = "[window.lines.plot.scales.x.min, window.lines.plot.scales.x.max]";

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_curves_stays_while_they_grow_until_the_whole_is_asked_for() {
    let Some(chromium) = Chromium::start().await else { return };
    let site = Site::start(&[]);
    let tab = chromium.tab(&site.url).await;
    tab.open("/").await;
    tab.run(LINES).await;
    tab.until("window.lines?.plot?.scales.x.max === 10").await;
    let button = "document.querySelector('.unzoom')";
    assert!(tab.value::<bool>(&format!("{button}.hidden")).await);
    let over = ".lines .u-over";
    let zoom = async || {
        let (from, to) = (tab.within(over, (0.3, 0.5)).await, tab.within(over, (0.6, 0.5)).await);
        tab.drag(from, to).await;
        tab.until(&format!("!{button}.hidden")).await;
        let [min, max]: [f64; 2] = tab.value(RANGE).await;
        assert!((2.5..3.5).contains(&min) && (5.5..6.5).contains(&max), "{min} to {max}");
        [min, max]
    };
    let chosen = zoom().await;
    // Values come, then a line, then other colours.
    tab.run("window.show(21)").await;
    tab.until("window.lines.plot.data[0].length === 21").await;
    assert_eq!(tab.value::<[f64; 2]>(RANGE).await, chosen);
    tab.run("window.show(21, { key: 2, title: 'b', x: [0, 1], y: [1, 2] })").await;
    tab.until("window.lines.plot.series.length === 3").await;
    assert_eq!(tab.value::<[f64; 2]>(RANGE).await, chosen);
    tab.darken(true).await;
    tab.until(&format!("JSON.stringify({RANGE}) === JSON.stringify({chosen:?})")).await;
    // By two clicks on a line, of which neither opens its job.
    let on_line = tab.within(over, POINT).await;
    tab.point(on_line).await;
    tab.until("window.lines.focused === 1").await;
    tab.clicks(on_line, 2).await;
    tab.until(&format!("{button}.hidden && {RANGE}[1] === 20")).await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert!(tab.value::<Vec<u32>>("window.opened").await.is_empty());
    // By the keyboard, which goes on in the chart.
    tab.run("window.show(11)").await;
    tab.until(&format!("{RANGE}[1] === 10")).await;
    zoom().await;
    tab.run(&format!("{button}.focus()")).await;
    tab.press("Enter").await;
    tab.until(&format!("{button}.hidden && {RANGE}[1] === 10")).await;
    assert!(tab.value::<bool>("document.activeElement === window.lines.host").await);
    // One click opens, with a part and without.
    let on_line = tab.within(over, (0.5, 0.5)).await;
    tab.clicks(on_line, 1).await;
    tab.until("window.opened.length === 1").await;
    zoom().await;
    let on_line = tab.within(over, POINT).await;
    tab.clicks(on_line, 1).await;
    tab.until("window.opened.length === 2").await;
    tab.check().await;
    chromium.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn choices_of_a_sweep_are_not_those_of_another_stores_sweep_of_its_number() {
    let Some(chromium) = Chromium::start().await else { return };
    let mut site = Site::start_at(&free_address(), &[]);
    let sweep = site.submit(None);
    site.wait(sweep);
    let tab = chromium.tab(&site.url).await;
    tab.open("/").await;
    // What an older page kept of any sweep goes.
    tab.run("localStorage.setItem('sweep:columns:1', '[\"objective\"]')").await;
    let columns = "[...document.querySelectorAll('#jobs th')].map((heading) => heading.dataset.column).filter((name) => name.startsWith('parameter:'))";
    let shows = |count: u32| {
        format!("document.querySelectorAll('#jobs th').length > 2 && ({columns}).length === {count}")
    };
    tab.open(&format!("/sweeps/{sweep}")).await;
    tab.until(&shows(3)).await;
    tab.run("document.querySelector('#jobs details.menu').open = true").await;
    for name in ["rate", "width", "label"] {
        tab.run(&format!(
            "[...document.querySelectorAll('#jobs .checks label')].find((one) => one.innerText === {name:?}).querySelector('input').click()"
        ))
        .await;
    }
    tab.open(&format!("/sweeps/{sweep}")).await;
    tab.until(&shows(0)).await;
    let keys = "Object.keys(localStorage).filter((key) => key.startsWith('sweep:columns:'))";
    let kept: Vec<String> = tab.value(keys).await;
    assert!(kept.len() == 1 && kept[0].starts_with("sweep:columns:1@"), "{kept:?}");
    tab.check().await;
    tab.open_plain("/assets/none").await;
    site.cluster.coordinator.kill();
    for name in ["sweep.db", "sweep.db-wal", "sweep.db-shm"] {
        let _ = fs::remove_file(site.cluster.folder.path().join(name));
    }
    site.cluster.start_plain_coordinator();
    assert_eq!(site.submit(None), sweep);
    site.wait(sweep);
    tab.open(&format!("/sweeps/{sweep}")).await;
    tab.until(&shows(3)).await;
    // What is kept is bounded.
    let kept = "(async () => { const { remember } = await import(document.querySelector('script[src$=\"main.js\"]').src.replace('main.js', 'dom.js')); \
                for (let at = 0; at < 300; at += 1) remember(`columns:${at}@then`, {}); return Object.keys(localStorage).length; })()";
    assert_eq!(tab.value::<u32>(kept).await, 201);
    chromium.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_brushes_away_by_keyboard_goes_on_next_to_the_button() {
    let Some(chromium) = Chromium::start().await else { return };
    let (site, sweep) = Site::with_sweep();
    let tab = chromium.tab(&site.url).await;
    tab.open(&format!("/sweeps/{sweep}")).await;
    tab.until("document.querySelectorAll('tbody tr[data-job]').length === 12").await;
    let clear =
        "[...document.querySelectorAll('.wide .controls button')].find((one) => one.textContent === 'Clear')";
    tab.run("document.querySelector('.wide details:has(.range)').open = true").await;
    tab.until("document.querySelector('.wide .range button') !== null").await;
    tab.run("document.querySelector('.wide .range button').click()").await;
    tab.until(&format!("!{clear}.disabled")).await;
    tab.run(&format!("{clear}.focus()")).await;
    tab.press("Enter").await;
    tab.until(&format!("{clear}.disabled")).await;
    assert!(
        tab.value::<bool>("document.activeElement === document.querySelector('.wide .controls select')")
            .await
    );
    tab.check().await;
    chromium.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_after_its_dialogue_was_closed_is_said_all_the_same() {
    let Some(chromium) = Chromium::start().await else { return };
    let site = Site::start(&[]);
    let sweep = site.submit(Some(&site.cluster.folder.path().join("never")));
    let tab = chromium.tab(&site.url).await;
    tab.before_each_page(
        "const ask = window.fetch; const held = new Promise((_, fail) => { window.fail = () => fail(new TypeError('away')); }); \
         window.fetch = (address, ...more) => (more[0]?.method === 'POST' ? held : ask(address, ...more));",
    )
    .await;
    tab.open(&format!("/sweeps/{sweep}")).await;
    tab.run("[...document.querySelectorAll('.caption button')].find((one) => one.textContent === 'Pause').click()").await;
    tab.click("dialog[open] .buttons button:last-child").await;
    tab.press("Escape").await;
    tab.until("document.querySelector('dialog') === null").await;
    tab.run("window.fail()").await;
    tab.until("document.querySelector('dialog[open] .banner')?.innerText.includes('The coordinator cannot be reached.')").await;
    assert!(
        tab.value::<bool>("document.querySelector('dialog[open]').contains(document.activeElement)").await
    );
    tab.press("Escape").await;
    tab.until("document.querySelector('dialog') === null").await;
    tab.check().await;
    chromium.end().await;
}

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

#[tokio::test(flavor = "multi_thread")]
async fn a_map_has_the_parameters_that_tell_most_by_now_unless_the_reader_chose() {
    let Some(chromium) = Chromium::start().await else { return };
    let site = Site::start(&[]);
    let tab = chromium.tab(&site.url).await;
    tab.open("/").await;
    // Of three parameters with two values each, `places` says which one counts, and which one counts half.
    let load = "Promise.all(['charts/heatmap.js', 'select.js', 'api.js'].map((file) => import(new URL(file, document.querySelector('script[type=module]').src)))) \
        .then(([{ HeatMap }, { Selection }, { Column }]) => { \
          const bits = [0, 1, 2].map((bit) => Uint8Array.from({ length: 8 }, (_, row) => (row >> bit) & 1)); \
          const parameters = ['a', 'b', 'c'].map((name, at) => new Column(`parameter:${name}`, bits[at], [1, 2])); \
          const map = new HeatMap(1, new Selection({ id: 1, created: 'then' })); \
          document.getElementById('main').prepend(map.element); \
          window.tell = (most, next) => { \
            const objective = Float32Array.from({ length: 8 }, (_, row) => 1 + 4 * bits[most][row] + 2 * bits[next][row]); \
            const of = { objective: new Column('objective', objective) }; \
            map.show({ rows: 8, parameters, objective, isIn: () => () => true, job: Uint32Array.from({ length: 8 }, (_, row) => row + 1), \
              get: (name) => of[name] ?? parameters.find((one) => one.name === name) }, { name: 'score', maximize: true }); \
          }; })";
    tab.run(load).await;
    tab.until("typeof window.tell === 'function'").await;
    let shown = "[...document.querySelectorAll('figure:has(.heatmap) select')].slice(0, 2).map((list) => list.value.slice(10)).join()";
    for (most, next, expected) in [(0, 1, "a,b"), (2, 1, "c,b"), (1, 0, "b,a")] {
        tab.run(&format!("window.tell({most}, {next})")).await;
        assert_eq!(tab.value::<String>(shown).await, expected);
    }
    tab.run("{ const list = document.querySelector('figure:has(.heatmap) select'); list.value = 'parameter:c'; list.dispatchEvent(new Event('change')); list.blur(); }")
        .await;
    tab.run("document.activeElement.blur(); window.tell(0, 1)").await;
    assert_eq!(tab.value::<String>(shown).await, "c,a");
    tab.check().await;
    chromium.end().await;
}
