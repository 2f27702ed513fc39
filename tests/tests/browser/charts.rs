//! What charts show of a sweep and of workers, and that all of it can be reached by keyboard.

use std::fs;

use crate::{
    Site,
    chromium::{Chromium, Tab},
};

/// What was last said to those who hear the page.
const SAID: &str = "document.getElementById('says').textContent";

/// Puts the focus on what a selector finds.
async fn focus(tab: &Tab, selector: &str) {
    tab.run(&format!("document.querySelector({selector:?}).focus()")).await;
}

/// Chooses an option of a list by its text, as someone does who never touches a mouse: the page hears `change`.
async fn choose(tab: &Tab, list: &str, text: &str) {
    let script = format!(
        "(() => {{ const list = {list}; list.focus(); \
         list.value = [...list.options].find((option) => option.text === {text:?}).value; \
         list.dispatchEvent(new Event('change')); }})()"
    );
    tab.run(&script).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_brush_leaves_the_same_jobs_in_all_charts_and_in_the_table() {
    let Some(chromium) = Chromium::start().await else { return };
    let (site, sweep) = Site::with_sweep();
    let tab = chromium.tab(&site.url).await;
    tab.open(&format!("/sweeps/{sweep}")).await;
    let rows = "document.querySelectorAll('tbody tr[data-job]').length";
    tab.until(&format!("{rows} === 12")).await;
    // By typing: an axis, and from where to where.
    tab.run("document.querySelector('.wide details.menu').open = true").await;
    choose(&tab, "document.querySelector('.wide details.menu select')", "rate").await;
    tab.run("document.querySelector('.wide .range input').value = '0.005'").await;
    tab.run("document.querySelector('.wide .range button').click()").await;
    tab.until("document.querySelector('.wide .under').innerText.includes('8 of 12 jobs')").await;
    tab.until(&format!("{rows} === 8")).await;
    // Of names, too, whatever they hold.
    choose(&tab, "document.querySelector('.wide details.menu select')", "label").await;
    tab.run("document.querySelector('.wide .range button').click()").await;
    tab.until("document.querySelector('.wide .under').innerText.includes('4 of 12 jobs')").await;
    tab.until(&format!("{rows} === 4")).await;
    choose(
        &tab,
        "[...document.querySelectorAll('.wide select')].find((one) => one.options[0].text === 'all jobs')",
        "best 25 %",
    )
    .await;
    // Of equal jobs all or none are among the best: four of twelve, of which the brushes leave two.
    tab.until("document.querySelector('.wide .under').innerText.includes('2 of 12 jobs')").await;
    tab.until(&format!("{rows} === 2")).await;
    tab.check().await;
    chromium.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_parameters_make_a_map_whose_cells_are_read_out() {
    let Some(chromium) = Chromium::start().await else { return };
    let (site, sweep) = Site::with_sweep();
    let tab = chromium.tab(&site.url).await;
    tab.open(&format!("/sweeps/{sweep}")).await;
    tab.until("document.querySelector('.heatmap')?.clientWidth > 0").await;
    tab.until("document.querySelector('figure:has(.heatmap) select') !== null").await;
    let list = |place: usize| {
        format!("document.querySelector('figure:has(.heatmap)').querySelectorAll('select')[{place}]")
    };
    choose(&tab, &list(0), "rate").await;
    choose(&tab, &list(1), "width").await;
    tab.until("document.querySelector('figure:has(.heatmap) .under').innerText.includes('12 jobs that are done, in 6 cells')").await;
    focus(&tab, ".heatmap").await;
    // From the lower left to the right, and up: score is rate * 4 / width, twice each, for two labels.
    tab.press("ArrowRight").await;
    tab.until(&format!("{SAID} === 'rate 0.001, width 1: n = 2, Mean 0.004, Best 0.004'")).await;
    tab.press("ArrowRight").await;
    tab.press("ArrowUp").await;
    tab.until(&format!("{SAID} === 'rate 0.01, width 2: n = 2, Mean 0.02, Best 0.02'")).await;
    // The other charts show its best job.
    tab.until("document.querySelector('#jobs tr.is-hovered') !== null").await;
    // A parameter against itself says nothing: the two change places.
    choose(&tab, &list(0), "width").await;
    tab.until(&format!("{}.value === 'parameter:rate'", list(1))).await;
    choose(&tab, &list(1), "label").await;
    // The larger width has the smaller score, half of that of the other.
    choose(&tab, "document.querySelector('.effects select')", "width").await;
    let pair = "[...document.querySelectorAll('.effects details tbody td')].map((cell) => cell.textContent)";
    let pair = tab.value::<Vec<String>>(pair).await;
    assert_eq!((pair[0].as_str(), pair[1].as_str()), ("2 − 1", "6"));
    assert!(pair[2].parse::<f64>().unwrap() < 0.0, "{pair:?}");
    tab.check().await;
    focus(&tab, ".heatmap").await;
    tab.press("ArrowRight").await;
    tab.press("Enter").await;
    tab.until("/\\/jobs\\/\\d+$/.test(location.pathname)").await;
    tab.check().await;
    chromium.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rungs_show_who_went_on_and_who_was_stopped() {
    let Some(chromium) = Chromium::start().await else { return };
    let site = Site::start(&[]);
    let sweep = site.submit_this(
        "name: early\nprogram: train.py\nmetric: {name: score, goal: maximize}\nparameters:\n  rate: {values: [0.001, 0.01, 0.1]}\n  \
         width: {values: [1, 2, 4]}\nearly_terminate: {type: asha, min_iter: 1, eta: 3}\n",
    );
    site.wait(sweep);
    let tab = chromium.tab(&site.url).await;
    tab.open(&format!("/sweeps/{sweep}")).await;
    let figure = "document.querySelector('figure:has(.rungs)')";
    tab.until(&format!("!{figure}.hidden && {figure}.querySelectorAll('tbody tr').length > 0")).await;
    let first = format!(
        "[...{figure}.querySelector('tbody tr').cells].slice(0, 3).map((cell) => Number(cell.innerText))"
    );
    let [epoch, reached, went_on] = tab.value::<[u64; 3]>(&first).await;
    assert_eq!((epoch, reached), (1, 9));
    assert!((1..9).contains(&went_on), "{went_on} of nine went on");
    // All nine of the first rung, with what became of each.
    choose(&tab, &format!("{figure}.querySelector('select')"), "epoch 1").await;
    let jobs = format!("[...{figure}.querySelectorAll('.rung-jobs tbody tr')].map((row) => row.innerText)");
    let rows = tab.value::<Vec<String>>(&jobs).await;
    let count = |word: &str| rows.iter().filter(|row| row.contains(word)).count() as u64;
    assert_eq!((rows.len(), count("Went on")), (9, went_on), "{rows:?}");
    tab.scroll_to(".rungs").await;
    focus(&tab, ".rungs").await;
    tab.press("ArrowDown").await;
    tab.until(&format!("{SAID}.startsWith('epoch 1, Job')")).await;
    tab.check().await;
    // A sweep without early stopping has no such chart.
    let other = site.submit(None);
    site.wait(other);
    tab.open(&format!("/sweeps/{other}")).await;
    tab.until("document.querySelectorAll('tbody tr[data-job]').length === 12").await;
    assert!(tab.value::<bool>(&format!("{figure}.hidden")).await);
    chromium.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeline_shows_attempts_as_they_begin_and_end() {
    let Some(chromium) = Chromium::start().await else { return };
    let site = Site::start(&[]);
    let tab = chromium.tab(&site.url).await;
    tab.open("/workers").await;
    let figure = "document.querySelector('figure:has(.timeline)')";
    tab.until(&format!("{figure}.innerText.includes('Nothing ran then.')")).await;
    tab.value::<bool>("window.same = true").await;
    let goes = site.cluster.folder.path().join("goes");
    let sweep = site.submit(Some(&goes));
    // Nothing is loaded again: events bring the slots that are busy, and what runs there.
    tab.until("/[1-9]\\d* of \\d+ slots? busy/.test(document.body.innerText)").await;
    tab.until(&format!("/[1-9]\\d* attempts? on/.test({figure}.innerText)")).await;
    fs::write(goes, "").unwrap();
    site.wait(sweep);
    tab.until(&format!("{figure}.innerText.includes('12 attempts on')")).await;
    tab.until("/(^|\\D)0 of \\d+ slots? busy/.test(document.body.innerText)").await;
    assert!(tab.value::<bool>("window.same").await);
    focus(&tab, ".timeline").await;
    tab.press("ArrowRight").await;
    tab.until(&format!("/^a, slot \\d+: Job {sweep}\\/\\d+, done, /.test({SAID})")).await;
    tab.press("Enter").await;
    tab.until("/\\/jobs\\/\\d+$/.test(location.pathname)").await;
    tab.check().await;
    // Of one sweep, from its beginning to its end. On a phone it is far down.
    tab.resize(390).await;
    tab.open(&format!("/sweeps/{sweep}")).await;
    let asked =
        "performance.getEntriesByType('resource').some((one) => one.name.includes('/api/v1/timeline'))";
    tab.until("document.querySelector('tbody tr[data-job]') !== null").await;
    assert!(!tab.value::<bool>(asked).await, "it is read once it is seen");
    tab.value::<bool>(&format!("{figure}.scrollIntoView(), true")).await;
    tab.until(&format!("{figure}.innerText.includes('12 attempts on')")).await;
    tab.check().await;
    chromium.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_system_says_is_in_the_readers_language() {
    let Some(chromium) = Chromium::start().await else { return };
    let site = Site::start(&[]);
    let sweep = site.submit_this(
        "name: fails\nprogram: train.py\nmetric: {name: score, goal: maximize}\nparameters:\n  label: {values: [fails]}\n  \
         rate: {values: [1, 2]}\nexecution: {attempts_max: 1}\n",
    );
    let tab = chromium.tab(&site.url).await;
    tab.open(&format!("/sweeps/{sweep}")).await;
    tab.until("document.body.innerText.includes('2 of 2 ended')").await;
    for (language, said) in
        [("en", "the program ended with exit status 3"), ("ja", "終了コード 3 で終了しました")]
    {
        tab.speak(language).await;
        for path in [format!("/sweeps/{sweep}"), format!("/sweeps/{sweep}/jobs/1")] {
            tab.open(&path).await;
            tab.until(&format!("document.body.innerText.includes({said:?})")).await;
            tab.check().await;
        }
    }
    // Why nothing moves is what one sees first.
    site.sweep(&["drain", "a"]);
    let stuck = site.submit(None);
    tab.open(&format!("/sweeps/{stuck}")).await;
    tab.until("document.querySelector('.banner[data-kind=stuck]')?.innerText.includes('接続中のワーカー')")
        .await;
    tab.check().await;
    chromium.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_brush_is_dragged_by_a_mouse_on_a_screen_and_on_a_phone() {
    let Some(chromium) = Chromium::start().await else { return };
    let (site, sweep) = Site::with_sweep();
    for width in [1280, 390] {
        let tab = chromium.tab(&site.url).await;
        tab.resize(width).await;
        tab.open(&format!("/sweeps/{sweep}")).await;
        tab.scroll_to(".parallel").await;
        let rows = "document.querySelectorAll('tbody tr[data-job]').length";
        tab.until(&format!("{rows} === 12 && document.querySelectorAll('.parallel .grip').length === 4"))
            .await;
        // The last axis is the objective's: all jobs but the worst are above its foot.
        tab.until("document.querySelector('.lines .uplot') !== null && document.querySelector('#exports').checkVisibility()")
            .await;
        tab.run("document.querySelectorAll('.parallel .grip')[3].id = 'objective'").await;
        let (from, to) =
            (tab.within("#objective", (0.5, 0.02)).await, tab.within("#objective", (0.5, 0.5)).await);
        let before: f64 = tab.value("scrollY").await;
        tab.drag(from, to).await;
        let said =
            "Number(/(\\d+) of 12 jobs/.exec(document.querySelector('.wide .under').innerText)?.[1] ?? 12)";
        tab.until(&format!("{said} < 12")).await;
        let left: u32 = tab.value(said).await;
        assert!((1..12).contains(&left), "{left}");
        tab.until(&format!("{rows} === {left}")).await;
        assert_eq!(tab.value::<f64>("scrollY").await.to_bits(), before.to_bits(), "a brush moves no page");
        assert!(
            tab.value::<String>("location.pathname").await.ends_with(&sweep.to_string()),
            "nothing was opened"
        );
        // A click takes it away.
        let within = tab.within("#objective", (0.5, 0.25)).await;
        tab.clicks(within, 1).await;
        tab.until(&format!("{rows} === 12")).await;
        tab.check().await;
    }
    chromium.end().await;
}
