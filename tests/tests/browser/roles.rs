//! Who is offered what: nothing that would be refused, and from the list of sweeps as from their own pages.

use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;
use tests::{Cluster, ClusterOptions, program, write};

use crate::{
    Site,
    chromium::{Chromium, Tab},
};

/// A coordinator with an admin's token, and a worker.
pub(crate) struct Guarded {
    pub(crate) cluster: Cluster,
    _worker: tests::Worker,
    folder: TempDir,
    admin: String,
}

impl Guarded {
    /// With a worker of this name.
    pub(crate) fn with_worker(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let admin = write(folder.path(), "admin", "a-long-secret-of-admins");
        let words = |all: &[&str]| all.iter().map(ToString::to_string).collect();
        let options = ClusterOptions {
            serve: words(&["--http", "127.0.0.1:0", "--token-file", &admin]),
            worker: words(&["--allow-commands", "--token-file", &admin]),
            ..ClusterOptions::default()
        };
        let cluster = Cluster::start(options);
        let worker = cluster.worker(name);
        Self { cluster, _worker: worker, folder, admin }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.cluster.coordinator.http())
    }

    /// What a command writes for who has the token of a file.
    pub(crate) fn sweep(&self, token: &str, arguments: &[&str]) -> String {
        let coordinator = format!("http://{}", self.cluster.coordinator.address);
        let ended = Command::new(program("sweep"))
            .args(["--coordinator", &coordinator, "--token-file", token])
            .args(arguments)
            .env("SWEEP_CONFIG", "/dev/null")
            .output()
            .unwrap();
        assert!(ended.status.success(), "{ended:?}");
        String::from_utf8(ended.stdout).unwrap()
    }

    /// Submits a sweep that waits for what no one has.
    fn submit(&self, token: &str, name: &str) {
        write(self.folder.path(), "train.py", "");
        let text = format!(
            "name: {name}\nprogram: train.py\nmetric: {{name: score, goal: maximize}}\nparameters: {{rate: {{values: [0.1, 0.2]}}}}\n\
             resources: {{gpus: 2}}\n"
        );
        let file = write(self.folder.path(), "sweep.yaml", &text);
        self.sweep(token, &["submit", &file]);
    }

    /// Makes a token; gives its file and itself.
    pub(crate) fn token(&self, role: &str, name: &str) -> (String, String) {
        let token =
            self.sweep(&self.admin, &["token", "create", "--role", role, "--name", name]).trim().to_owned();
        (write(self.folder.path(), name, &token), token)
    }

    /// Shows a token.
    pub(crate) async fn log_in(&self, tab: &Tab, token: &str) {
        tab.open_plain("/login").await;
        tab.type_into("#token", token).await;
        tab.press("Enter").await;
        tab.until("(document.body.dataset.role ?? '') !== ''").await;
    }
}

/// The texts of the buttons on a page that change something.
async fn offered(tab: &Tab, path: &str) -> Vec<String> {
    tab.open(path).await;
    tab.until("document.querySelector('.caption h1') !== null && (location.pathname !== '/workers' || document.querySelector('td') !== null)").await;
    let words = "['Pause', 'Resume', 'Retry', 'Stop', 'Cancel', 'Drain']";
    tab.value(&format!(
        "[...document.querySelectorAll('main button')].map((one) => one.textContent).filter((text) => {words}.includes(text))"
    ))
    .await
}

/// The names of the sweeps with actions in the list.
async fn listed(tab: &Tab) -> Vec<String> {
    tab.open("/").await;
    tab.until("document.querySelectorAll('tbody tr').length === 2").await;
    tab.value("[...document.querySelectorAll('tbody tr')].filter((row) => row.querySelector('.more')).map((row) => row.dataset.address)")
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn everyone_is_offered_what_they_may_do_and_nothing_else() {
    let Some(chromium) = Chromium::start().await else { return };
    let site = Guarded::with_worker("a");
    let (ann_file, ann) = site.token("submitter", "ann");
    let (_, eve) = site.token("viewer", "eve");
    site.submit(&ann_file, "hers");
    site.submit(&site.admin, "others");
    let (all, one) = (["Pause", "Stop", "Cancel"], ["Stop", "Cancel"]);
    let none: [&str; 0] = [];
    let tab = chromium.tab(&site.url()).await;
    site.log_in(&tab, &ann).await;
    assert_eq!(listed(&tab).await, ["/sweeps/1"]);
    assert_eq!(offered(&tab, "/sweeps/1").await, all);
    assert_eq!(offered(&tab, "/sweeps/2").await, none);
    assert_eq!(offered(&tab, "/sweeps/1/jobs/1").await, one);
    assert_eq!(offered(&tab, "/sweeps/2/jobs/1").await, none);
    assert_eq!(offered(&tab, "/workers").await, none);
    // What she is offered is done.
    tab.open("/").await;
    tab.until("document.querySelector('.more') !== null").await;
    let more = tab.within(".more", (0.5, 0.5)).await;
    tab.clicks(more, 1).await;
    tab.until("document.querySelector('.row-menu:popover-open button')?.textContent === 'Pause'").await;
    tab.click(".row-menu button").await;
    tab.until("document.querySelector('dialog[open]') !== null").await;
    tab.click("dialog[open] .buttons button:last-child").await;
    tab.until("document.querySelector('[data-address=\"/sweeps/1\"] .badge').textContent === 'paused'").await;
    let shown: Value = serde_json::from_str(&site.sweep(&ann_file, &["show", "1", "-o", "json"])).unwrap();
    assert_eq!(shown["state"], "paused");
    tab.check().await;
    site.log_in(&tab, &eve).await;
    assert!(listed(&tab).await.is_empty());
    assert!(tab.text().await.contains("view only"));
    for path in ["/sweeps/1", "/sweeps/2", "/sweeps/1/jobs/1", "/workers"] {
        assert_eq!(offered(&tab, path).await, none, "{path}");
    }
    site.log_in(&tab, "a-long-secret-of-admins").await;
    assert_eq!(listed(&tab).await.len(), 2);
    assert_eq!(offered(&tab, "/sweeps/1").await, ["Resume", "Stop", "Cancel"]);
    assert_eq!(offered(&tab, "/sweeps/2").await, all);
    assert_eq!(offered(&tab, "/workers").await, ["Drain"]);
    tab.check().await;
    chromium.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sweeps_are_changed_in_their_list_by_keyboard_on_a_phone_while_it_goes_on() {
    let Some(chromium) = Chromium::start().await else { return };
    let site = Site::start(&[]);
    let never = site.cluster.folder.path().join("never");
    let sweep = site.submit(Some(&never));
    let tab = chromium.tab(&site.url).await;
    tab.resize(390).await;
    tab.open("/").await;
    let row = format!("document.querySelector('[data-address=\"/sweeps/{sweep}\"]')");
    let focused = "document.activeElement.textContent";
    tab.until(&format!("{row}?.querySelector('.more') !== null")).await;
    tab.run(&format!("{row}.querySelector('.more').focus()")).await;
    tab.press("Enter").await;
    tab.until(&format!("{focused} === 'Pause'")).await;
    // Another sweep comes: who reads the menu keeps it.
    let other = site.submit(Some(&never));
    tab.until(&format!("document.querySelector('[data-address=\"/sweeps/{other}\"]') !== null")).await;
    assert_eq!(tab.value::<String>(focused).await, "Pause");
    tab.press("ArrowDown").await;
    assert_eq!(tab.value::<String>(focused).await, "Stop");
    let box_ = "document.querySelector('.row-menu').getBoundingClientRect()";
    assert!(tab.value::<bool>(&format!("{box_}.left >= 0 && {box_}.right <= innerWidth")).await);
    tab.check_width("the list with its menu").await;
    tab.press("ArrowUp").await;
    tab.press("Enter").await;
    tab.until("document.querySelector('dialog[open] h2')?.textContent.startsWith('Pause sweep')").await;
    // Who closes it is where the menu was opened.
    let is_back = format!("document.activeElement === {row}.querySelector('.more')");
    tab.press("Escape").await;
    tab.until(&is_back).await;
    tab.press("Enter").await;
    tab.until(&format!("{focused} === 'Pause'")).await;
    tab.press("Escape").await;
    tab.until(&is_back).await;
    for (action, state) in
        [("Pause", "paused"), ("Resume", "running"), ("Cancel", "cancelled"), ("Retry", "running")]
    {
        tab.press("Enter").await;
        tab.until("document.querySelector('.row-menu').matches(':popover-open')").await;
        tab.run(&format!(
            "[...document.querySelectorAll('.row-menu button')].find((one) => one.textContent === {action:?}).click()"
        ))
        .await;
        tab.until("document.querySelector('dialog[open]') !== null").await;
        tab.click("dialog[open] .buttons button:last-child").await;
        tab.until(&format!("{row}.querySelector('.badge').textContent === {state:?}")).await;
        tab.until(&is_back).await;
        assert_eq!(site.sweep(&["show", &sweep.to_string(), "-o", "json"])["state"], state);
    }
    // A mouse opens the menu and closes it again.
    let is_open = "document.querySelector('.row-menu').matches(':popover-open')";
    let button = format!("[data-address='/sweeps/{other}'] .more");
    tab.click(&button).await;
    tab.until(is_open).await;
    tab.click(&button).await;
    tab.until(&format!("!{is_open}")).await;
    assert_eq!(tab.value::<String>("location.pathname").await, "/");
    tab.check().await;
    chromium.end().await;
}
