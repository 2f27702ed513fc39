//! Names that clash, and figures of several sweeps next to each other.

use crate::{Site, chromium::Chromium};

#[tokio::test(flavor = "multi_thread")]
async fn a_metric_is_not_taken_for_a_parameter_of_its_name() {
    let Some(chromium) = Chromium::start().await else { return };
    let site = Site::start(&[]);
    site.put(
        "clash.py",
        "import sweep\np = sweep.parameters(lr=0.5)\nfor epoch in (1, 2, 3):\n    \
         sweep.report(epoch, loss=[0.3, 0.1, 0.2][epoch - 1], best_loss=77.0, lr=p.lr * 1000)\n",
    );
    let sweep = site.submit_this(
        "name: clash\nprogram: clash.py\nmetric: {name: loss, goal: minimize, use: best}\nparameters:\n  lr: {values: [0.5, 0.25]}\n",
    );
    site.wait(sweep);
    let tab = chromium.tab(&site.url).await;
    tab.open(&format!("/sweeps/{sweep}")).await;
    tab.until("document.querySelectorAll('tbody tr[data-job]').length === 2").await;
    tab.run("document.querySelector('#jobs details.menu').open = true").await;
    for name in ["lr", "loss", "best_loss"] {
        tab.run(&format!(
            "[...document.querySelectorAll('#jobs .checks label')].filter((one) => one.innerText === {name:?}).at(-1).querySelector('input').click()"
        ))
        .await;
    }
    let cells = |column: &str| {
        format!(
            "[...document.querySelectorAll('tbody tr[data-job]')].map((row) => \
             Number(row.cells[[...document.querySelectorAll('#jobs th')].findIndex((th) => th.dataset.column === {column:?})].innerText))"
        )
    };
    for (column, values) in [
        ("objective", [0.1, 0.1]),
        ("metric:loss", [0.2, 0.2]),
        ("metric:best_loss", [77.0, 77.0]),
        ("metric:lr", [500.0, 250.0]),
        ("parameter:lr", [0.5, 0.25]),
    ] {
        assert_eq!(tab.value::<Vec<f64>>(&cells(column)).await, values, "{column}");
    }
    tab.check().await;
    tab.open(&format!("/sweeps/{sweep}/jobs/1")).await;
    tab.until("document.querySelector('.headline b').innerText === '0.1'").await;
    tab.until("document.querySelectorAll('.charts h2').length === 3").await;
    tab.check().await;
    chromium.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_of_a_pack_counts_once_where_sweeps_are_compared() {
    let Some(chromium) = Chromium::start().await else { return };
    let (site, sweep) = Site::with_sweep();
    let other = site.submit(None);
    site.wait(other);
    let tab = chromium.tab(&site.url).await;
    // As if all jobs had been trained in packs of four, and seven were too many to be sent.
    tab.before_each_page(
        "const ask = window.fetch; window.fetch = async (address, ...more) => { \
           const answer = await ask(address, ...more); \
           if (!String(address).includes('/columns')) return answer; \
           const bytes = await answer.arrayBuffer(); \
           const length = new DataView(bytes).getUint32(0, true); \
           const text = new TextDecoder().decode(new Uint8Array(bytes, 4, length)); \
           let at = 4 + length; \
           for (const { name, bytes: size } of JSON.parse(text).columns) { \
             if (name === 'pack_size') new Uint8Array(bytes, at, size).fill(4); \
             at += Math.ceil(size / 4) * 4; \
           } \
           new Uint8Array(bytes, 4, length).set(new TextEncoder().encode(text.replace('\"left_out\":0', '\"left_out\":7'))); \
           return new Response(bytes, { headers: answer.headers }); };",
    )
    .await;
    tab.open(&format!("/compare?sweeps={sweep},{other}")).await;
    tab.until(&format!(
        "document.body.innerText.includes('The curves of sweep {sweep} leave out 7 jobs, none of them among the best.')"
    ))
    .await;
    let compared = site.sweep(&["compare", &sweep.to_string(), &other.to_string(), "-o", "json"]);
    let seconds = compared["sweeps"][0]["train_seconds"].as_f64().unwrap();
    // The table has the server's sum, which knows the packs; the last point of the curve is at the page's own.
    let figure =
        "[...document.querySelectorAll('figure')].filter((one) => one.querySelector('.lines')).at(-1)";
    tab.until(&format!("{figure}.querySelector('.uplot') !== null")).await;
    tab.run(&format!("{figure}.querySelector('.lines').focus()")).await;
    tab.press("ArrowDown").await;
    let value = format!("{figure}.querySelector('.value').textContent");
    tab.until(&format!("{value} !== ''")).await;
    let text: String = tab.value(&value).await;
    let (before, _) = text.rsplit_once(':').unwrap();
    let shown: f64 = before.rsplit(' ').next().unwrap().parse().unwrap();
    assert!((shown / (seconds / 4.0) - 1.0).abs() < 0.01, "{text}: {seconds} in all, in packs of four");
    tab.check().await;
    chromium.end().await;
}
