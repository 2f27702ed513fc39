//! `sweep search`: connects a searcher outside, a program of any language, to its sweep by lines of JSON. What it has to know goes to
//! standard output, the points that it proposes come from standard input.

use std::{
    io::{BufRead, BufReader, Read, stdin},
    time::Instant,
};

use proto::{parameters_from_wire, parameters_to_wire, v1};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use terminal::{output::say, text};
use terms::{ParameterMap, ParameterValue};
use tokio::sync::mpsc;
use tonic::Streaming;

use super::{
    client::Target,
    failure::Failure,
    follow::{AWAY_MAX, REOPEN_DELAY, before_reopening, is_final_state},
    output::{parameter_json, print},
    tables::sweep_state_name,
};

/// Longest line of standard input: a point with a hundred long parameters has a tenth of it.
const LINE_BYTES_MAX: u64 = 1 << 20;
/// Lines that may wait while the coordinator is away.
const LINES_WAITING_MAX: usize = 1_000;
/// Points that are sent together where many wait: a quarter of what a call may have.
const POINTS_TOGETHER_MAX: usize = 250;

/// Arguments of `sweep search`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = FORMS)]
pub(super) struct SearchArguments {
    /// Sweep's number; its file says `method: external`
    #[arg(value_parser = super::ids::sweep_id)]
    sweep: u64,
    /// Begin with the results after the one of this number, which a searcher that goes on has already
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    after: u64,
}

const FORMS: &str = "Lines that are printed, each one JSON object:
  {\"result\":1,\"job\":1,\"point\":1,\"parameters\":{\"learning_rate\":0.01},\"outcome\":\"finished\",\"value\":0.93}
      outcome is finished (with the value of the sweep's metric), diverged, stopped (early, or paused, with the
      value after that epoch; where the job goes on, another result follows), nothing (it failed or was
      cancelled: nothing is known of the point) or again (that job is tried again: another result follows)
  {\"wanted\":2,\"next_point\":2,\"points_max\":100}
      2 points would be trained at once; printed again whenever that changes
  {\"state\":\"finished\"}
      the last line: the sweep has ended

Lines that are read:
  {\"parameters\":{\"learning_rate\":0.02}}
      the next point; parameters that have only one value may be left out
  {\"end\":true}
      no other point will come: the sweep ends with those that it has; lines after it are not read

A searcher that starts again gets all results again, or with --after those that it lacks, and goes on with the next point.
Where standard input ends without {\"end\":true}, the command ends and the sweep waits for a searcher.";

/// A line for the searcher.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Told {
    Result {
        result: u64,
        job: u64,
        point: u64,
        parameters: Map<String, Value>,
        outcome: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        value: Option<f64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        epoch: Option<u32>,
    },
    Wanted {
        wanted: u64,
        next_point: u64,
        points_max: u64,
    },
    Ended {
        state: &'static str,
    },
}

/// A line from the searcher.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    #[serde(default)]
    parameters: Option<Map<String, Value>>,
    #[serde(default)]
    end: bool,
}

/// What was said, read.
#[derive(Debug, PartialEq)]
enum Line {
    Point(ParameterMap),
    End,
}

/// `sweep search`.
pub(super) async fn search(arguments: &SearchArguments, target: &Target) -> Result<(), Failure> {
    let mut news = News::new(target, arguments.sweep, arguments.after);
    let Some(first) = news.next().await? else { return Ok(()) };
    let (mut next_point, mut state) = (first.next_point, first.state());
    let mut told = arguments.after;
    tell(&first, &mut told)?;
    let (sender, mut lines) = mpsc::channel(LINES_WAITING_MAX);
    // Not a task: nothing can end its reading, and the process need not wait for it.
    std::thread::spawn(move || read_lines(&sender));
    let mut has_ended = false;
    loop {
        let read = tokio::select! {
            message = news.next() => {
                let Some(message) = message? else {
                    return print_lines(&[Told::Ended { state: sweep_state_name(state) }]);
                };
                state = message.state();
                tell(&message, &mut told)?;
                continue;
            }
            line = lines.recv(), if !has_ended => line,
        };
        let Some(line) = read else {
            say(&format!(
                "standard input has ended, and sweep {} waits for the points that are left: start its searcher again, or send \
                 {{\"end\":true}} to end it with those that it has",
                arguments.sweep
            ));
            return Ok(());
        };
        let (mut points, mut wrong, mut next) = (Vec::new(), None, Some(line));
        while let Some(line) = next {
            match line {
                Ok(Line::Point(parameters)) => {
                    points.push(v1::SearchPoint { parameters: parameters_to_wire(parameters) });
                }
                Ok(Line::End) => has_ended = true,
                Err(failure) => wrong = Some(failure),
            }
            let takes_more = !has_ended && wrong.is_none() && points.len() < POINTS_TOGETHER_MAX;
            next = if takes_more { lines.try_recv().ok() } else { None };
        }
        if !points.is_empty() || has_ended {
            let request = v1::ProposePointsRequest {
                sweep_id: arguments.sweep,
                first_point: next_point,
                points,
                seen: told,
                is_exhausted: has_ended,
            };
            next_point = propose(target, request).await?;
        }
        // After the right lines before it.
        if let Some(failure) = wrong {
            return Err(failure);
        }
    }
}

/// Proposes points until the coordinator has answered: it takes the same ones only once.
async fn propose(target: &Target, request: v1::ProposePointsRequest) -> Result<u64, Failure> {
    let began = Instant::now();
    loop {
        match target.call(async |client| client.propose_points(request.clone()).await).await {
            Ok(answer) => return Ok(answer.next_point),
            Err(failure) if failure.is_passing() && began.elapsed() < AWAY_MAX => {
                tokio::time::sleep(REOPEN_DELAY).await;
            }
            Err(failure) => return Err(failure),
        }
    }
}

/// Prints a message, and counts its results in `told`.
fn tell(message: &v1::FollowSearchResponse, told: &mut u64) -> Result<(), Failure> {
    let mut lines = Vec::new();
    for result in &message.results {
        *told = result.number;
        let parameters = parameters_from_wire(result.parameters.clone()).0;
        lines.push(Told::Result {
            result: result.number,
            job: result.job,
            point: result.point,
            parameters: parameters.into_iter().map(|(name, value)| (name, parameter_json(&value))).collect(),
            outcome: outcome(result.outcome()),
            value: result.value,
            epoch: Some(result.epoch).filter(|epoch| *epoch > 0),
        });
    }
    if !is_final_state(message.state()) {
        let &v1::FollowSearchResponse { wanted, next_point, points_max, .. } = message;
        lines.push(Told::Wanted { wanted, next_point, points_max });
    }
    print_lines(&lines)
}

fn print_lines(lines: &[Told]) -> Result<(), Failure> {
    let written = lines.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>();
    let written = written
        .map_err(|error| Failure::operation(format!("a result cannot be written as JSON: {error}")))?;
    print(&text::json(&(written.join("\n") + "\n")))
}

fn outcome(outcome: v1::SearchOutcome) -> &'static str {
    match outcome {
        v1::SearchOutcome::Finished => "finished",
        v1::SearchOutcome::Diverged => "diverged",
        v1::SearchOutcome::Stopped => "stopped",
        v1::SearchOutcome::Again => "again",
        v1::SearchOutcome::Nothing | v1::SearchOutcome::Unspecified => "nothing",
    }
}

/// Reads standard input until its end, a line that is wrong, or no one wants them any more.
fn read_lines(lines: &mpsc::Sender<Result<Line, Failure>>) {
    let mut input = BufReader::new(stdin());
    let mut text = String::new();
    for number in 1.. {
        text.clear();
        let read = input.by_ref().take(LINE_BYTES_MAX).read_line(&mut text);
        let line = match read {
            Ok(0) => return,
            Ok(_) if text.trim().is_empty() => continue,
            Ok(_) => parsed(&text),
            Err(error) => Err(error.to_string()),
        };
        let line =
            line.map_err(|error| Failure::operation(format!("line {number} of standard input: {error}")));
        let is_last = line.is_err();
        if lines.blocking_send(line).is_err() || is_last {
            return;
        }
    }
}

fn parsed(text: &str) -> Result<Line, String> {
    let said: Said = serde_json::from_str(text)
        .map_err(|error| format!("{error}; write {{\"parameters\":{{…}}}} or {{\"end\":true}}"))?;
    match (said.parameters, said.end) {
        (None, true) => Ok(Line::End),
        (Some(parameters), false) => {
            let read = |(name, value): (String, Value)| match serde_json::from_value(value) {
                Ok(value) => Ok((name, value)),
                Err(_) => Err(format!("`{name}` must be a number, a text, true, false or null")),
            };
            let parameters: Vec<(String, ParameterValue)> =
                parameters.into_iter().map(read).collect::<Result<_, _>>()?;
            Ok(Line::Point(ParameterMap(parameters)))
        }
        _ => Err("write either {\"parameters\":{…}} or {\"end\":true}".to_owned()),
    }
}

/// What a searcher has to know, from a stream that is opened again where it breaks.
struct News<'a> {
    target: &'a Target,
    sweep_id: u64,
    /// The number of the last result that has come.
    after: u64,
    stream: Option<Streaming<v1::FollowSearchResponse>>,
    last_contact: Option<Instant>,
    has_ended: bool,
}

impl<'a> News<'a> {
    fn new(target: &'a Target, sweep_id: u64, after: u64) -> Self {
        Self { target, sweep_id, after, stream: None, last_contact: None, has_ended: false }
    }

    /// The next message; none after the one that says how the sweep has ended. May be dropped and called again.
    async fn next(&mut self) -> Result<Option<v1::FollowSearchResponse>, Failure> {
        if self.has_ended {
            return Ok(None);
        }
        loop {
            match self.receive().await {
                Ok(Some(message)) => {
                    self.last_contact = Some(Instant::now());
                    self.after = message.results.last().map_or(self.after, |result| result.number);
                    return Ok(Some(message));
                }
                Ok(None) => {
                    self.has_ended = true;
                    return Ok(None);
                }
                Err(failure) => {
                    self.stream = None;
                    before_reopening(failure, self.last_contact).await?;
                }
            }
        }
    }

    async fn receive(&mut self) -> Result<Option<v1::FollowSearchResponse>, Failure> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let mut client = self.target.connect().await?;
                let request = v1::FollowSearchRequest { sweep_id: self.sweep_id, after: self.after };
                none.insert(self.target.in_time(client.follow_search(request)).await?.into_inner())
            }
        };
        Ok(stream.message().await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_searcher_are_points_or_the_end_and_others_are_refused_with_what_to_write() {
        let point =
            parsed(r#"{"parameters": {"rate": 0.5, "size": 32, "kind": "a", "flag": true, "none": null}}"#);
        let expected = vec![
            ("flag".to_owned(), ParameterValue::Boolean(true)),
            ("kind".to_owned(), ParameterValue::Text("a".to_owned())),
            ("none".to_owned(), ParameterValue::Null),
            ("rate".to_owned(), ParameterValue::Float(0.5)),
            ("size".to_owned(), ParameterValue::Integer(32)),
        ];
        let Ok(Line::Point(ParameterMap(mut found))) = point else { panic!("{point:?}") };
        found.sort_by(|one, other| one.0.cmp(&other.0));
        assert_eq!(found, expected);
        assert_eq!(parsed(r#"{"end": true}"#), Ok(Line::End));
        for (line, expected) in [
            (r#"{"rate": 0.5}"#, "unknown field `rate`"),
            (r#"{"parameters": {"rate": [1]}}"#, "`rate` must be a number, a text, true, false or null"),
            (r#"{"parameters": {}, "end": true}"#, "write either"),
            ("{}", "write either"),
            ("0.5", "write {\"parameters\""),
        ] {
            let error = parsed(line).unwrap_err();
            assert!(error.contains(expected), "{line}: {error}");
        }
    }

    #[test]
    fn a_message_is_written_as_lines_that_a_program_reads() {
        let told = |told: &Told| serde_json::to_string(told).unwrap();
        let parameters = Map::from_iter([("rate".to_owned(), parameter_json(&ParameterValue::Float(0.5)))]);
        let result = |outcome, value, epoch| Told::Result {
            result: 2,
            job: 3,
            point: 2,
            parameters: parameters.clone(),
            outcome,
            value,
            epoch,
        };
        assert_eq!(
            told(&result("finished", Some(0.25), None)),
            r#"{"result":2,"job":3,"point":2,"parameters":{"rate":0.5},"outcome":"finished","value":0.25}"#
        );
        assert_eq!(
            told(&result("diverged", None, None)),
            r#"{"result":2,"job":3,"point":2,"parameters":{"rate":0.5},"outcome":"diverged"}"#
        );
        assert_eq!(
            told(&result("stopped", Some(0.5), Some(3))),
            r#"{"result":2,"job":3,"point":2,"parameters":{"rate":0.5},"outcome":"stopped","value":0.5,"epoch":3}"#
        );
        assert_eq!(
            told(&Told::Wanted { wanted: 1, next_point: 3, points_max: 9 }),
            r#"{"wanted":1,"next_point":3,"points_max":9}"#
        );
    }
}
