//! The channel for a program's metrics: a UNIX socket whose path is in `SWEEP_REPORT`, so that every process of a program can
//! use it, whatever it inherits. Each line is an object, and is answered by one line:
//!
//! | line | meaning |
//! |---|---|
//! | `{"epoch": 3, "metrics": {"loss": 0.5, "x": "nan"}}` | an epoch; `epoch` may be left out |
//! | `{"checkpoint": "00000003"}` | the folder of this name in `SWEEP_CHECKPOINT_DIR` is a whole checkpoint |
//! | `{"parameters": {"read": ["lr"], "unread": ["wd"]}}` | the program ends, and which of its parameters it has read |
//! | `{}` | nothing new: is the program to stop? |
//!
//! The answer is `{"stop": false}`, `{"stop": true}`, or `{"error": "…"}` where the line cannot be used. `"ending": true` next to a stop says
//! that the program was sent SIGTERM, and is killed where it goes on; without it, the program has trained all its epochs.

use std::{
    collections::HashMap,
    io::{self, BufRead, BufReader, Read, Write},
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::sync_channel,
    },
    thread,
};

use serde::Deserialize;
use terms::ParameterUse;

use super::{Metrics, Report};
use crate::events::{Answer, JobEvent, Source, Stamped};

/// Longest line, in bytes: a hundred metrics with the longest names have half of it.
pub(crate) const LINE_BYTES_MAX: usize = 128 << 10;

/// Most connections at a time: one of each process of a large machine.
const CONNECTIONS_MAX: usize = 256;

/// Longest name of a checkpoint's folder, in bytes.
const NAME_BYTES_MAX: usize = 255;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(default)]
    epoch: Option<f64>,
    #[serde(default)]
    metrics: Option<Metrics>,
    #[serde(default)]
    checkpoint: Option<String>,
    #[serde(default)]
    parameters: Option<ParameterUse>,
}

/// What a line says.
#[derive(Debug, PartialEq)]
enum Message {
    Report(Report),
    Checkpoint(String),
    Read(ParameterUse),
    Question,
}

/// The socket of one job.
#[derive(Debug)]
pub(crate) struct Channel {
    path: PathBuf,
    is_closed: Arc<AtomicBool>,
    connections: Connections,
}

/// Those that are open, by number.
type Connections = Arc<Mutex<HashMap<u64, UnixStream>>>;

impl Channel {
    /// Listens at `path`, and says what comes.
    ///
    /// # Errors
    /// The system refuses; the path is too long for a socket.
    pub(crate) fn open(path: &Path, source: Source) -> io::Result<Self> {
        let listener = UnixListener::bind(path)?;
        let channel = Self { path: path.to_owned(), is_closed: Arc::default(), connections: Arc::default() };
        let (is_closed, connections) = (Arc::clone(&channel.is_closed), Arc::clone(&channel.connections));
        thread::Builder::new()
            .name("channel".to_owned())
            .spawn(move || accept(&listener, &source, &is_closed, &connections))?;
        Ok(channel)
    }

    /// Takes in who has connected, and no one after that.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        // The listener wakes up. Those who came before are before this in its queue.
        let _ = UnixStream::connect(&self.path);
    }

    /// Ends connections whose other ends are still open.
    pub(crate) fn cut(&self) {
        for connection in self.connections.lock().unwrap_or_else(PoisonError::into_inner).values() {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.close();
        self.cut();
    }
}

fn accept(listener: &UnixListener, source: &Source, is_closed: &AtomicBool, connections: &Connections) {
    for number in 0.. {
        let accepted = listener.accept();
        // After it is closed, those who wait are taken in without waiting for more.
        if is_closed.load(Ordering::SeqCst) && listener.set_nonblocking(true).is_err() {
            return;
        }
        let mut stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) => {
                // Descriptors or memory are used up; its programs are told by a refused connection.
                terminal::say!("the channel for metrics is closed: {error}");
                return;
            }
        };
        if stream.set_nonblocking(false).is_err() {
            continue;
        }
        let open = || connections.lock().unwrap_or_else(PoisonError::into_inner);
        if open().len() >= CONNECTIONS_MAX {
            let _ = say_error(&mut stream, &format!("more than {CONNECTIONS_MAX} connections at a time"));
            continue;
        }
        open().extend(stream.try_clone().map(|stream| (number, stream)));
        let (source, connections) = (source.clone(), Arc::clone(connections));
        let spawned = thread::Builder::new().name("report".to_owned()).spawn(move || {
            // A connection that breaks is a program that ended.
            let _ = converse(&stream, &source);
            connections.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        });
        if let Err(error) = spawned {
            terminal::say!("a connection for metrics is refused: {error}");
        }
    }
}

/// Answers lines until there are no more.
fn converse(stream: &UnixStream, source: &Source) -> io::Result<()> {
    let (mut reader, mut writer) = (BufReader::new(Stamped::new(stream)), stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        (&mut reader).take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(());
        }
        if line.len() > LINE_BYTES_MAX {
            let error = format!("a line of more than {LINE_BYTES_MAX} bytes");
            terminal::say!("a report is left out: {error}");
            return say_error(&mut writer, &error);
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match understand(&line) {
            Err(error) => {
                terminal::say!("a report is left out: {error}");
                say_error(&mut writer, &error)?;
            }
            Ok(message) => {
                let (answer, answered) = sync_channel(1);
                let event = match message {
                    Message::Report(report) => {
                        JobEvent::Reported { report, at: reader.get_ref().at(), answer: Some(answer) }
                    }
                    Message::Checkpoint(name) => JobEvent::Committed(name, answer),
                    Message::Read(parameters) => JobEvent::Read(parameters, answer),
                    Message::Question => JobEvent::Asked(answer),
                };
                if !source.say(event) {
                    return Ok(());
                }
                // Without an answer, the job is over.
                let over = Answer { stop: true, is_ending: true };
                let Answer { stop, is_ending } = answered.recv().unwrap_or(over);
                let ending = if is_ending { ",\"ending\":true" } else { "" };
                // Who only reports may be gone by now; what it said before it went is read all the same.
                let _ = writer.write_all(format!("{{\"stop\":{stop}{ending}}}\n").as_bytes());
            }
        }
    }
}

fn say_error(writer: &mut impl Write, error: &str) -> io::Result<()> {
    let mut line = serde_json::json!({ "error": error }).to_string();
    line.push('\n');
    writer.write_all(line.as_bytes())
}

fn understand(line: &[u8]) -> Result<Message, String> {
    let line: Line = serde_json::from_slice(line).map_err(|error| {
        let shown: String = String::from_utf8_lossy(line).trim_end().chars().take(120).collect();
        format!("{shown:?} is no report such as {{\"epoch\": 1, \"metrics\": {{\"loss\": 0.5}}}} ({error})")
    })?;
    match line {
        Line { epoch: None, metrics: None, checkpoint: None, parameters: None } => Ok(Message::Question),
        Line { epoch: None, metrics: None, checkpoint: None, parameters: Some(used) } => {
            Ok(Message::Read(used))
        }
        Line { parameters: Some(_), .. } => {
            Err("which parameters were read is said in a line of its own".to_owned())
        }
        Line { epoch: None, metrics: None, checkpoint: Some(name), .. } if is_folder_name(&name) => {
            Ok(Message::Checkpoint(name))
        }
        Line { epoch, metrics: Some(metrics), checkpoint: None, .. } => {
            Report::new(epoch, metrics).map(Message::Report).map_err(|error| error.to_string())
        }
        Line { epoch: Some(_), metrics: None, checkpoint: None, .. } => {
            Err(super::ReportError::Empty.to_string())
        }
        Line { checkpoint: Some(name), .. } => {
            let name: String = name.chars().take(120).collect();
            Err(format!("{name:?} is no name of a folder in SWEEP_CHECKPOINT_DIR, in a line of its own"))
        }
    }
}

/// Whether a name is that of one folder in another: hidden ones are those that are not whole yet.
fn is_folder_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && !name.starts_with('.')
        && !name.contains(|character: char| character == '/' || character.is_control())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        events::{self, Event},
        metrics::Number,
    };

    #[test]
    fn lines_are_understood_or_refused_with_what_would_be_right() {
        let report = |line: &str| match understand(line.as_bytes()) {
            Ok(Message::Report(report)) => report,
            other => panic!("{line}: {other:?}"),
        };
        let found = report(r#"{"epoch": 3, "metrics": {"loss": 0.5, "n": 2, "x": "-inf"}}"#);
        assert_eq!(found.number, Some(3.0));
        assert_eq!(found.metrics["loss"], Number(0.5));
        assert_eq!(found.metrics["x"], Number(f64::NEG_INFINITY));
        assert!(report(r#"{"metrics": {"x": "nan"}}"#).metrics["x"].0.is_nan());
        assert_eq!(understand(b"{}"), Ok(Message::Question));
        assert_eq!(understand(br#"{"checkpoint": "00000001"}"#), Ok(Message::Checkpoint("00000001".into())));
        let many: Vec<String> = (0..101).map(|number| format!("\"m{number}\": 1")).collect();
        for (line, part) in [
            ("loss 0.5".to_owned(), "no report such as"),
            (r#"{"epoch": 1, "metrics": {"loss": "low"}}"#.to_owned(), "no report such as"),
            (r#"{"epoch": 1, "metric": {}}"#.to_owned(), "metric"),
            (r#"{"epoch": 1, "metrics": {}}"#.to_owned(), "no metrics"),
            (r#"{"epoch": 1}"#.to_owned(), "no metrics"),
            (format!("{{\"metrics\": {{{}}}}}", many.join(",")), "at most 100"),
            (format!("{{\"metrics\": {{\"{}\": 1}}}}", "x".repeat(101)), "1 to 100 characters"),
            (r#"{"metrics": {"a\u0000": 1}}"#.to_owned(), "control character"),
            (r#"{"checkpoint": "../x"}"#.to_owned(), "SWEEP_CHECKPOINT_DIR"),
            (r#"{"checkpoint": ".new"}"#.to_owned(), "SWEEP_CHECKPOINT_DIR"),
            (r#"{"epoch": 1, "parameters": {"read": []}}"#.to_owned(), "a line of its own"),
            (r#"{"parameters": ["lr"]}"#.to_owned(), "no report such as"),
        ] {
            let error = understand(line.as_bytes()).unwrap_err();
            assert!(error.contains(part), "{line}: {error}");
        }
    }

    /// Opens a channel whose reports are all answered with `stop`; what was heard comes out in the end.
    fn with_channel(stop: bool, talk: impl FnOnce(&Path)) -> Vec<JobEvent> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report");
        let (sender, receiver) = events::channel();
        let source = Source::new(sender, 1);
        let open = source.counter();
        let channel = Channel::open(&path, source).unwrap();
        thread::scope(|scope| {
            let heard = scope.spawn(move || {
                let mut heard = Vec::new();
                while open.load(Ordering::SeqCst) > 0 {
                    let Ok(Event::Job(_, event)) = receiver.recv() else { break };
                    if let JobEvent::Reported { answer: Some(answer), .. }
                    | JobEvent::Committed(_, answer)
                    | JobEvent::Read(_, answer)
                    | JobEvent::Asked(answer) = &event
                    {
                        let _ = answer.send(Answer { stop, is_ending: false });
                    }
                    heard.push(event);
                }
                heard
            });
            talk(&path);
            channel.close();
            let mut heard = heard.join().unwrap();
            heard.retain(|event| !matches!(event, JobEvent::SourceEnded));
            heard
        })
    }

    #[test]
    fn each_line_is_answered() {
        for stop in [false, true] {
            let heard = with_channel(stop, |path| {
                let mut stream = UnixStream::connect(path).unwrap();
                let mut answers = BufReader::new(stream.try_clone().unwrap()).lines();
                for (line, answer) in [
                    ("{\"metrics\":{\"a\":1}}\n", format!("{{\"stop\":{stop}}}")),
                    ("\n{}\n", format!("{{\"stop\":{stop}}}")),
                ] {
                    stream.write_all(line.as_bytes()).unwrap();
                    assert_eq!(answers.next().unwrap().unwrap(), answer);
                }
                stream.write_all(b"{\"epoch\":\"x\"}\n").unwrap();
                assert!(answers.next().unwrap().unwrap().contains("error"));
            });
            assert_eq!(heard.len(), 2);
        }
    }

    #[test]
    fn what_was_said_without_waiting_for_an_answer_is_heard() {
        let heard = with_channel(false, |path| {
            for number in 0..20 {
                let mut stream = UnixStream::connect(path).unwrap();
                write!(stream, "{{\"metrics\":{{\"a\":{number}}}}}\n{{\"metrics\":{{\"a\":{number}}}}}")
                    .unwrap();
            }
        });
        assert_eq!(heard.len(), 40);
    }

    #[test]
    fn a_line_without_an_end_is_cut_off() {
        let heard = with_channel(false, |path| {
            let mut stream = UnixStream::connect(path).unwrap();
            let _ = stream.write_all(&vec![b'x'; LINE_BYTES_MAX + 1]);
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer);
            assert!(answer.contains("more than"), "{answer}");
        });
        assert!(heard.is_empty());
    }

    proptest! {
        #[test]
        fn whatever_bytes_come_they_are_a_bounded_report_or_refused(
            bytes in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..200),
                "(\\{|\\}|\"epoch\"|\"metrics\"|\"checkpoint\"|:|,|1|\"a\"|\"nan\"| |-){0,20}".prop_map(String::into_bytes),
            ],
        ) {
            if let Ok(Message::Report(report)) = understand(&bytes) {
                prop_assert!(!report.metrics.is_empty() && report.metrics.len() <= super::super::METRICS_MAX);
                prop_assert!(report.number.is_none_or(f64::is_finite));
            }
        }
    }
}
