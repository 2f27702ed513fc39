//! What a reader takes home: results of a sweep, and what is kept of its jobs.

use std::{fs, process::Command};

use tests::{PATIENCE, program};

use crate::{
    Site,
    chromium::{Chromium, Tab},
};

/// Leaves files, one of which a browser must not show.
const LEAVES: &str = "\
import os, sweep
p = sweep.parameters(size=1)
folder = sweep.output()
os.makedirs(os.path.join(folder, 'figures'))
with open(os.path.join(folder, 'figures', 'loss.html'), 'w') as file:
    file.write('<script>window.harmed = 3</script>')
with open(os.path.join(folder, 'model.bin'), 'wb') as file:
    file.write(bytes(range(256)) * p.size)
sweep.report(1, score=p.size)
";

impl Site {
    /// What a command writes.
    fn output(&self, arguments: &[&str]) -> Vec<u8> {
        let coordinator = format!("http://{}", self.cluster.coordinator.address);
        let mut command = Command::new(program("sweep"));
        command.args(["--coordinator", &coordinator]).args(arguments).env("SWEEP_CONFIG", "/dev/null");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        output.stdout
    }
}

/// Clicks on a link and gives the file that came of it.
async fn downloaded(chromium: &Chromium, tab: &Tab, selector: &str) -> (String, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let mut downloads = chromium.downloads(folder.path()).await;
    tab.until(&format!("document.querySelector({selector:?}) !== null")).await;
    tab.run(&format!("document.querySelector({selector:?}).scrollIntoView()")).await;
    tab.click(selector).await;
    let ended = tokio::time::timeout(PATIENCE, downloads.ended()).await.expect("it is downloaded");
    assert_eq!(ended, "completed", "{selector}");
    let files: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    (files[0].file_name().into_string().unwrap(), fs::read(files[0].path()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn results_are_downloaded_with_the_bytes_that_the_command_writes() {
    let Some(chromium) = Chromium::start().await else { return };
    let (site, sweep) = Site::with_sweep();
    let tab = chromium.tab(&site.url).await;
    tab.open(&format!("/sweeps/{sweep}")).await;
    let sweep = sweep.to_string();
    for (link, name, arguments) in [
        ("a[href$='format=csv']", "twelve-1.csv", &["--to", "csv"][..]),
        ("a[href$='csv&epochs=true']", "twelve-1-epochs.csv", &["--to", "csv", "--epochs"]),
        ("a[href$='format=json']", "twelve-1.json", &["--to", "json"]),
    ] {
        let (found, bytes) = downloaded(&chromium, &tab, &format!("#exports {link}")).await;
        assert_eq!(found, name);
        let expected = site.output(&[&["export", &sweep, "--output", "-"], arguments].concat());
        assert_eq!(String::from_utf8(bytes).unwrap(), String::from_utf8(expected).unwrap(), "{name}");
    }
    // The tables in the folder that the command writes.
    let folder = site.cluster.folder.path().join("parquet");
    site.output(&["export", &sweep, "--to", "parquet", "--output", folder.to_str().unwrap()]);
    for (link, name, file) in [
        ("a[href$='format=parquet']", "twelve-1.parquet", "jobs.parquet"),
        ("a[href$='format=parquet&epochs=true']", "twelve-1-epochs.parquet", "epochs.parquet"),
    ] {
        let (found, bytes) = downloaded(&chromium, &tab, &format!("#exports {link}")).await;
        assert_eq!(found, name);
        assert!(bytes == fs::read(folder.join(file)).unwrap(), "{name}: {} bytes", bytes.len());
    }
    tab.check().await;
    chromium.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_of_a_job_is_listed_and_downloaded_and_never_shown() {
    let Some(chromium) = Chromium::start().await else { return };
    let site = Site::start(&[]);
    let file = "name: leaves\nprogram: leaves.py\nmetric: {name: score, goal: maximize}\nartifacts: {keep: all}\n\
                parameters: {size: {values: [1, 2000]}}\n";
    site.put("leaves.py", LEAVES);
    let sweep = site.submit_this(file);
    site.wait(sweep);
    let tab = chromium.tab(&site.url).await;
    tab.open(&format!("/sweeps/{sweep}/jobs/2")).await;
    let links = "[...document.querySelectorAll('#files tbody a')].map((link) => link.innerText)";
    // It may still be on its way from its worker: the page hears of it.
    tab.until(&format!("({links}).length === 3")).await;
    assert_eq!(
        tab.value::<Vec<String>>(links).await,
        ["files.tar", "files/figures/loss.html", "files/model.bin"]
    );
    let link = |row: u32| format!("#files tbody tr:nth-child({row}) a");
    let (name, bytes) = downloaded(&chromium, &tab, &link(2)).await;
    assert_eq!(
        (name.as_str(), bytes.as_slice()),
        ("1-2-loss.html", b"<script>window.harmed = 3</script>".as_slice())
    );
    let (name, bytes) = downloaded(&chromium, &tab, &link(3)).await;
    let expected: Vec<u8> = (0..=255).cycle().take(256 * 2_000).collect();
    assert_eq!(name, "1-2-model.bin");
    assert!(bytes == expected, "{} bytes", bytes.len());
    assert_eq!(
        tab.value::<String>("location.pathname").await,
        format!("/sweeps/{sweep}/jobs/2"),
        "nothing was opened"
    );
    let hash = tab.value::<String>("document.querySelector('#files tbody tr:nth-child(3) code').title").await;
    assert_eq!(hash, blake3::hash(&expected).to_hex().as_str());
    tab.check().await;
    // What does not work is said in the reader's language, and then by the server.
    tab.speak("ja").await;
    tab.open_plain("/sweeps/77").await;
    tab.until("document.querySelector('.banner[data-kind=error]') !== null").await;
    let text = tab.text().await;
    assert!(text.contains("見つかりませんでした。") && text.contains("77"), "{text}");
    chromium.end().await;
}
