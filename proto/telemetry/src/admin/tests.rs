//! The port as probes, scrapers and strangers use it.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// Ready and leading as it is told.
struct Told {
    readiness: Condition,
    leadership: Option<Condition>,
}

#[async_trait]
impl Subject for Told {
    fn readiness(&self) -> Condition {
        self.readiness.clone()
    }

    fn leadership(&self) -> Option<Condition> {
        self.leadership.clone()
    }

    async fn metrics(&self) -> String {
        "sweep_jobs 1\n# EOF\n".to_owned()
    }
}

async fn admin(readiness: Condition, leadership: Option<Condition>) -> Admin {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    Admin::start(loopback, Arc::new(Told { readiness, leadership })).await.unwrap()
}

fn holds(why: &str) -> Condition {
    Condition::Holds(why.to_owned())
}

async fn ask(address: SocketAddr, head: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // The other side may close without having read all of it.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

async fn get(address: SocketAddr, path: &str) -> String {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await
}

#[tokio::test]
async fn each_path_says_what_it_is_asked_and_a_condition_decides_the_status() {
    let leader = admin(holds("it leads"), Some(holds("it leads"))).await;
    let standby = Condition::Fails("the one at http://a leads".to_owned());
    let standby = admin(holds("it stands by"), Some(standby)).await;
    let worker = admin(Condition::Fails("it is not connected".to_owned()), None).await;
    for (address, path, status, body) in [
        (leader.address, "/livez", 200, "ok\n"),
        (leader.address, "/readyz", 200, "ok: it leads\n"),
        (leader.address, "/leaderz", 200, "ok: it leads\n"),
        (leader.address, "/readyz?verbose", 200, "ok: it leads\n"),
        (standby.address, "/readyz", 200, "ok: it stands by\n"),
        (standby.address, "/leaderz", 503, "no: the one at http://a leads\n"),
        (worker.address, "/livez", 200, "ok\n"),
        (worker.address, "/readyz", 503, "no: it is not connected\n"),
        (worker.address, "/leaderz", 404, "no one leads where workers are\n"),
        (worker.address, "/metrics", 200, "sweep_jobs 1\n# EOF\n"),
        (worker.address, "/", 404, ELSEWHERE),
    ] {
        let told = get(address, path).await;
        assert!(told.starts_with(&format!("HTTP/1.1 {status} ")) && told.ends_with(body), "{path}: {told}");
    }
    assert!(get(worker.address, "/metrics").await.contains("content-type: application/openmetrics-text"));
}

#[tokio::test]
async fn nothing_but_reading_is_answered_and_no_head_without_end() {
    let admin = admin(holds("it leads"), None).await;
    let posted = ask(admin.address, "POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").await;
    assert!(posted.starts_with("HTTP/1.1 405 ") && posted.contains("allow: GET, HEAD"), "{posted}");
    let long = format!("GET /livez HTTP/1.1\r\nHost: {}\r\n\r\n", "x".repeat(HEAD_BYTES_MAX));
    let refused = ask(admin.address, &long).await;
    assert!(refused.is_empty() || refused.starts_with("HTTP/1.1 431 "), "{refused}");
}

#[tokio::test]
async fn who_holds_connections_open_keeps_no_probe_from_its_answer() {
    let admin = admin(holds("it leads"), None).await;
    let mut held = Vec::new();
    for _ in 0..3 * CONNECTIONS_MAX {
        held.push(TcpStream::connect(admin.address).await.unwrap());
    }
    assert!(get(admin.address, "/livez").await.ends_with("ok\n"));
    // The first gave way.
    assert_eq!(held[0].read(&mut [0]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn a_connection_that_does_not_ask_for_anything_ends() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let mut silent = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    silent.write_all(b"GET /livez HTTP/1.1\r\n").await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let subject = Arc::new(Told { readiness: holds(""), leadership: None });
    connection(stream, subject, Duration::from_millis(1)).await;
    let mut told = Vec::new();
    let _ = silent.read_to_end(&mut told).await;
    assert!(!told.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&told));
}

#[tokio::test]
async fn an_address_that_is_taken_is_an_error_that_names_the_option() {
    let first = admin(holds("it leads"), None).await;
    let subject = Arc::new(Told { readiness: holds(""), leadership: None });
    let error = Admin::start(first.address, subject).await.unwrap_err().to_string();
    assert!(error.contains("--admin") && error.contains(&first.address.to_string()), "{error}");
}
