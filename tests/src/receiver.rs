//! A receiver of HTTP requests, as a webhook's is: what it was sent, and answers as a test wants them.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc::{Receiver, Sender, channel},
};

use serde_json::Value;

use crate::PATIENCE;

/// A server on loopback that takes posts of JSON.
#[derive(Debug)]
pub struct HttpReceiver {
    pub address: SocketAddr,
    posts: Receiver<Post>,
}

/// What was posted.
#[derive(Debug, Clone, PartialEq)]
pub struct Post {
    pub path: String,
    pub body: Value,
}

impl HttpReceiver {
    /// Answers the first requests with these status codes, and the others with 200.
    ///
    /// # Panics
    /// No port is free.
    pub fn start(first_answers: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        let (sender, posts) = channel();
        let answers = first_answers.to_vec();
        // It ends with the test's process.
        std::thread::spawn(move || {
            let answers = answers.into_iter().chain(std::iter::repeat(200));
            for (stream, answer) in listener.incoming().map_while(Result::ok).zip(answers) {
                // A client that breaks off is the client's matter.
                let _ = take(&stream, answer, &sender);
            }
        });
        Self { address, posts }
    }

    /// The next request.
    ///
    /// # Panics
    /// None comes.
    pub fn next(&self) -> Post {
        self.posts.recv_timeout(PATIENCE).expect("a request comes")
    }

    /// The requests that have come and were not looked at.
    pub fn rest(&self) -> Vec<Post> {
        self.posts.try_iter().collect()
    }
}

/// Reads one request, passes it on and answers.
fn take(stream: &TcpStream, answer: u16, sender: &Sender<Post>) -> std::io::Result<()> {
    let (mut reader, mut line, mut length) = (BufReader::new(stream), String::new(), 0);
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        match header.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().unwrap_or(0);
            }
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    // A test that no longer listens has ended.
    let _ = sender.send(Post { path, body: serde_json::from_slice(&body).unwrap_or(Value::Null) });
    let mut stream = stream;
    write!(stream, "HTTP/1.1 {answer} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
}
