//! Asking the port for probes and metrics of a program.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use crate::PATIENCE;

/// The status and the body of a path.
///
/// # Panics
/// No one answers.
pub fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("the port is open");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time that is not zero");
    stream
        .write_all(
            format!(
                "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept-Encoding: identity\r\n\r\n"
            )
            .as_bytes(),
        )
        .expect("it is read");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers with text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, body.to_owned())
}

/// What a program exports.
#[derive(Debug, Default)]
pub struct Exported {
    /// Each metric by its family's name, with its type and the names of its labels.
    pub families: BTreeMap<String, (String, BTreeSet<String>)>,
    /// Each series with its value.
    pub series: BTreeMap<String, f64>,
}

impl Exported {
    /// What the program at this port exports now.
    ///
    /// # Panics
    /// It does not answer with metrics.
    pub fn of(address: SocketAddr) -> Self {
        let (status, text) = get(address, "/metrics");
        assert_eq!(status, 200, "{text}");
        Self::read(&text)
    }

    /// Reads OpenMetrics' text.
    ///
    /// # Panics
    /// It is none.
    pub fn read(text: &str) -> Self {
        assert!(text.ends_with("# EOF\n"), "{text}");
        let mut exported = Self::default();
        let mut family = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a name and a type");
                family = name.to_owned();
                exported.families.insert(family.clone(), (kind.to_owned(), BTreeSet::new()));
            } else if !line.starts_with('#') {
                let (series, value) = line.rsplit_once(' ').expect("a series and a value");
                exported.series.insert(series.to_owned(), value.parse().expect("a number"));
                let labels = &mut exported.families.get_mut(&family).expect("a type comes first").1;
                let inner = series.split_once('{').map_or("", |(_, rest)| rest.trim_end_matches('}'));
                // A bucket's end belongs to each histogram.
                let names = inner.split(',').filter_map(|label| Some(label.split_once('=')?.0));
                labels.extend(names.filter(|name| *name != "le").map(str::to_owned));
            }
        }
        exported
    }

    /// The value of a series; none where there is no such series.
    pub fn value(&self, series: &str) -> Option<f64> {
        self.series.get(series).copied()
    }

    /// The names that queries use: of a counter with its ending, of a histogram its parts.
    pub fn names(&self) -> BTreeSet<String> {
        let names = |(name, (kind, _)): (&String, &(String, BTreeSet<String>))| match kind.as_str() {
            "counter" => vec![format!("{name}_total")],
            "histogram" => ["bucket", "count", "sum"].map(|part| format!("{name}_{part}")).to_vec(),
            _ => vec![name.clone()],
        };
        self.families.iter().flat_map(names).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_read_with_their_types_labels_and_values() {
        let text = "# HELP a Text.\n# TYPE a counter\na_total{state=\"x\"} 3\n# HELP b Text.\n# TYPE b histogram\nb_sum 1.5\nb_bucket{le=\"+Inf\"} 1\n# EOF\n";
        let exported = Exported::read(text);
        assert_eq!(exported.value("a_total{state=\"x\"}"), Some(3.0));
        assert_eq!(exported.families["a"], ("counter".to_owned(), ["state".to_owned()].into()));
        assert_eq!(exported.families["b"].1.len(), 0);
        let names: Vec<String> = exported.names().into_iter().collect();
        assert_eq!(names, ["a_total", "b_bucket", "b_count", "b_sum"]);
    }
}
