//! The report's page, which is a file (its own policy lets its style and its script through, and nothing else), and sweeps next to each other.

use crate::{
    Site,
    chromium::{Chromium, Tab},
};

/// The texts of a column of the first table that is seen.
fn column(column: u32) -> String {
    format!(
        "[...document.querySelector('table.sorts').tBodies[0].rows].map((row) => row.cells[{column}].textContent)"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tables_of_a_report_are_sorted_by_their_headings_and_paper_has_them_as_they_were() {
    let Some(chromium) = Chromium::start().await else { return };
    let (site, sweep) = Site::with_sweep();
    for language in ["en", "ja"] {
        let folder = site.cluster.folder.path().join(language);
        site.sweep(&["report", &sweep.to_string(), "--output", folder.to_str().unwrap(), "--lang", language]);
        let tab = chromium.tab(&format!("file://{}", folder.display())).await;
        tab.open_plain("/report.html").await;
        tab.until("document.querySelector('table.sorts th button') !== null").await;
        let jobs = column(0);
        let ranked: Vec<String> = tab.value(&jobs).await;
        assert_eq!(ranked.len(), 12);
        let numbers = |texts: &[String]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<u64>>();
        let mut rising = numbers(&ranked);
        rising.sort_unstable();
        assert_ne!(numbers(&ranked), rising, "the best come first");
        let heading = "table.sorts th:first-child button";
        tab.click(heading).await;
        assert_eq!(numbers(&tab.value::<Vec<String>>(&jobs).await), rising);
        tab.run("dispatchEvent(new Event('beforeprint'))").await;
        assert_eq!(tab.value::<Vec<String>>(&jobs).await, ranked, "on paper");
        tab.run("dispatchEvent(new Event('afterprint'))").await;
        // A heading has the focus once it was clicked.
        tab.press("Enter").await;
        rising.reverse();
        assert_eq!(numbers(&tab.value::<Vec<String>>(&jobs).await), rising);
        assert_eq!(tab.value::<String>("document.activeElement.parentElement.ariaSort").await, "descending");
        tab.press("Enter").await;
        assert_eq!(tab.value::<Vec<String>>(&jobs).await, ranked);
        for width in [1280, 390] {
            tab.resize(width).await;
            tab.check_width(language).await;
        }
        tab.check_with_scripts(1).await;
    }
    chromium.end().await;
}

/// What the script that is given these cells of a column shows once its heading was clicked: those with a text, in their order.
async fn sorted(tab: &Tab, cells: &[&str]) -> Vec<String> {
    let cells = serde_json::to_string(cells).unwrap();
    tab.run(&format!(
        "{{ const table = document.querySelector('table.sorts'); const heading = table.tHead.rows[0].cells[1]; heading.className = ''; \
         heading.removeAttribute('aria-sort'); const cells = {cells}; \
         [...table.tBodies[0].rows].forEach((row, place) => {{ row.cells[1].textContent = cells[place] ?? ''; }}); \
         heading.querySelector('button').click(); }}"
    ))
    .await;
    let shown: Vec<String> = tab.value(&column(1)).await;
    shown.into_iter().filter(|text| !text.is_empty()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_of_shares_and_intervals_are_sorted_by_their_numbers_and_texts_as_texts() {
    let Some(chromium) = Chromium::start().await else { return };
    let (site, sweep) = Site::with_sweep();
    let folder = site.cluster.folder.path().join("sorted");
    site.sweep(&["report", &sweep.to_string(), "--output", folder.to_str().unwrap()]);
    let tab = chromium.tab(&format!("file://{}", folder.display())).await;
    tab.open_plain("/report.html").await;
    tab.until("document.querySelector('table.sorts th button') !== null").await;
    for rising in [
        ["< 0.01 %", "0.12 %", "0.5 %", "12 %"],
        ["-0.2000 to 0.1000", "-0.0100 to 0.3000", "0.0500 to 0.0600", "inf"],
        ["-0.2000〜0.1000", "-0.0100〜0.3000", "0.0500〜0.0600", "1e3"],
        ["1.9.0", "1.10.0", "a2", "a10"],
        ["-5 apples", "-20 pears", "3x", "gelu"],
    ] {
        let falling: Vec<&str> = rising.into_iter().rev().collect();
        assert_eq!(sorted(&tab, &falling).await, rising);
    }
    chromium.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sweeps_are_compared_on_a_page_by_their_files_and_by_tests() {
    let Some(chromium) = Chromium::start().await else { return };
    let (site, first) = Site::with_sweep();
    let second = site.submit_this(
        "name: other\nprogram: train.py\nmetric: {name: score, goal: maximize}\nparameters:\n  rate: {values: [0.001, 0.01, 0.1]}\n  \
         width: {values: [1]}\n  label: {values: [plain]}\nexecution: {env: {WAIT_FOR: ''}}\n",
    );
    site.wait(second);
    let tab = chromium.tab(&site.url).await;
    for (language, trainings, says) in [
        (
            "en",
            "Trainings",
            [
                "What the files differ in",
                "Configurations in both: 3",
                "not tested, as one of them was trained once",
            ],
        ),
        ("ja", "学習回数", ["ファイルの違い", "両方にある設定は 3 通り", "学習が 1 回の設定があるため"]),
    ] {
        tab.open("/").await;
        tab.speak(language).await;
        for width in [1280, 390] {
            tab.resize(width).await;
            tab.open(&format!("/compare?sweeps={first},{second}")).await;
            let text = tab.text().await;
            for expected in says.into_iter().chain(["parameters.width.value", trainings]) {
                assert!(text.contains(expected), "{expected}: {text}");
            }
            tab.check_width(language).await;
        }
        tab.check().await;
    }
    chromium.end().await;
}
