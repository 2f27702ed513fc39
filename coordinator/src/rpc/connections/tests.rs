//! Connections that say too little, and which of them give way.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_stream::StreamExt;

use super::*;

const SOON: Deadlines =
    Deadlines { first_words: Duration::from_millis(100), first_call: Duration::from_millis(300) };
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

async fn pair(deadlines: Deadlines) -> (TcpStream, Connection) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, address) = listener.accept().await.unwrap();
    let permit = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
    (client, Connection::new(stream, Arc::new(Peer::new(address)), permit, deadlines))
}

#[tokio::test]
async fn a_connection_that_says_too_little_ends() {
    let (mut client, mut connection) = pair(SOON).await;
    client.write_all(b"PRI * HTTP/2.0").await.unwrap();
    let mut words = Vec::new();
    let ended = connection.read_to_end(&mut words).await.unwrap_err();
    assert_eq!((ended.kind(), words.as_slice()), (io::ErrorKind::TimedOut, &b"PRI * HTTP/2.0"[..]));
}

#[tokio::test]
async fn a_connection_that_talks_without_a_call_ends() {
    let (mut client, mut connection) = pair(SOON).await;
    let talk = async {
        client.write_all(PREFACE).await?;
        loop {
            client.write_all(b"ping").await?;
            tokio::time::sleep(SOON.first_words / 10).await;
        }
        #[allow(unreachable_code)]
        io::Result::Ok(())
    };
    let mut words = Vec::new();
    tokio::select! {
        ended = connection.read_to_end(&mut words) => {
            assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
        }
        talked = talk => panic!("{talked:?}"),
    }
    assert!(words.starts_with(PREFACE));
}

#[tokio::test]
async fn a_connection_with_a_call_may_be_silent() {
    let (mut client, mut connection) = pair(SOON).await;
    client.write_all(PREFACE).await.unwrap();
    let mut buffer = [0; 24];
    connection.read_exact(&mut buffer).await.unwrap();
    connection.connect_info().authorise();
    let silent = tokio::time::timeout(SOON.first_call * 2, connection.read(&mut buffer)).await;
    assert!(silent.is_err(), "{silent:?}");
}

#[tokio::test]
async fn the_oldest_without_a_call_gives_way() {
    let mut newcomers = Newcomers::default();
    let mut pairs = Vec::new();
    for _ in 0..3 {
        let (client, connection) = pair(Deadlines::default()).await;
        newcomers.add(&connection.peer);
        pairs.push((client, connection));
    }
    pairs[0].1.peer.authorise();
    assert!(newcomers.give_way());
    let mut buffer = [0; 1];
    let ended = pairs[1].1.read(&mut buffer).await.unwrap_err();
    assert_eq!(ended.kind(), io::ErrorKind::ConnectionAborted);
    drop(pairs.pop());
    assert!(!newcomers.give_way(), "one has had a call, one is gone, one has ended");
}

#[tokio::test]
async fn connections_are_accepted_in_turn() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (mut connections, _) = accept(listener, 0, None).unwrap();
    for _ in 0..3 {
        let client = TcpStream::connect(address).await.unwrap();
        let connection = connections.next().await.unwrap().unwrap();
        assert_eq!(connection.connect_info().address, client.local_addr().unwrap());
    }
}

#[tokio::test]
async fn a_browser_is_told_which_port_it_means_before_anything_else_is_sent() {
    let (mut client, connection) = pair(Deadlines::default()).await;
    let mut connection = connection.with_page(Some(([127, 0, 0, 1], 7080).into()));
    client.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    // As a server of HTTP/2 begins.
    let refused = connection.write_all(b"settings").await.unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
    drop(connection);
    let mut told = String::new();
    client.read_to_string(&mut told).await.unwrap();
    assert!(told.starts_with("HTTP/1.1 421 ") && told.contains("on port 7080."), "{told}");
}
