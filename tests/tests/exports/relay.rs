//! A relay before a server of HTTP, which does to some requests what networks and busy servers do.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

/// What is done to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is answered with this status, and the server never sees it.
    Refused(u16),
    /// The server does it, and its answer is lost.
    AnswerLost,
}

/// Faults that are still to come, by what the path ends with.
type Faults = Arc<Mutex<VecDeque<(&'static str, Fault)>>>;

/// A relay on loopback.
pub(super) struct Relay {
    pub(super) address: String,
    faults: Faults,
}

impl Relay {
    /// Passes requests on to a server at `http://HOST:PORT`. Each fault is done to the next request whose path ends so.
    pub(super) fn start(server: &str, faults: &[(&'static str, Fault)]) -> Self {
        let server = server.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let faults: Faults = Arc::new(Mutex::new(faults.iter().copied().collect()));
        let all = Arc::clone(&faults);
        // It ends with the test's process.
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (server, faults) = (server.clone(), Arc::clone(&all));
                // A client that breaks off is the client's matter.
                std::thread::spawn(move || relay(&client, &server, &faults));
            }
        });
        Self { address, faults }
    }

    /// The faults that no request has met.
    pub(super) fn left(&self) -> Vec<(&'static str, Fault)> {
        self.faults.lock().unwrap().iter().copied().collect()
    }
}

/// Relays one request of a connection, and ends it.
fn relay(mut client: &TcpStream, server: &str, faults: &Faults) -> std::io::Result<()> {
    let (mut reader, mut head, mut length) = (BufReader::new(client), String::new(), 0);
    reader.read_line(&mut head)?;
    let target = head.split(' ').nth(1).unwrap_or_default();
    let path = target.split('?').next().unwrap_or_default().to_owned();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((name, value)) = header.trim_end().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap_or(0),
            "connection" => continue,
            _ => {}
        }
        head.push_str(&header);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let fault = {
        let mut faults = faults.lock().unwrap();
        let place = faults.iter().position(|(end, _)| path.ends_with(end));
        place.and_then(|place| faults.remove(place)).map(|(_, fault)| fault)
    };
    if let Some(Fault::Refused(status)) = fault {
        return write!(client, "HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    }
    let mut upstream = TcpStream::connect(server)?;
    write!(upstream, "{head}connection: close\r\n\r\n")?;
    upstream.write_all(&body)?;
    let mut answer = Vec::new();
    upstream.read_to_end(&mut answer)?;
    if fault == Some(Fault::AnswerLost) { Ok(()) } else { client.write_all(&answer) }
}
