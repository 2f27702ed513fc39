//! Numbers of any size: charts draw them, tables tell them apart, and what cannot be drawn is said.

use crate::{
    Site,
    chromium::{Chromium, is_drawn},
};

/// Reports what axes are seldom made for: what falls to nothing, what settles but for rounding, and what is the same all the time.
const SIZES: &str = "\
import sweep
p = sweep.parameters(rate=0.5)
for epoch in range(1, 5):
    settles = [2.9999999990, 3.0, 3.0000000000000004, 3.0][epoch - 1]
    sweep.report(epoch, falls=10.0 ** (-8 * epoch), settles=settles, zero=0.0, small=1e-40, huge=epoch * 1e300)
";
/// Keeps what is written on canvases, by the headings of their figures.
const WRITTEN: &str = "window.written = []; const fill = CanvasRenderingContext2D.prototype.fillText; \
    CanvasRenderingContext2D.prototype.fillText = function (text, ...more) { \
      window.written.push([this.canvas.closest('figure')?.querySelector('h2')?.textContent ?? '', String(text)]); \
      return fill.call(this, text, ...more); };";

/// An expression of a module of the page, `module`, by its path.
fn of_module(path: &str, expression: &str) -> String {
    format!(
        "import(document.querySelector('script[src$=\"main.js\"]').src.replace('main.js', {path:?})).then((module) => {expression})"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn axes_have_ticks_whatever_the_size_of_what_is_drawn() {
    let Some(chromium) = Chromium::start().await else { return };
    let site = Site::start(&[]);
    site.put("sizes.py", SIZES);
    for (metric, goal) in [("falls", "minimize"), ("settles", "maximize")] {
        let sweep = site.submit_this(&format!(
            "name: sizes\nprogram: sizes.py\nmetric: {{name: {metric}, goal: {goal}}}\nparameters:\n  rate: {{values: [1, 2]}}\n"
        ));
        site.wait(sweep);
    }
    let tab = chromium.tab(&site.url).await;
    tab.before_each_page(WRITTEN).await;
    tab.open("/sweeps/1/jobs/1").await;
    tab.until("document.querySelectorAll('.lines .uplot').length === 5").await;
    for (metric, ticks) in
        [("falls", "1e-32"), ("settles", "2.8"), ("zero", "0.2"), ("small", "1e-40"), ("huge", "2e300")]
    {
        // An axis from 0 to 100 would have this one, too.
        let has = |text: &str| {
            format!("window.written.some(([of, text]) => of === {metric:?} && text === {text:?})")
        };
        tab.until(&has(ticks)).await;
        assert!(!tab.value::<bool>(&has("100")).await, "{metric}");
    }
    // Lines on an axis of many powers of ten are few.
    let lines = "new Set(window.written.filter(([of, text]) => of === 'falls' && text.includes('e-')).map(([, text]) => text)).size";
    assert!(tab.value::<u32>(lines).await <= 12);
    tab.check().await;
    for path in ["/sweeps/1", "/sweeps/2", "/compare?sweeps=1"] {
        tab.open(path).await;
        tab.until("document.querySelector('.lines .uplot') !== null").await;
        tab.until("window.written.some(([, text]) => /\\d/.test(text))").await;
        tab.check().await;
    }
    // Columns of charts have single precision, which the values in the table are not cut to.
    let huge = site.submit_this(
        "name: huge\nprogram: sizes.py\nmetric: {name: huge, goal: maximize}\nparameters:\n  rate: {values: [1, 2]}\n  width: {values: [1, 2]}\n",
    );
    site.wait(huge);
    tab.open(&format!("/sweeps/{huge}")).await;
    tab.until("document.body.innerText.includes('Charts leave out 4 jobs with a huge beyond 3.4e38.')").await;
    tab.until("document.querySelector('#jobs tbody')?.innerText.includes('4e300')").await;
    assert!(tab.value::<bool>("document.querySelector('figure:has(.heatmap)').hidden").await);
    tab.check().await;
    tab.open(&format!("/compare?sweeps=1,{huge}")).await;
    tab.until(&format!("document.body.innerText.includes('The curves of sweep {huge} leave out 4 jobs')"))
        .await;
    let whole = of_module("charts/ticks.js", "module.evenTicks(0, 3, 10, true)");
    assert_eq!(tab.value::<Vec<f64>>(&whole).await, [0.0, 1.0, 2.0, 3.0]);
    let wide = of_module("charts/ticks.js", "module.logTicks(5e-324, 1e300, 6).length");
    assert!((3..=8).contains(&tab.value::<u32>(&wide).await));
    let row = of_module(
        "format.js",
        "[-0.0062, -0.0121, -0.000445, 0].map(module.even([-0.0062, -0.0121, -0.000445], 3))",
    );
    assert_eq!(tab.value::<Vec<String>>(&row).await, ["-0.00620", "-0.01210", "-0.00044", "0.00000"]);
    let gain = of_module(
        "format.js",
        "[module.gain({ difference: -0.5, interval: { low: -2, high: 0 } }, false)].map(({ difference, interval }) => \
         [difference, interval.low, interval.high])[0]",
    );
    assert_eq!(tab.value::<Vec<f64>>(&gain).await, [0.5, 0.0, 2.0]);
    chromium.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_drawn_is_said_in_its_place() {
    let Some(chromium) = Chromium::start().await else { return };
    let (site, sweep) = Site::with_sweep();
    let tab = chromium.tab(&site.url).await;
    tab.before_each_page(
        "CanvasRenderingContext2D.prototype.fillText = () => { throw new Error('no pen'); };",
    )
    .await;
    tab.open(&format!("/sweeps/{sweep}")).await;
    for chart in [".lines", ".scatter", ".parallel"] {
        tab.run(&format!("document.querySelector('{chart}').scrollIntoView({{ block: 'center' }})")).await;
        tab.until(&format!("document.querySelector('{chart} .banner')?.innerText.includes('no pen')")).await;
    }
    chromium.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn small_values_are_not_rounded_away_and_near_ones_are_told_apart() {
    let Some(chromium) = Chromium::start().await else { return };
    let site = Site::start(&[]);
    site.put(
        "near.py",
        "import sweep\np = sweep.parameters(place=0)\nsweep.report(1, loss=[0.300001, 0.300004, 0.300011][p.place], \
         other=[2.3, 6.189e-5, 0.5][p.place])\n",
    );
    let sweep = site.submit_this(
        "name: near\nprogram: near.py\nmetric: {name: loss, goal: minimize}\nparameters:\n  place: {values: [0, 1, 2]}\n",
    );
    site.wait(sweep);
    let tab = chromium.tab(&site.url).await;
    tab.open(&format!("/sweeps/{sweep}")).await;
    tab.until("document.querySelectorAll('tbody tr[data-job]').length === 3").await;
    tab.run("document.querySelector('#jobs details.menu').open = true").await;
    tab.run(
        "[...document.querySelectorAll('#jobs .checks label')].find((one) => one.innerText === 'other').querySelector('input').click()",
    )
    .await;
    let cells = |column: &str| {
        format!(
            "[...document.querySelectorAll('tbody tr[data-job]')].map((row) => \
             row.cells[[...document.querySelectorAll('#jobs th')].findIndex((th) => th.dataset.column === {column:?})].innerText)"
        )
    };
    assert_eq!(tab.value::<Vec<String>>(&cells("objective")).await, ["0.300001", "0.300004", "0.300011"]);
    assert_eq!(tab.value::<Vec<String>>(&cells("metric:other")).await, ["2.3000", "6.189e-5", "0.5000"]);
    tab.check().await;
    chromium.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_map_has_its_colours_on_the_scale_of_the_other_charts() {
    let Some(chromium) = Chromium::start().await else { return };
    let (site, sweep) = Site::with_sweep();
    let tab = chromium.tab(&site.url).await;
    tab.open(&format!("/sweeps/{sweep}")).await;
    let figure = "document.querySelector('figure:has(.heatmap)')";
    tab.until(&format!("{figure}?.querySelector('select') !== null")).await;
    for (place, name) in [(0, "rate"), (1, "width")] {
        tab.run(&format!(
            "{{ const list = {figure}.querySelectorAll('select')[{place}]; list.value = 'parameter:{name}'; \
             list.dispatchEvent(new Event('change')); }}"
        ))
        .await;
    }
    tab.until(&format!("{figure}.querySelector('.ramp').innerText.includes('(log)')")).await;
    tab.check().await;
    tab.scroll_to(".heatmap").await;
    // The two worst cells, of which one has twice as much as the other, from 0.002 to 0.4.
    let pixel = |down: &str| {
        format!(
            "(() => {{ const canvas = document.querySelector('.heatmap canvas'); \
             return [...canvas.getContext('2d').getImageData(98, {down}, 1, 1).data].join(); }})()"
        )
    };
    let (above, below) = (pixel("12"), pixel("canvas.height - 64"));
    tab.until(&format!("{above} !== '0,0,0,0' && {above} !== {below}")).await;
    chromium.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_beyond_the_cells_of_a_map_has_the_colour_of_its_best_or_its_worst() {
    let Some(chromium) = Chromium::start().await else { return };
    let site = Site::start(&[]);
    let tab = chromium.tab(&site.url).await;
    tab.open("/").await;
    // Cells from 1 to 100 on a logarithmic scale, which has no place for 0: the mean of a cell may be there.
    let shades = |maximize: bool| {
        let map = format!(
            "{{ min: 1, max: 100, metric: {{ maximize: {maximize} }}, scale: {{ at: Math.log10 }} }}"
        );
        let shade = format!("module.HeatMap.prototype.shade.call({map}, value)");
        of_module("charts/heatmap.js", &format!("[100, 1000, 10, 1, 0.001, 0, NaN].map((value) => {shade})"))
    };
    assert_eq!(tab.value::<Vec<f64>>(&shades(true)).await, [0.0, 0.0, 12.0, 23.0, 23.0, 23.0, 23.0]);
    assert_eq!(tab.value::<Vec<f64>>(&shades(false)).await, [23.0, 23.0, 12.0, 0.0, 0.0, 0.0, 23.0]);
    tab.check().await;
    chromium.end().await;
}

/// What `order.js` finds of some random jobs with many equal values, and what a comparison of each two of them finds: how often they differ.
const DIFFER: &str = "(() => { const { best, leading, pareto } = module; \
    let state = 1; const random = () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647; \
    const number = (few, odd) => () => { const kind = random(); \
      return kind < 0.1 ? NaN : kind < 0.15 ? odd : Math.floor(random() * few) / few; }; \
    const isIn = (row) => row % 5 !== 3; let differ = 0; \
    for (let round = 0; round < 2_000; round += 1) { \
      const [jobs, few, maximize, most] = [Math.floor(random() * 60), 1 + Math.floor(random() * 30), random() < 0.5, 1 + Math.floor(random() * 8)]; \
      const cost = Float32Array.from({ length: jobs }, number(few, Infinity)); \
      const value = Float32Array.from({ length: jobs }, number(few, -Infinity)); \
      const isBetter = (one, other) => (maximize ? value[one] > value[other] : value[one] < value[other]); \
      const rows = [...cost.keys()].filter((row) => isIn(row) && !Number.isNaN(value[row])); \
      const beats = (one, other) => cost[one] <= cost[other] && !isBetter(other, one) && \
        (cost[one] < cost[other] || isBetter(one, other) || one < other); \
      const timed = rows.filter((row) => !Number.isNaN(cost[row])); \
      const front = timed.filter((row) => !timed.some((other) => other !== row && beats(other, row))).sort((a, b) => cost[a] - cost[b]); \
      if (pareto(cost, value, maximize, isIn).join() !== front.join()) differ += 1; \
      const all = [...rows].sort((a, b) => (isBetter(a, b) ? -1 : isBetter(b, a) ? 1 : a - b)); \
      if (leading(value, maximize, most, isIn).join() !== all.slice(0, most).join()) differ += 1; \
      if ([...best(value, maximize)].filter(isIn).join() !== all.join()) differ += 1; \
    } return differ; })()";

#[tokio::test(flavor = "multi_thread")]
async fn the_best_jobs_and_those_that_none_beats_are_found_without_comparing_all() {
    let Some(chromium) = Chromium::start().await else { return };
    let site = Site::start(&[]);
    let tab = chromium.tab(&site.url).await;
    tab.open("/").await;
    assert_eq!(tab.value::<u32>(&of_module("order.js", DIFFER)).await, 0);
    // Of orders of so many, those in which one comes twice, or a beginning is unlike the whole.
    let odd = "[1, 2, 3, 12, 1_000, 10_300, 41_200, 123_600, 123_601, 200_000].filter((length) => { \
        const order = Array.from({ length }, (_, place) => (place * module.stride(length)) % length); \
        const part = order.slice(0, 500); \
        return new Set(order).size !== length || \
          (length >= 1_000 && Math.abs(part.reduce((sum, one) => sum + one, 0) / part.length / length - 0.5) > 0.02); })";
    assert_eq!(tab.value::<Vec<u32>>(&of_module("order.js", odd)).await, Vec::<u32>::new());
    tab.check().await;
    chromium.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_on_the_screen_is_drawn_when_one_comes_there_or_prints() {
    let Some(chromium) = Chromium::start().await else { return };
    let (site, sweep) = Site::with_sweep();
    let tab = chromium.tab(&site.url).await;
    let map = is_drawn(".heatmap");
    let is_there = "document.querySelector('figure:has(.heatmap) select') !== null && document.querySelector('.heatmap').clientWidth > 0";
    for come in
        ["dispatchEvent(new Event('beforeprint'))", "document.querySelector('.heatmap').scrollIntoView()"]
    {
        tab.open(&format!("/sweeps/{sweep}")).await;
        tab.until(is_there).await;
        tab.until(&is_drawn(".scatter")).await;
        assert!(!tab.value::<bool>(&map).await, "it is further down");
        tab.run(come).await;
        tab.until(&map).await;
    }
    tab.check().await;
    chromium.end().await;
}
