//! A real Chromium without a window, and pages that keep account of what must not happen on them.

use std::{
    env,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use chromiumoxide::{
    Browser, BrowserConfig, Page,
    cdp::{
        browser_protocol::{
            browser::{
                DownloadProgressState, EventDownloadProgress, SetDownloadBehaviorBehavior,
                SetDownloadBehaviorParams,
            },
            emulation::SetDeviceMetricsOverrideParams,
            input::{DispatchKeyEventParams, DispatchKeyEventType},
            log::EventEntryAdded,
            network::EventRequestWillBeSent,
            page::AddScriptToEvaluateOnNewDocumentParams,
        },
        js_protocol::runtime::{EventConsoleApiCalled, EventExceptionThrown},
    },
    handler::viewport::Viewport,
    listeners::EventStream,
};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use tempfile::TempDir;
use tests::{PATIENCE, skipped};
use tokio::{sync::watch, task::JoinHandle};

/// How often a page is asked again for what is to appear on it.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// Programs that may be Chromium.
const PROGRAMS: &[&str] = &["chromium", "chromium-browser", "google-chrome"];
/// Listens from within a page, as what the DevTools protocol evaluates is not held to the page's policy.
const LISTENER: &str = "window.violations = []; document.addEventListener('securitypolicyviolation', (event) => \
                        window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`));";

/// What a page says on its console so that a test knows that it has heard all that was said before.
const MARK: &str = "heard up to here";

/// A browser, which ends with its owner.
pub(crate) struct Chromium {
    browser: Browser,
    handler: JoinHandle<()>,
    _profile: TempDir,
}

/// What becomes of downloads.
pub(crate) struct Downloads(EventStream<EventDownloadProgress>);

impl Downloads {
    /// How the next one ended: `completed` or `canceled`.
    pub(crate) async fn ended(&mut self) -> &'static str {
        while let Some(progress) = self.0.next().await {
            match progress.state {
                DownloadProgressState::InProgress => {}
                DownloadProgressState::Completed => return "completed",
                DownloadProgressState::Canceled => return "canceled",
            }
        }
        "the browser ended"
    }
}

/// A page in it.
pub(crate) struct Tab {
    pub(crate) page: Page,
    site: String,
    /// What must not happen: errors on the console, exceptions, requests to others.
    faults: Arc<Mutex<Vec<String>>>,
    /// How many marks were set, and how many were heard of.
    marks: AtomicU64,
    heard: watch::Receiver<u64>,
}

impl Chromium {
    /// Starts one, if the machine has it; otherwise says that it has not.
    pub(crate) async fn start() -> Option<Self> {
        let paths = env::var_os("PATH").unwrap_or_default();
        let found = |name: &&str| {
            env::split_paths(&paths).map(|folder| folder.join(name)).find(|path| path.is_file())
        };
        let Some(program): Option<PathBuf> = PROGRAMS.iter().find_map(found) else {
            skipped(
                "Chromium is not on the PATH (Debian: apt install chromium): the page is not tested in a browser",
            );
            return None;
        };
        let profile = tempfile::tempdir().unwrap();
        let config = BrowserConfig::builder()
            .chrome_executable(program)
            .user_data_dir(profile.path())
            // Its sandbox needs rights that a container may not have; it only sees this coordinator's page.
            .no_sandbox()
            .viewport(Viewport { width: 1280, height: 900, ..Viewport::default() })
            .launch_timeout(PATIENCE)
            .build()
            .unwrap();
        let (browser, mut handler) = Browser::launch(config).await.unwrap();
        // Messages that the library does not know are errors of single messages: it goes on.
        let handler = tokio::spawn(async move { while handler.next().await.is_some() {} });
        Some(Self { browser, handler, _profile: profile })
    }

    /// A page of this site that has loaded nothing yet.
    pub(crate) async fn tab(&self, site: &str) -> Tab {
        let page = self.browser.new_page("about:blank").await.unwrap();
        page.execute(AddScriptToEvaluateOnNewDocumentParams::new(LISTENER)).await.unwrap();
        let (hears, heard) = watch::channel(0);
        let marks = AtomicU64::default();
        let tab = Tab { page, site: site.to_owned(), faults: Arc::default(), marks, heard };
        tab.listen(hears).await;
        tab
    }

    /// Keeps what is downloaded from now on in a folder, and says what became of it.
    pub(crate) async fn downloads(&self, folder: &Path) -> Downloads {
        let events = self.browser.event_listener::<EventDownloadProgress>().await.unwrap();
        let keep = SetDownloadBehaviorParams::builder()
            .behavior(SetDownloadBehaviorBehavior::Allow)
            .download_path(folder.display().to_string())
            .events_enabled(true);
        self.browser.execute(keep.build().unwrap()).await.unwrap();
        Downloads(events)
    }

    /// Ends it.
    pub(crate) async fn end(mut self) {
        self.browser.close().await.unwrap();
        self.browser.wait().await.unwrap();
        self.handler.abort();
    }
}

impl Tab {
    async fn listen(&self, hears: watch::Sender<u64>) {
        let mut requests = self.page.event_listener::<EventRequestWillBeSent>().await.unwrap();
        let mut console = self.page.event_listener::<EventConsoleApiCalled>().await.unwrap();
        let mut exceptions = self.page.event_listener::<EventExceptionThrown>().await.unwrap();
        let mut log = self.page.event_listener::<EventEntryAdded>().await.unwrap();
        let (site, faults) = (self.site.clone(), Arc::clone(&self.faults));
        tokio::spawn(async move {
            loop {
                // The console comes last: a mark on it is heard once all that came before it was.
                let fault = tokio::select! {
                    biased;
                    Some(request) = requests.next() => {
                        let url = &request.request.url;
                        let is_own = url.starts_with(&site) || url.starts_with("data:") || url.starts_with("about:");
                        (!is_own).then(|| format!("a request to {url}"))
                    }
                    Some(thrown) = exceptions.next() => Some(format!("exception: {:?}", thrown.exception_details)),
                    Some(entry) = log.next() => {
                        let level = format!("{:?}", entry.entry.level);
                        matches!(level.as_str(), "Error" | "Warning").then(|| format!("log: {} {:?}", entry.entry.text, entry.entry.url))
                    }
                    Some(call) = console.next() => {
                        if let Some(mark) = marked(&call) {
                            hears.send_replace(mark);
                        }
                        let kind = format!("{:?}", call.r#type);
                        matches!(kind.as_str(), "Error" | "Warning" | "Assert").then(|| format!("console: {:?}", call.args))
                    }
                    else => return,
                };
                faults.lock().unwrap().extend(fault);
            }
        });
    }

    /// Runs a script on each page that is opened from now on, before its own.
    pub(crate) async fn before_each_page(&self, script: &str) {
        self.page.execute(AddScriptToEvaluateOnNewDocumentParams::new(script)).await.unwrap();
    }

    /// Opens an address of the site and waits until its page is drawn.
    pub(crate) async fn open(&self, path: &str) {
        self.page.goto(format!("{}{path}", self.site)).await.unwrap();
        self.until("document.querySelector('main')?.dataset.ready === 'true'").await;
    }

    /// Opens an address whose page is not drawn by a script.
    pub(crate) async fn open_plain(&self, path: &str) {
        self.page.goto(format!("{}{path}", self.site)).await.unwrap();
    }

    /// The value of an expression.
    pub(crate) async fn value<T: DeserializeOwned>(&self, expression: &str) -> T {
        let result = self.page.evaluate(expression).await;
        result.unwrap_or_else(|error| panic!("{expression}: {error}")).into_value().unwrap()
    }

    /// Runs a statement.
    pub(crate) async fn run(&self, statement: &str) {
        self.value::<bool>(&format!("{{ {statement}; }} true")).await;
    }

    /// Has the pages that are opened from now on in this language.
    pub(crate) async fn speak(&self, language: &str) {
        let cookie = format!("sweep-language={language}");
        self.run(&format!("document.cookie = '{cookie}; path=/'")).await;
        // It is set while the script goes on: a page that is opened before may not have it.
        self.until(&format!("document.cookie.split('; ').includes('{cookie}')")).await;
    }

    /// Waits until an expression is true.
    pub(crate) async fn until(&self, expression: &str) {
        let patience = Instant::now() + PATIENCE;
        loop {
            // While a page is replaced by the next one it has no answer.
            if let Ok(result) = self.page.evaluate(expression).await
                && result.into_value::<bool>().unwrap_or(false)
            {
                return;
            }
            assert!(Instant::now() < patience, "gave up waiting for: {expression}\n{}", self.text().await);
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// The text that a reader sees.
    pub(crate) async fn text(&self) -> String {
        self.value("document.body.innerText").await
    }

    /// Clicks in the middle of what a selector finds, as a mouse does.
    pub(crate) async fn click(&self, selector: &str) {
        self.page
            .find_element(selector)
            .await
            .unwrap_or_else(|error| panic!("{selector}: {error}"))
            .click()
            .await
            .unwrap();
    }

    /// Scrolls to a chart, which is drawn once it is on the screen.
    pub(crate) async fn scroll_to(&self, chart: &str) {
        self.until(&format!("document.querySelector({chart:?})?.clientWidth > 0")).await;
        self.run(&format!("document.querySelector({chart:?}).scrollIntoView({{ block: 'center' }})")).await;
        self.until(&is_drawn(chart)).await;
    }

    /// Types into what has the focus.
    pub(crate) async fn type_into(&self, selector: &str, text: &str) {
        let element = self.page.find_element(selector).await.unwrap();
        element.click().await.unwrap().type_str(text).await.unwrap();
    }

    /// Presses a key, such as `Tab`, `Enter` or `Escape`.
    pub(crate) async fn press(&self, key: &str) {
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            "Escape" => 27,
            "ArrowLeft" => 37,
            "ArrowUp" => 38,
            "ArrowRight" => 39,
            "ArrowDown" => 40,
            other => panic!("no code is known of {other}"),
        };
        let event = || DispatchKeyEventParams::builder().key(key).code(key).windows_virtual_key_code(code);
        let down = match key {
            // Only with its text does it press a button.
            "Enter" => event().r#type(DispatchKeyEventType::KeyDown).text("\r"),
            _ => event().r#type(DispatchKeyEventType::RawKeyDown),
        };
        self.page.execute(down.build().unwrap()).await.unwrap();
        self.page.execute(event().r#type(DispatchKeyEventType::KeyUp).build().unwrap()).await.unwrap();
    }

    /// Puts the page before the others: one that is hidden asks for nothing.
    pub(crate) async fn to_front(&self) {
        self.page.bring_to_front().await.unwrap();
    }

    /// Gives the page a width, as of a phone.
    pub(crate) async fn resize(&self, width: i64) {
        let size = SetDeviceMetricsOverrideParams::new(width, 900, 1.0, width < 600);
        self.page.execute(size).await.unwrap();
    }

    /// Waits until all is heard of that has happened on the page so far: what it tells comes by another way than what it answers.
    pub(crate) async fn hear(&self) {
        let mark = self.marks.fetch_add(1, Ordering::Relaxed) + 1;
        self.run(&format!("console.debug({MARK:?}, {mark})")).await;
        let mut heard = self.heard.clone();
        let waited = tokio::time::timeout(PATIENCE, heard.wait_for(|heard| *heard >= mark)).await;
        waited.expect("the page tells what it says on its console").unwrap();
    }

    /// What happened on the page that must not, without the rest; it is forgotten then.
    pub(crate) async fn faults(&self) -> Vec<String> {
        self.hear().await;
        std::mem::take(&mut *self.faults.lock().unwrap())
    }

    /// Nothing has happened on the page that must not.
    pub(crate) async fn check(&self) {
        self.check_with_scripts(0).await;
    }

    /// The same of a page with so many scripts of its own within it.
    pub(crate) async fn check_with_scripts(&self, scripts: u32) {
        assert_eq!(self.value::<Vec<String>>("window.violations ?? []").await, Vec::<String>::new());
        self.hear().await;
        assert_eq!(*self.faults.lock().unwrap(), Vec::<String>::new());
        let harmed: bool = self
            .value(&format!(
                "window.harmed !== undefined || document.querySelector('img') !== null || \
                 document.querySelectorAll('script:not([src])').length !== {scripts}"
            ))
            .await;
        assert!(!harmed, "{}", self.text().await);
    }

    /// The page is no wider than its window.
    pub(crate) async fn check_width(&self, path: &str) {
        let [wide, window]: [f64; 2] =
            self.value("[document.documentElement.scrollWidth, document.documentElement.clientWidth]").await;
        assert!(wide <= window, "{path} is {wide} wide in a window of {window}");
    }
}

/// Whether there is anything on the canvases of a chart.
pub(crate) fn is_drawn(chart: &str) -> String {
    // Read from a copy: a browser warns of canvases that are read often.
    format!(
        "[...document.querySelectorAll('{chart} canvas')].some((one) => {{ \
           if (one.width === 0) return false; \
           const layer = new OffscreenCanvas(one.width, one.height).getContext('2d', {{ willReadFrequently: true }}); \
           layer.drawImage(one, 0, 0); \
           return layer.getImageData(0, 0, one.width, one.height).data.some(Boolean); }})"
    )
}

/// The number of a mark.
fn marked(call: &EventConsoleApiCalled) -> Option<u64> {
    let [text, mark] = call.args.as_slice() else { return None };
    (text.value.as_ref()? == MARK).then_some(mark.value.as_ref()?.as_u64()?)
}
