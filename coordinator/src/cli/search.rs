//! `sweep search`: connects a searcher outside, a program of any language, to its sweep by lines of JSON. What it has to know goes to
//! standard output, the points that it proposes come from standard input.

mod forms;
mod lines;

use std::{
    io::{BufReader, stdin},
    time::Instant,
};

use proto::{parameters_from_wire, v1};
use serde::Serialize;
use serde_json::{Map, Value};
use terminal::{output::say, text};
use tokio::sync::mpsc;
use tonic::Streaming;

use self::lines::{Line, Numbered};
use super::{
    client::Target,
    failure::Failure,
    follow::{AWAY_MAX, REOPEN_DELAY, before_reopening, is_final_state},
    output::{count, parameter_json, print},
    tables::sweep_state_name,
};

/// Lines that may wait while the coordinator is away.
const LINES_WAITING_MAX: usize = 1_000;
/// Points that are sent together where many wait: a quarter of what a call may have.
const POINTS_TOGETHER_MAX: usize = 250;

/// Arguments of `sweep search`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = forms::below())]
pub(super) struct SearchArguments {
    /// Sweep's number; its file says `method: external`
    #[arg(value_parser = super::ids::sweep_id)]
    sweep: u64,
    /// Begin with the results after the one of this number, which a searcher that goes on has already
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    after: u64,
}

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
    Accepted {
        accepted: u64,
        point: u64,
    },
    Refused {
        error: String,
        line: u64,
    },
    Ended {
        state: &'static str,
    },
}

/// `sweep search`.
pub(super) async fn search(arguments: &SearchArguments, target: &Target) -> Result<(), Failure> {
    let mut news = News::new(target, arguments.sweep, arguments.after);
    let Some(first) = news.next().await? else { return Ok(()) };
    let mut state = first.state();
    let mut proposing = Proposing {
        target,
        sweep_id: arguments.sweep,
        next_point: first.next_point,
        told: arguments.after,
        refused: 0,
        is_over: false,
    };
    tell(&first, &mut proposing.told)?;
    let (sender, mut lines) = mpsc::channel(LINES_WAITING_MAX);
    // Not a task: nothing can end its reading, and the process need not wait for it.
    std::thread::spawn(move || lines::read(BufReader::new(stdin()), &sender));
    loop {
        let read = tokio::select! {
            message = news.next() => {
                let Some(message) = message? else {
                    return print_lines(&[Told::Ended { state: sweep_state_name(state) }]);
                };
                state = message.state();
                tell(&message, &mut proposing.told)?;
                continue;
            }
            line = lines.recv(), if !proposing.is_over => line,
        };
        match read {
            Some(line) => proposing.take(line?, &mut lines).await?,
            None => return proposing.left(),
        }
    }
}

/// What a searcher has said so far.
struct Proposing<'a> {
    target: &'a Target,
    sweep_id: u64,
    next_point: u64,
    /// The number of the last result that the searcher has.
    told: u64,
    /// Lines that were not taken.
    refused: u64,
    /// Whether no more lines are read: the searcher or the sweep has ended.
    is_over: bool,
}

impl Proposing<'_> {
    /// Takes a line, and those that are there already: points go to the coordinator together.
    async fn take(
        &mut self,
        line: Numbered,
        lines: &mut mpsc::Receiver<Result<Numbered, Failure>>,
    ) -> Result<(), Failure> {
        let (mut points, mut next) = (Vec::new(), Some(line));
        while let Some(Numbered { number, line }) = next {
            match line {
                Line::Point(point) => points.push((number, point)),
                // After the right lines before them.
                Line::Wrong(why) => {
                    self.propose(std::mem::take(&mut points)).await?;
                    self.refuse(number, why)?;
                }
                Line::End => {
                    self.propose(std::mem::take(&mut points)).await?;
                    self.end(number).await?;
                }
            }
            let takes_more = !self.is_over && points.len() < POINTS_TOGETHER_MAX;
            next = if takes_more { lines.try_recv().ok().transpose()? } else { None };
        }
        self.propose(points).await
    }

    /// Proposes points. Where one of them is refused, none has been taken: the others are proposed alone, and each line that is
    /// refused gets an answer.
    async fn propose(&mut self, points: Vec<(u64, v1::SearchPoint)>) -> Result<(), Failure> {
        if points.is_empty() {
            return Ok(());
        }
        match self.propose_together(&points).await {
            Err(Failure::Refused(_)) if points.len() > 1 => {}
            Err(Failure::Refused(why)) => return self.refuse_unless_over(points[0].0, why).await,
            proposed => return proposed,
        }
        for point in points {
            match self.propose_together(std::slice::from_ref(&point)).await {
                Err(Failure::Refused(why)) => self.refuse_unless_over(point.0, why).await?,
                proposed => proposed?,
            }
            if self.is_over {
                break;
            }
        }
        Ok(())
    }

    /// Proposes points, all of them or none, and says which numbers they have. Where they are refused and another searcher has taken
    /// their numbers, they get the next ones: one that was killed may have had a point on its way.
    async fn propose_together(&mut self, points: &[(u64, v1::SearchPoint)]) -> Result<(), Failure> {
        let proposed: Vec<_> = points.iter().map(|(_, point)| point.clone()).collect();
        let first = loop {
            let first = self.next_point;
            let Err(failure) = self.send(proposed.clone(), false).await else { break first };
            // Proposes nothing: the answer is the number of the next point.
            if failure.is_passing() || self.send(Vec::new(), false).await.is_err() || self.next_point == first
            {
                return Err(failure);
            }
        };
        let numbered = points.iter().zip(first..);
        let accepted = numbered.map(|(&(accepted, _), point)| Told::Accepted { accepted, point });
        print_lines(&accepted.collect::<Vec<_>>())
    }

    /// Ends the search, which a coordinator refuses where there is no point yet.
    async fn end(&mut self, number: u64) -> Result<(), Failure> {
        match self.send(Vec::new(), true).await {
            Err(Failure::Refused(why)) => self.refuse(number, why),
            sent => {
                self.is_over = true;
                sent
            }
        }
    }

    /// Sends points until the coordinator has answered: it takes the same ones only once.
    async fn send(&mut self, points: Vec<v1::SearchPoint>, is_exhausted: bool) -> Result<(), Failure> {
        let &mut Self { target, sweep_id, next_point: first_point, told: seen, .. } = self;
        let request = v1::ProposePointsRequest { sweep_id, first_point, points, seen, is_exhausted };
        let began = Instant::now();
        loop {
            match target.call(async |client| client.propose_points(request.clone()).await).await {
                Ok(answer) => {
                    self.next_point = answer.next_point;
                    return Ok(());
                }
                Err(failure) if failure.is_passing() && began.elapsed() < AWAY_MAX => {
                    tokio::time::sleep(REOPEN_DELAY).await;
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Answers a line that the coordinator refused, unless that is because the sweep has ended: the last line says so, once for all
    /// lines that still wait.
    async fn refuse_unless_over(&mut self, line: u64, why: String) -> Result<(), Failure> {
        let sweep_id = self.sweep_id;
        let sweep =
            self.target.call(async |client| client.get_sweep(v1::GetSweepRequest { sweep_id }).await).await;
        // Where it cannot be asked, the refusal is what is known.
        self.is_over = sweep.is_ok_and(|sweep| is_final_state(sweep.state()));
        if self.is_over { Ok(()) } else { self.refuse(line, why) }
    }

    /// Answers a line that was not taken; the searcher may go on.
    fn refuse(&mut self, line: u64, error: String) -> Result<(), Failure> {
        self.refused += 1;
        print_lines(&[Told::Refused { error, line }])
    }

    /// How the command ends once there are no more lines and the sweep has not ended.
    fn left(&self) -> Result<(), Failure> {
        let message = format!(
            "standard input has ended, and sweep {} waits for the points that are left: start its searcher again, or send \
             {{\"end\":true}} to end it with those that it has",
            self.sweep_id
        );
        match self.refused {
            0 => say(&message),
            refused => {
                let were = if refused == 1 { "was" } else { "were" };
                let lines = count(refused, "line");
                return Err(Failure::operation(format!(
                    "{lines} {were} refused, as the answers say; {message}"
                )));
            }
        }
        Ok(())
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
    use terms::ParameterValue;

    use super::*;

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
        assert_eq!(told(&Told::Accepted { accepted: 4, point: 3 }), r#"{"accepted":4,"point":3}"#);
        assert_eq!(
            told(&Told::Refused { error: "`rate` is missing".to_owned(), line: 4 }),
            r#"{"error":"`rate` is missing","line":4}"#
        );
    }
}
