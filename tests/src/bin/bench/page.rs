//! What the page costs: a hundred of them open while jobs run, and what is drawn from when a sweep of a hundred thousand is opened.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{Coordinator, Results, finish, number};

/// Pages that are open at the same time.
const PAGES: u64 = 100;
/// Jobs of the sweep that they show, and how many end a second.
const SHOWN_JOBS: u64 = 30_000;
const SHOWN_RATE: u64 = 1_500;
/// How often a page reads what has changed, as `pages/sweep.js` does.
const READ_EVERY: Duration = Duration::from_secs(3);
/// Jobs of the sweep that it is compared with, and its number: it has ended before. The one that is shown comes after it.
const OTHER_JOBS: u64 = 200;
/// What the pages read then, and of how many of ten pages that are open: of a sweep, a job, a comparison, all sweeps and the workers.
const PAGES_READ: &[(u64, &[&str])] = &[
    (
        6,
        &[
            "/api/v1/sweeps/2",
            "/api/v1/sweeps/2/columns?coarse=true&knows=older",
            "/api/v1/sweeps/2/table?sort=objective&order=descending&rows=50",
            "/api/v1/sweeps/2/analysis",
            "/api/v1/sweeps/2/curves?jobs=1,2,3,4,5,6,7,8&metric=val_accuracy",
            "/api/v1/sweeps/2/rungs",
            "/api/v1/timeline?sweep=2",
        ],
    ),
    (1, &["/api/v1/sweeps/2", "/api/v1/sweeps/2/jobs/1", "/api/v1/sweeps/2/jobs/1/logs"]),
    (
        1,
        &[
            "/api/v1/sweeps/1",
            "/api/v1/sweeps/1/columns?coarse=true&first=true&knows=older",
            "/api/v1/sweeps/2",
            "/api/v1/sweeps/2/columns?coarse=true&first=true&knows=older",
            COMPARE,
        ],
    ),
    (1, &["/api/v1/sweeps?rows=100"]),
    (1, &["/api/v1/workers?rows=100", "/api/v1/timeline"]),
];
/// A page of it that is told to come again does so.
const COMPARE: &str = "/api/v1/compare?sweeps=1,2";
/// Jobs of the sweep that is opened.
const OPENED_JOBS: u64 = 100_000;

/// Both benchmarks.
pub(super) fn page(results: &mut Results) {
    open_pages(results);
    opened(results);
}

/// The memory that a hundred open pages cost the coordinator, and whether a worker lost its lease over them.
fn open_pages(results: &mut Results) {
    let memory = |pages: u64| {
        let coordinator = Coordinator::start(false);
        let page = coordinator.page;
        finish(coordinator.load_command(&["run"], &[OTHER_JOBS, 1, 1, 4]).env("LOAD_PAGE", "1"));
        let load = coordinator
            .load_command(&["run"], &[SHOWN_JOBS, 1, 100, 4, SHOWN_RATE])
            .env("LOAD_PAGE", "1")
            .stdout(Stdio::piped())
            .spawn();
        let mut load = load.expect("the generator is built");
        while get(page, "/api/v1/sweeps/2").0 != 200 {
            thread::sleep(Duration::from_millis(20));
        }
        let (is_over, slowest) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let open = (0..pages).map(|place| {
            let (is_over, slowest) = (Arc::clone(&is_over), Arc::clone(&slowest));
            // Pages are opened one after the other, as people do.
            let after = READ_EVERY.mul_f64(place as f64 / PAGES as f64);
            thread::spawn(move || read_on(page, read_by(place), after, &is_over, &slowest))
        });
        let events: Vec<_> = (0..pages).map(|_| thread::spawn(move || follow(page))).collect();
        let open: Vec<_> = open.collect();
        assert!(load.wait().is_ok_and(|status| status.success()), "the load generator failed");
        is_over.store(true, Ordering::Relaxed);
        open.into_iter().for_each(|open| open.join().expect("a page reads"));
        let told: u64 = events.into_iter().map(|events| events.join().expect("a page listens")).sum();
        let lost = lost(page);
        (coordinator.memory_mib("VmHWM"), told, slowest.load(Ordering::Relaxed) as f64, lost)
    };
    let (without, ..) = memory(0);
    let (with, told, slowest, lost) = memory(PAGES);
    results.add("100 open pages of a running sweep: the coordinator's memory", with - without, "MiB", None);
    results.add("100 open pages: events sent", told as f64 / (1 << 20) as f64, "MiB", None);
    results.add("100 open pages: the slowest answer", slowest, "ms", None);
    results.add("100 open pages: attempts lost", lost as f64, "", None);
}

/// How many jobs had more than one attempt: none fails by itself.
fn lost(page: SocketAddr) -> u64 {
    let again = "%5B%7B%22column%22:%22attempts%22,%22ranges%22:%5B%5B2,null%5D%5D%7D%5D";
    let (status, body) = get(page, &format!("/api/v1/sweeps/2/table?rows=1&where={again}"));
    assert_eq!(status, 200);
    let body = String::from_utf8_lossy(&body);
    let matching = body.split_once("\"matching\":").and_then(|(_, rest)| rest.split(',').next());
    matching.and_then(|matching| matching.parse().ok()).expect("the table says how many jobs match")
}

/// What the page in this place reads.
fn read_by(place: u64) -> &'static [&'static str] {
    let pages = PAGES_READ.iter().flat_map(|(count, paths)| (0..*count).map(move |_| *paths));
    let paths: Vec<_> = pages.collect();
    paths[place as usize % paths.len()]
}

/// Reads what a page reads, again and again.
fn read_on(page: SocketAddr, paths: &[&str], after: Duration, is_over: &AtomicBool, slowest: &AtomicU64) {
    thread::sleep(after);
    while !is_over.load(Ordering::Relaxed) {
        for path in paths {
            let start = Instant::now();
            let status = get(page, path).0;
            assert!(status == 200 || (status == 429 && *path == COMPARE), "{path}: {status}");
            slowest
                .fetch_max(u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
        thread::sleep(READ_EVERY);
    }
}

/// Listens to a sweep's events until it has ended; gives how many bytes came.
fn follow(page: SocketAddr) -> u64 {
    let mut stream = asked(page, "/api/v1/sweeps/2/events");
    std::io::copy(&mut stream, &mut std::io::sink()).expect("the stream goes on")
}

/// What is read when a large sweep is opened, for the first time and again.
fn opened(results: &mut Results) {
    let coordinator = Coordinator::start(false);
    let mut load = coordinator.load_command(&["run"], &[OPENED_JOBS, 1, 16, 64]);
    number(&finish(load.env("LOAD_PAGE", "1")), "seconds");
    let mut told = |what: &str, path: &str| {
        let start = Instant::now();
        let (status, body) = get(coordinator.page, path);
        assert_eq!(status, 200, "{path}");
        let ms = start.elapsed().as_secs_f64() * 1e3;
        results.add(&format!("a page of 100,000 jobs: {what}"), ms, "ms", None);
        body.len()
    };
    told("first columns, cold", "/api/v1/sweeps/1/columns?coarse=true&first=true");
    told("first columns, kept", "/api/v1/sweeps/1/columns?coarse=true&first=true");
    let bytes = told("all columns, after them", "/api/v1/sweeps/1/columns?coarse=true");
    told("table, sorted", "/api/v1/sweeps/1/table?sort=objective&order=descending&rows=50");
    told(
        "table, filtered, the last page",
        "/api/v1/sweeps/1/table?sort=train_seconds&text=done%201&page=999999",
    );
    told("timeline", "/api/v1/timeline?sweep=1");
    told("sweep", "/api/v1/sweeps/1");
    results.add("a page of 100,000 jobs: all columns", bytes as f64 / 1e6, "MB", None);
}

/// A connection on which an answer comes, its head included.
fn asked(page: SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(page).expect("the page is served");
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    stream
}

/// The status of an answer, and all of it.
fn get(page: SocketAddr, path: &str) -> (u16, Vec<u8>) {
    let mut answer = Vec::new();
    asked(page, path).read_to_end(&mut answer).expect("it answers");
    let status = answer.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    (status.expect("a status line"), answer)
}
