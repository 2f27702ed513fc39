//! What people and programs name is text wherever it is shown: each name as strange as its rule lets it be.

use std::fs;

use crate::{HOSTILE, chromium::Chromium, roles::Guarded};

/// A sweep's name has no slashes.
const NAME: &str = "<img src=x onerror=\"window.harmed = 3\">\u{202e}";
/// A parameter's name has neither spaces nor signs of equality.
const PARAMETER: &str = "<script>window.harmed++</script>\u{202e}<svg/onload>";
const METRIC: &str = "<img src=x onerror=window.harmed=4>\u{202e}";
const FILE: &str = "<img src=x onerror=window.harmed=5>\u{202e}.html";
/// Fails with what would do harm, or leaves a file and reports.
const PROGRAM: &str = "\
import json, os, sweep
p = sweep.parameters(label='')
hostile, metric, file = json.loads(os.environ['NAMES'])
print(hostile, flush=True)
if p.label == 'fails':
    raise ValueError(hostile)
with open(os.path.join(sweep.output(), file), 'w') as left:
    left.write(hostile)
for epoch in range(1, 4):
    sweep.report(epoch, **{metric: float(epoch)})
";

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_name_is_text_on_every_page_in_both_languages() {
    let Some(chromium) = Chromium::start().await else { return };
    let worker = format!("._-{}", "w".repeat(97));
    let site = Guarded::with_worker(&worker);
    let owner = format!("{}@-._", "o".repeat(60));
    let (token_file, token) = site.token("submitter", &owner);
    let folder = site.cluster.folder.path().join("own");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("train.py"), PROGRAM).unwrap();
    let names = serde_json::to_string(&[HOSTILE, METRIC, FILE]).unwrap();
    let file = format!(
        "name: {}\nprogram: train.py\nmetric: {{name: {}, goal: maximize}}\nartifacts: {{keep: all}}\n\
         parameters: {{label: {{values: [fails, {}]}}, {}: {{values: [1, 2]}}}}\nexecution: {{attempts_max: 1, env: {{NAMES: {}}}}}\n",
        quoted(NAME),
        quoted(METRIC),
        quoted(HOSTILE),
        quoted(PARAMETER),
        quoted(&names)
    );
    fs::write(folder.join("sweep.yaml"), file).unwrap();
    for _ in 0..2 {
        site.sweep(&token_file, &["submit", folder.join("sweep.yaml").to_str().unwrap()]);
    }
    let tab = chromium.tab(&site.url()).await;
    site.log_in(&tab, &token).await;
    tab.open("/").await;
    tab.until("document.body.innerText.split('4 of 4 ended').length === 3").await;
    // What it left comes after its end.
    let visible = |text: &str| text.split('\u{202e}').next().unwrap().to_owned();
    let (name, parameter, metric, left) = (visible(NAME), visible(PARAMETER), visible(METRIC), visible(FILE));
    let failed = "document.querySelectorAll('tr [data-state=failed]').length";
    tab.open("/sweeps/1").await;
    tab.until(&format!("{failed} > 0")).await;
    let jobs: Vec<(u64, String)> = tab
        .value("[...document.querySelectorAll('tbody tr[data-job]')].map((row) => [Number(row.dataset.job), row.querySelector('.badge').dataset.state])")
        .await;
    let job = |state: &str| jobs.iter().find(|(_, is)| is == state).unwrap_or_else(|| panic!("{jobs:?}")).0;
    let (failed, done) =
        (format!("/sweeps/1/jobs/{}", job("failed")), format!("/sweeps/1/jobs/{}", job("done")));
    let pages: [(&str, &[&String]); 6] = [
        ("/", &[&name, &metric, &owner]),
        ("/sweeps/1", &[&name, &metric, &parameter, &owner, &worker]),
        (&failed, &[&name, &parameter, &worker]),
        (&done, &[&name, &metric, &parameter, &worker, &left]),
        ("/workers", &[&worker]),
        ("/compare?sweeps=1,2", &[&name]),
    ];
    for language in ["en", "ja"] {
        tab.speak(language).await;
        for (path, says) in pages {
            for width in [1280, 390] {
                tab.resize(width).await;
                tab.open(path).await;
                for text in says {
                    // A long one may be cut.
                    let shown: String = text.chars().take(38).collect();
                    tab.until(&format!("document.body.textContent.includes({})", quoted(&shown))).await;
                }
                tab.check_width(&format!("{path} {language} {width}")).await;
                tab.check().await;
            }
        }
    }
    chromium.end().await;
}
