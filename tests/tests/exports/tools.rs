//! The programs that exports are for.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::Value;
use tests::{skipped, tool};

/// Where `make test` puts them; none, and a word about it, where it could not.
pub(crate) fn readers() -> Option<PathBuf> {
    let folder = tool("export-readers").filter(|folder| folder.is_dir());
    if folder.is_none() {
        skipped(
            "the cache of `make test` holds no TensorBoard, MLflow, Optuna and DuckDB: exports are not read back",
        );
    }
    folder
}

/// What one of them sees of an export.
pub(crate) fn read(readers: &Path, with: &str, export: &Path) -> Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/exports/read.py");
    let mut command = Command::new("python3");
    command.arg("-B").arg(script).arg(with).arg(export).env("PYTHONPATH", readers);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{with}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The bits of a number as `read.py` writes them.
pub(crate) fn bits(value: f64) -> Value {
    format!("{:016x}", value.to_bits()).into()
}

/// An MLflow server, which ends with its owner.
pub(crate) struct Mlflow {
    server: Child,
    pub(crate) address: String,
}

impl Mlflow {
    /// Starts one on an empty database.
    pub(crate) fn start(readers: &Path, folder: &Path) -> Self {
        let mut server = Command::new("python3")
            .args(["-B", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/exports/serve_mlflow.py")])
            .arg(folder)
            .env("PYTHONPATH", readers)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(server.stdout.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.find_map(|line| Some(line.strip_prefix("serves at ")?.to_owned()));
        let mut server = Self { server, address: address.unwrap_or_default() };
        if server.address.is_empty() {
            panic!("the server ended: {:?}", server.server.wait());
        }
        server
    }

    /// What the server answers.
    pub(crate) fn ask(&self, path: &str, body: &Value) -> Value {
        self.request("POST", path, &body.to_string())
    }

    /// The same without a body.
    pub(crate) fn get(&self, path: &str) -> Value {
        self.request("GET", path, "")
    }

    fn request(&self, method: &str, path: &str, body: &str) -> Value {
        let place = self.address.trim_start_matches("http://");
        let mut stream = TcpStream::connect(place).unwrap();
        write!(
            stream,
            "{method} /api/2.0/mlflow/{path} HTTP/1.0\r\nHost: {place}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(" 200 "), "{answer}");
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }
}

impl Drop for Mlflow {
    fn drop(&mut self) {
        // Its standard input closes, and it ends; a test that fails does not wait for it.
        drop(self.server.stdin.take());
        let _ = self.server.wait();
    }
}
