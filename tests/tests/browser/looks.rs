//! How things look: what fits, how numbers are written, and what is not said twice.

use crate::{
    Site,
    chromium::{Chromium, Tab},
};

/// The texts of a column of the table of jobs.
fn column(name: &str) -> String {
    format!(
        "[...document.querySelectorAll('#jobs tbody tr[data-job]')].map((row) => \
         row.cells[[...document.querySelectorAll('#jobs th')].findIndex((th) => th.dataset.column === '{name}')].innerText)"
    )
}

/// Whether a box shows all that is in it.
async fn fits(tab: &Tab, selector: &str) -> bool {
    let box_ = format!("document.querySelector({selector:?})");
    tab.value(&format!("{box_}.scrollWidth <= {box_}.clientWidth")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn measurements_of_a_column_have_as_many_decimals_and_parameters_are_as_in_the_file() {
    let Some(chromium) = Chromium::start().await else { return };
    let site = Site::start(&[]);
    // The scores are 0.5, 0.4, 0.00002 and so on: some have few digits, and some many.
    let sweep = site.submit_this(
        "name: digits\nprogram: train.py\nmetric: {name: score, goal: maximize}\nparameters:\n  rate: {values: [0.125, 0.00005, 0.0001]}\n  \
         width: {values: [1, 3]}\n  label: {value: plain}\nexecution: {env: {WAIT_FOR: ''}}\n",
    );
    site.wait(sweep);
    let tab = chromium.tab(&site.url).await;
    tab.open(&format!("/sweeps/{sweep}")).await;
    tab.until("document.querySelectorAll('#jobs tbody tr[data-job]').length === 6").await;
    let scores: Vec<String> = tab.value(&column("objective")).await;
    assert_eq!(scores, ["0.50000", "0.16667", "0.00040", "0.00020", "0.00013", "6.6667e-5"]);
    let mut rates: Vec<String> = tab.value(&column("parameter:rate")).await;
    rates.sort();
    rates.dedup();
    assert_eq!(rates, ["0.00005", "0.0001", "0.125"]);
    // What has ended says so once.
    assert_eq!(tab.value::<u32>("document.querySelectorAll('.caption .badge').length").await, 1);
    assert!(tab.value::<bool>("document.querySelector('.liveness').hidden").await);
    // A sentence has no literal backticks.
    tab.until("[...document.querySelectorAll('code')].some((one) => one.innerText === 'repeats: 3')").await;
    assert!(!tab.text().await.contains('`'));
    tab.check().await;
    chromium.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_comparison_fits_a_screen_and_the_axes_a_phone() {
    let Some(chromium) = Chromium::start().await else { return };
    let (site, first) = Site::with_sweep();
    let second = site.submit_this(
        "name: another-sweep-with-a-name-that-is-rather-long-for-a-table\nprogram: train.py\nmetric: {name: score, goal: maximize}\nparameters:\n  \
         rate: {values: [0.001, 0.01, 0.1]}\n  width: {values: [1]}\n  label: {values: [plain]}\nexecution: {env: {WAIT_FOR: ''}}\n",
    );
    site.wait(second);
    let tab = chromium.tab(&site.url).await;
    for language in ["en", "ja"] {
        tab.open("/").await;
        tab.speak(language).await;
        tab.resize(1200).await;
        tab.open(&format!("/compare?sweeps={first},{second}")).await;
        tab.until("document.querySelectorAll('.page > .scrolls tbody a').length >= 4").await;
        assert!(fits(&tab, ".page > .scrolls").await, "{language}");
        tab.resize(390).await;
        tab.open(&format!("/sweeps/{first}")).await;
        assert!(fits(&tab, ".scrolls.bare").await, "{language}");
        assert!(tab.value::<bool>("document.querySelector('.sideways').hidden").await);
    }
    tab.check().await;
    chromium.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_attempts_of_a_job_are_read_on_a_phone_without_scrolling_sideways() {
    let Some(chromium) = Chromium::start().await else { return };
    let (site, sweep) = Site::with_sweep();
    let tab = chromium.tab(&site.url).await;
    for (language, names) in [("en", ["Attempt", "Outcome", "Worker"]), ("ja", ["試行", "結果", "ワーカー"])]
    {
        tab.open("/").await;
        tab.speak(language).await;
        tab.resize(390).await;
        tab.open(&format!("/sweeps/{sweep}/jobs/1")).await;
        tab.until("document.querySelector('.stacks tbody td') !== null").await;
        assert!(fits(&tab, ".stacks").await, "{language}");
        // Each value has its name before it, one below the other.
        let told = "[...document.querySelectorAll('.stacks tbody td')].slice(0, 3).map((cell) => \
                    getComputedStyle(cell, '::before').content.slice(1, -1))";
        assert_eq!(tab.value::<Vec<String>>(told).await, names);
        let tops = "[...document.querySelectorAll('.stacks tbody td')].slice(0, 3).map((cell) => cell.getBoundingClientRect().top)";
        assert!(tab.value::<Vec<f64>>(tops).await.is_sorted_by(|above, below| above < below), "{language}");
        // What an attempt has not, such as a reason, has no line.
        let empty = "[...document.querySelectorAll('.stacks tbody td')].filter((cell) => \
                     cell.offsetHeight > 0 && !cell.textContent).length";
        assert_eq!(tab.value::<u64>(empty).await, 0, "{language}");
        tab.resize(1200).await;
        let next = tab.value::<Vec<f64>>(tops).await;
        assert!(next.iter().all(|top| *top == next[0]), "{next:?}");
    }
    tab.check().await;
    chromium.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_job_has_a_value_no_empty_chart_is_drawn_and_a_short_log_takes_little_room() {
    let Some(chromium) = Chromium::start().await else { return };
    let site = Site::start(&[]);
    let sweep = site.submit_this(
        "name: none\nprogram: train.py\nmetric: {name: score, goal: maximize}\nparameters:\n  rate: {values: [0.1, 0.2]}\n  \
         width: {value: 1}\n  label: {value: fails}\nexecution: {attempts_max: 1, env: {WAIT_FOR: ''}}\n",
    );
    let tab = chromium.tab(&site.url).await;
    tab.open(&format!("/sweeps/{sweep}")).await;
    tab.until("document.body.innerText.includes('2 of 2 ended')").await;
    tab.until("document.querySelectorAll('#jobs tbody tr[data-job]').length === 2").await;
    let text = tab.text().await;
    assert!(text.contains("No job is done") && !text.contains("yet"), "{text}");
    // It has finished, and not well.
    let badge = "document.querySelector('.caption .badge')";
    assert_eq!(tab.value::<String>(&format!("{badge}.innerText")).await, "finished");
    assert_eq!(tab.value::<String>(&format!("{badge}.dataset.state")).await, "failed");
    let seen = "[...document.querySelectorAll('.scatter, .parallel, .heatmap, .lines')].filter((one) => one.checkVisibility()).length";
    assert_eq!(tab.value::<u32>(seen).await, 0);
    tab.open(&format!("/sweeps/{sweep}/jobs/1")).await;
    tab.until("document.querySelector('.log').innerText.includes('fails')").await;
    assert!(tab.value::<f64>("document.querySelector('.log').clientHeight").await < 200.0);
    tab.check().await;
    chromium.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_axis_is_logarithmic_where_its_values_lie_evenly_on_it() {
    let Some(chromium) = Chromium::start().await else { return };
    let site = Site::start(&[]);
    let tab = chromium.tab(&site.url).await;
    tab.open("/").await;
    let load = "import(new URL('charts/scale.js', document.querySelector('script[type=module]').src))\
                .then(({ Scale }) => { window.scale = (numbers, isParameter) => new Scale({ numbers: Float64Array.from(numbers), isParameter }).isLog; })";
    tab.run(load).await;
    tab.until("typeof window.scale === 'function'").await;
    // Sixty values, drawn by factors or evenly; the even ones have a small one among them.
    let drawn = "[...Array(60).keys()].map((step) => step / 59)";
    for (values, is_parameter, is_log) in [
        (".map((part) => 0.0001 * 90 ** part)", true, true),
        (".map((part) => 0.001 + 0.6 * part)", true, false),
        (".map((part) => 0.0001 * 20 ** part)", true, false),
        // Results are looked at where they are best, which is where they are small.
        (".map((part) => 0.001 + 0.6 * part)", false, true),
    ] {
        let seen: bool = tab.value(&format!("window.scale({drawn}{values}, {is_parameter})")).await;
        assert_eq!(seen, is_log, "{values}");
    }
    tab.check().await;
    chromium.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_across_hundreds_of_decades_have_numbers_on_their_axis() {
    let Some(chromium) = Chromium::start().await else { return };
    let site = Site::start(&[]);
    let tab = chromium.tab(&site.url).await;
    tab.open("/").await;
    let load = "import(new URL('charts/curves.js', document.querySelector('script[type=module]').src)).then(({ Lines }) => { \
                window.draw = (y) => { window.lines?.element.remove(); window.lines = new Lines({ label: 'loss' }); \
                document.body.append(window.lines.element); \
                window.lines.show([{ key: 1, title: 'a', x: [1, 2, 3], y }], { y: 'loss' }); }; })";
    tab.run(load).await;
    tab.until("typeof window.draw === 'function'").await;
    for (values, says) in [
        ("[8e-32, 0.1, 5e279]", "1e"),
        ("[8e-32, 1e-25, 1e-20]", "1e-2"),
        ("[0.001, 0.1, 2]", "0.01"),
        ("[-1e140, 0, 3e140]", "1e140"),
    ] {
        tab.run(&format!("window.draw({values})")).await;
        tab.until("window.lines.plot?.axes[1]._values?.length > 2").await;
        let written: Vec<String> = tab.value("window.lines.plot.axes[1]._values").await;
        assert!(written.len() < 8 && written.iter().any(|text| text.starts_with(says)), "{written:?}");
    }
    tab.check().await;
    chromium.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sweeps_of_different_metrics_are_not_drawn_on_one_axis() {
    let Some(chromium) = Chromium::start().await else { return };
    let (site, first) = Site::with_sweep();
    let of = |metric: &str| {
        site.submit_this(&format!(
            "name: other\nprogram: train.py\nmetric: {metric}\nparameters: {{rate: {{values: [0.5, 0.25]}}}}\nexecution: {{env: {{WAIT_FOR: ''}}}}\n"
        ))
    };
    let (same, other) = (of("{name: score, goal: maximize}"), of("{name: loss, goal: minimize}"));
    [same, other].into_iter().for_each(|sweep| site.wait(sweep));
    let tab = chromium.tab(&site.url).await;
    for (second, are_drawn) in [(same, true), (other, false)] {
        tab.open(&format!("/compare?sweeps={first},{second}")).await;
        tab.until("document.querySelectorAll('.page > .scrolls tbody b').length === 2").await;
        let drawn: bool = tab.value("document.querySelector('.charts').offsetParent !== null").await;
        assert_eq!(drawn, are_drawn);
        // The best values stand below each other.
        let best: Vec<String> = tab
            .value("[...document.querySelectorAll('.page > .scrolls tbody b')].map((one) => one.innerText)")
            .await;
        let decimals = |text: &String| text.split_once('.').map(|(_, decimals)| decimals.len());
        assert_eq!(decimals(&best[0]), decimals(&best[1]), "{best:?}");
    }
    tab.check().await;
    chromium.end().await;
}

/// The texts of a page that are hard to read, with their colours: what a person of weak sight needs is a contrast of 4.5 (WCAG, AA), and 3 of
/// large text. What is off may be pale.
const PALE: &str = "(() => { \
    const numbers = (colour) => { const [red, green, blue, alpha = 1] = colour.match(/[\\d.]+/g).map(Number); return { of: [red, green, blue], alpha }; }; \
    const over = ({ of, alpha }, under) => of.map((one, at) => one * alpha + under[at] * (1 - alpha)); \
    const ground = (element) => { const own = numbers(getComputedStyle(element).backgroundColor); \
      return own.alpha === 1 ? own.of : over(own, element.parentElement ? ground(element.parentElement) : [255, 255, 255]); }; \
    const light = (colour) => colour.map((one) => one / 255).map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4)) \
      .reduce((sum, one, at) => sum + one * [0.2126, 0.7152, 0.0722][at], 0); \
    const pale = []; \
    for (const element of document.body.querySelectorAll('*')) { \
      const text = [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data.trim()).join(''); \
      if (!text || !element.checkVisibility() || element.closest('svg, [disabled], [aria-disabled=true], noscript, .skip, .unseen')) continue; \
      const style = getComputedStyle(element); \
      const under = ground(element); \
      const [high, low] = [light(over(numbers(style.color), under)), light(under)].sort((a, b) => b - a); \
      const contrast = (high + 0.05) / (low + 0.05); \
      const isLarge = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700); \
      if (contrast < (isLarge ? 3 : 4.5)) pale.push(`${element.className || element.tagName}: ${text.slice(0, 30)} (${contrast.toFixed(2)})`); \
    } \
    return [...new Set(pale)]; })()";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_can_be_read_in_the_light_and_in_the_dark() {
    let Some(chromium) = Chromium::start().await else { return };
    let (site, sweep) = Site::with_sweep();
    let fails = site.submit_this(
        "name: fails\nprogram: train.py\nmetric: {name: score, goal: maximize}\nparameters:\n  label: {values: [fails, plain]}\n\
         execution: {attempts_max: 1, env: {WAIT_FOR: ''}}\n",
    );
    let stuck = site.submit(Some(&site.cluster.folder.path().join("never")));
    let tab = chromium.tab(&site.url).await;
    let ground = "getComputedStyle(document.documentElement).backgroundColor";
    let pages = [
        "/".to_owned(),
        format!("/sweeps/{sweep}"),
        format!("/sweeps/{fails}"),
        format!("/sweeps/{stuck}"),
        format!("/sweeps/{sweep}/jobs/1"),
        format!("/sweeps/{fails}/jobs/1"),
        "/workers".to_owned(),
        format!("/compare?sweeps={sweep},{fails}"),
        "/login".to_owned(),
    ];
    let mut grounds = Vec::new();
    for is_dark in [false, true] {
        tab.darken(is_dark).await;
        for path in &pages {
            if path == "/login" {
                tab.open_plain(path).await;
            } else {
                tab.open(path).await;
            }
            tab.until("document.querySelector('main') !== null").await;
            assert_eq!(tab.value::<Vec<String>>(PALE).await, Vec::<String>::new(), "{path}, dark: {is_dark}");
        }
        grounds.push(tab.value::<String>(ground).await);
    }
    assert_ne!(grounds[0], grounds[1]);
    tab.check().await;
    chromium.end().await;
}
