//! What each page shows and does.

use std::fs;

use crate::{HOSTILE, Site, chromium::Chromium};

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_whole_in_both_languages_and_on_a_phone() {
    let Some(chromium) = Chromium::start().await else { return };
    let (site, _) = Site::with_sweep();
    let tab = chromium.tab(&site.url).await;
    let pages = ["/", "/sweeps/1", "/sweeps/1/jobs/1", "/sweeps/1/jobs/2", "/workers", "/compare?sweeps=1"];
    for (language, says) in [("en", "Sweeps"), ("ja", "スイープ")] {
        tab.open("/").await;
        tab.speak(language).await;
        for path in pages {
            for width in [1280, 390] {
                tab.resize(width).await;
                tab.open(path).await;
                assert!(tab.text().await.contains(says), "{path} {language}: {}", tab.text().await);
                tab.check_width(&format!("{path} {language}")).await;
                tab.check().await;
            }
        }
    }
    chromium.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_language_is_changed_by_its_button_and_stays_so() {
    let Some(chromium) = Chromium::start().await else { return };
    let (site, sweep) = Site::with_sweep();
    let tab = chromium.tab(&site.url).await;
    let path = format!("/sweeps/{sweep}");
    tab.open(&path).await;
    for (button, says) in [("日本語", "ジョブ"), ("English", "Jobs")] {
        let is_button = format!(
            "[...document.querySelectorAll('#top button')].find((one) => one.textContent.includes({button:?}))"
        );
        tab.run(&format!("{is_button}.id = 'language'")).await;
        tab.click("#language").await;
        tab.until(&format!("document.body.innerText.includes({says:?}) && document.querySelector('main')?.dataset.ready === 'true'")).await;
        assert_eq!(tab.value::<String>("location.pathname").await, path);
        tab.check().await;
        tab.open("/workers").await;
        let language = if button == "日本語" { "ja" } else { "en" };
        assert_eq!(tab.value::<String>("document.documentElement.lang").await, language);
        tab.open(&path).await;
    }
    chromium.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_is_seen_as_it_goes_on() {
    let Some(chromium) = Chromium::start().await else { return };
    let site = Site::start(&[]);
    let goes = site.cluster.folder.path().join("goes");
    let sweep = site.submit(Some(&goes));
    let tab = chromium.tab(&site.url).await;
    tab.open(&format!("/sweeps/{sweep}")).await;
    tab.until("document.body.innerText.includes('0 of 12')").await;
    let list = chromium.tab(&site.url).await;
    list.open("/").await;
    list.until("document.body.innerText.includes('0 of 12')").await;
    tab.to_front().await;
    tab.value::<bool>("window.same = true").await;
    fs::write(goes, "").unwrap();
    // Nothing is loaded again: the page hears of it.
    tab.until("document.body.innerText.includes('12 of 12')").await;
    tab.until("document.querySelectorAll('tbody tr[data-job]').length === 12").await;
    assert!(tab.value::<bool>("window.same").await);
    list.to_front().await;
    list.until("document.body.innerText.includes('12 of 12')").await;
    let best = site.sweep(&["show", &sweep.to_string(), "-o", "json"]);
    let shown = format!("{}\u{a0}Job {}", best["best"], best["best_job"]);
    let text = tab.text().await.replace(' ', "\u{a0}");
    assert!(text.contains(&shown.replace(' ', "\u{a0}")), "{shown} in {text}");
    tab.check().await;
    list.check().await;
    chromium.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_sorted_filtered_and_brushed() {
    let Some(chromium) = Chromium::start().await else { return };
    let (site, sweep) = Site::with_sweep();
    let tab = chromium.tab(&site.url).await;
    tab.open(&format!("/sweeps/{sweep}")).await;
    tab.until("document.querySelectorAll('tbody tr[data-job]').length === 12").await;
    let order = "[...document.querySelectorAll('tbody tr[data-job]')].map((row) => Number(row.dataset.job))";
    // The best first, until the reader wants them otherwise.
    let best = site.sweep(&["show", &sweep.to_string(), "-o", "json"])["best_job"].as_u64().unwrap();
    assert_eq!(tab.value::<Vec<u64>>(order).await[0], best);
    let by_number = "th[data-column=job] button";
    tab.click(by_number).await;
    tab.until(&format!("JSON.stringify({order}) === JSON.stringify([1,2,3,4,5,6,7,8,9,10,11,12])")).await;
    tab.click(by_number).await;
    tab.until(&format!("({order})[0] === 12")).await;
    // By a metric that does not rank, which only the server has of all jobs.
    tab.run("document.querySelector('#jobs details.menu').open = true").await;
    tab.run(
        "[...document.querySelectorAll('#jobs .checks label')].find((one) => one.innerText === 'loss').querySelector('input').click()",
    )
    .await;
    tab.click("th[data-column='metric:loss'] button").await;
    let losses = "[...document.querySelectorAll('tbody tr[data-job]')].map((row) => \
                  Number(row.cells[[...document.querySelectorAll('#jobs th')].findIndex((th) => th.dataset.column === 'metric:loss')].innerText))";
    tab.until(&format!("(({losses}).every((loss, at, all) => at === 0 || loss >= all[at - 1]))")).await;
    assert_eq!(tab.value::<Vec<f64>>(losses).await[0], 0.25);
    tab.type_into("#jobs input[type=search]", "rate=0.01").await;
    tab.until(&format!("({order}).length === 4")).await;
    tab.type_into("#jobs input[type=search]", " width<2").await;
    tab.until(&format!("({order}).length === 2")).await;
    tab.run("document.querySelector('#jobs input[type=search]').select()").await;
    tab.type_into("#jobs input[type=search]", "nothing").await;
    tab.until("document.querySelector('#jobs tbody').innerText.includes('No job matches')").await;
    tab.check().await;
    chromium.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_stays_under_a_pointer_while_charts_above_it_come() {
    let Some(chromium) = Chromium::start().await else { return };
    let (site, sweep) = Site::with_sweep();
    let tab = chromium.tab(&site.url).await;
    // What the results mean comes once the test lets it.
    tab.before_each_page(
        "const ask = window.fetch; const held = new Promise((go) => { window.letGo = go; }); \
         window.fetch = (address, ...more) => (String(address).endsWith('/analysis') ? held.then(() => ask(address, ...more)) : ask(address, ...more));",
    )
    .await;
    tab.open(&format!("/sweeps/{sweep}")).await;
    tab.until("document.querySelectorAll('tbody tr[data-job]').length === 12").await;
    tab.until("document.querySelector('.lines .uplot') !== null").await;
    let heading = "document.querySelector('#jobs th[data-column=job]')";
    tab.run(&format!("{heading}.scrollIntoView({{ block: 'end' }})")).await;
    tab.until("document.querySelector('figure:has(.timeline) .note').textContent !== ''").await;
    let top = format!("{heading}.getBoundingClientRect().top");
    let charts = "document.querySelector('.charts').offsetHeight";
    let (before, height) = (tab.value::<f64>(&top).await, tab.value::<f64>(charts).await);
    tab.run("window.letGo()").await;
    tab.until(&format!("{charts} > {height} + 20")).await;
    tab.until(&format!("Math.abs({top} - {before}) < 1")).await;
    tab.check().await;
    chromium.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_a_sweep_is_and_when_its_turn_comes_stands_in_the_list_and_on_its_page() {
    let Some(chromium) = Chromium::start().await else { return };
    let token = tempfile::NamedTempFile::new().unwrap();
    fs::write(token.path(), "a-long-secret").unwrap();
    let serve = ["--http", "127.0.0.1:0", "--token-file", token.path().to_str().unwrap()].map(str::to_owned);
    let options = tests::ClusterOptions { serve: serve.into(), ..tests::ClusterOptions::default() };
    let cluster = tests::Cluster::start(options);
    let file = token.path().with_extension("yaml");
    let hers = "name: hers\ndataset: {path: d}\nparameters: {learning_rate: {values: [0.1]}}\nexecution: {priority: 7}\n";
    fs::write(&file, hers).unwrap();
    let file = file.to_str().unwrap();
    for arguments in [&["quota", "set", "admin", "--slots", "8", "--weight", "2"][..], &["submit", file]] {
        let ended = std::process::Command::new(tests::program("sweep"))
            .args(["--coordinator", &format!("http://{}", cluster.coordinator.address), "--token-file"])
            .arg(token.path())
            .args(arguments)
            .env("SWEEP_CONFIG", "/dev/null")
            .output()
            .unwrap();
        assert!(ended.status.success(), "{ended:?}");
    }
    let tab = chromium.tab(&format!("http://{}", cluster.coordinator.http())).await;
    tab.open_plain("/login").await;
    tab.type_into("#token", "a-long-secret").await;
    tab.press("Enter").await;
    for (path, language, says) in [
        ("/", "en", ["Owner: admin", "Slots: 0 of 8 · weight 2", "Priority: 7"]),
        ("/sweeps/1", "en", ["Owner\nadmin", "Owner’s slots\n0 of 8 · weight 2", "Priority\n7"]),
        ("/", "ja", ["所有者: admin", "スロット: 0 / 8 · 重み 2", "優先度: 7"]),
        ("/sweeps/1", "ja", ["所有者\nadmin", "所有者のスロット数\n0 / 8 · 重み 2", "優先度\n7"]),
    ] {
        tab.until("document.body.dataset.role === 'admin'").await;
        tab.speak(language).await;
        tab.open(path).await;
        for says in says {
            tab.until(&format!("document.body.innerText.includes({says:?})")).await;
        }
        tab.check_width(path).await;
    }
    chromium.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_is_cancelled_after_asking_by_keyboard_alone() {
    let Some(chromium) = Chromium::start().await else { return };
    let site = Site::start(&[]);
    let sweep = site.submit(Some(&site.cluster.folder.path().join("never")));
    let tab = chromium.tab(&site.url).await;
    tab.open(&format!("/sweeps/{sweep}")).await;
    let focused = "document.activeElement?.textContent.trim()";
    let mut seen = Vec::new();
    loop {
        tab.press("Tab").await;
        let text = tab.value::<Option<String>>(focused).await.unwrap_or_default();
        if text.starts_with("Cancel") {
            break;
        }
        seen.push(text);
        assert!(seen.len() < 40, "no way to the button by Tab: {seen:?}");
    }
    tab.press("Enter").await;
    tab.until("document.querySelector('dialog[open]') !== null").await;
    tab.press("Escape").await;
    tab.until("document.querySelector('dialog[open]') === null").await;
    assert_eq!(site.sweep(&["show", &sweep.to_string(), "-o", "json"])["state"], "running");
    tab.press("Enter").await;
    tab.until("document.querySelector('dialog[open]') !== null").await;
    tab.click("dialog[open] .buttons button:last-child").await;
    tab.until("document.querySelector('h1').parentElement.innerText.includes('cancelled')").await;
    // Nothing runs any more, and nothing is said to.
    tab.until("![...document.querySelectorAll('h2')].some((one) => one.textContent === 'Running jobs' && one.checkVisibility())").await;
    assert_eq!(site.sweep(&["show", &sweep.to_string(), "-o", "json"])["state"], "cancelled");
    tab.check().await;
    chromium.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_jobs_say_stays_text() {
    let Some(chromium) = Chromium::start().await else { return };
    let (site, sweep) = Site::with_sweep();
    let tab = chromium.tab(&site.url).await;
    // Of the twelve jobs, every other has the hostile label.
    for path in [format!("/sweeps/{sweep}"), format!("/sweeps/{sweep}/jobs/2")] {
        tab.open(&path).await;
        let visible = HOSTILE.split('\u{202e}').next().unwrap();
        let wanted = serde_json::to_string(visible).unwrap();
        tab.until(&format!("document.body.textContent.includes({wanted})")).await;
        tab.check().await;
    }
    chromium.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_asked_for_once_and_a_viewer_only_looks() {
    let Some(chromium) = Chromium::start().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, token: &str| {
        let path = folder.path().join(name);
        fs::write(&path, token).unwrap();
        path.display().to_string()
    };
    let (all, viewer) = (file("all", "a-long-secret"), file("viewer", "another-secret"));
    let serve =
        ["--http", "127.0.0.1:0", "--token-file", &all, "--viewer-token-file", &viewer].map(str::to_owned);
    let options = tests::ClusterOptions { serve: serve.into(), ..tests::ClusterOptions::default() };
    let cluster = tests::Cluster::start(options);
    let site = format!("http://{}", cluster.coordinator.http());
    for (token, role) in [("another-secret", "viewer"), ("a-long-secret", "admin")] {
        let tab = chromium.tab(&site).await;
        if role == "viewer" {
            // Who has no session yet is asked for it.
            tab.open_plain("/compare?sweeps=1,2").await;
            tab.until("location.pathname === '/login'").await;
        } else {
            tab.open_plain("/login?next=/compare%3Fsweeps%3D1%2C2").await;
        }
        tab.type_into("#token", "wrong").await;
        tab.press("Enter").await;
        tab.until("document.body.innerText.includes('The token is wrong')").await;
        tab.type_into("#token", token).await;
        tab.press("Enter").await;
        tab.until(&format!("document.body.dataset.role === '{role}'")).await;
        let came_to = tab.value::<String>("location.pathname + location.search").await;
        assert_eq!(came_to, "/compare?sweeps=1,2", "the page that was wanted");
        tab.open("/workers").await;
        assert_eq!(tab.value::<String>("document.body.dataset.role").await, role);
        assert_eq!(tab.value::<String>("document.cookie").await, "", "no script reads it");
    }
    chromium.end().await;
}
