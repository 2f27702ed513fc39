//! A temporary server that speaks the protocol of S3, with one bucket.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
};

use crate::process::{skipped, tool};

const BUCKET: &str = "sweep";

/// Serves until its standard input ends, so that it does not outlive its owner.
const SCRIPT: &str = "import os, sys, threading
from moto.server import main
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
main(['-H', '127.0.0.1', '-p', '0'])";

/// A server on a loopback port, which ends with its owner.
#[derive(Debug)]
pub struct S3 {
    server: Child,
    address: String,
}

impl S3 {
    /// Starts a server with an empty bucket, if `make test` could install one; otherwise prints that it could not.
    ///
    /// # Panics
    /// It does not start.
    pub fn start() -> Option<Self> {
        let Some(package) = tool("s3-server").filter(|folder| folder.is_dir()) else {
            skipped("the cache of `make test` holds no S3 server: checkpoints in S3 are not tested");
            return None;
        };
        let mut server = Command::new("python3")
            .args(["-c", SCRIPT])
            .env("PYTHONPATH", package)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("python3 is there, as the server was installed with it");
        let mut lines = BufReader::new(server.stderr.take().expect("standard error is piped")).lines();
        let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let (_, address) = line.split_once("Running on http://")?;
            Some(address.trim().to_owned())
        });
        // A line for each request follows; it is read and dropped, or the server would block.
        std::thread::spawn(move || lines.for_each(drop));
        let server = Self { server, address: address.expect("the server says where it listens") };
        server.ask("PUT", "");
        Some(server)
    }

    /// A folder in the bucket, for `--checkpoints`.
    pub fn url(&self) -> String {
        format!("s3://{BUCKET}/of/all")
    }

    /// The environment of a worker that may use the bucket.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let endpoint = format!("http://{}", self.address);
        let variables = [
            ("AWS_ENDPOINT", endpoint.as_str()),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "key"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
        ];
        variables.map(|(name, value)| (name, value.to_owned())).to_vec()
    }

    /// The names of all objects in the bucket.
    pub fn keys(&self) -> Vec<String> {
        let listed = self.ask("GET", "?list-type=2");
        let keys = listed.split("<Key>").skip(1).filter_map(|rest| rest.split_once("</Key>"));
        keys.map(|(key, _)| key.to_owned()).collect()
    }

    /// One request about the bucket; the whole answer.
    fn ask(&self, method: &str, query: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("the server accepts connections");
        let host = &self.address;
        let request = format!(
            "{method} /{BUCKET}{query} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).expect("the server reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the server answers");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        answer
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        drop(self.server.stdin.take());
        // An error means that it is gone.
        let _ = self.server.wait();
    }
}
