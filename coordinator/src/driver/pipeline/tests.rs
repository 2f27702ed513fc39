//! The order in which the pipeline lets things happen, over an engine that only counts.

use domain::record::Record;
use engine::{AttemptEvent, Effect, Hello, Output, ToWorker, Welcome};
use terms::{AttemptKey, SweepId, SweepState};

use super::*;

/// Keeps a record of each event of an attempt, and says what it heard.
#[derive(Debug, Default)]
struct Counted {
    heard: Vec<String>,
}

impl Core for Counted {
    fn hear(&mut self, _: Now, event: Event, output: &mut Output) {
        let (name, decided) = match event {
            Event::Attempt { session, sequence, event, .. } => {
                let name = match event {
                    AttemptEvent::Unusable(reason) if reason.contains("could not keep") => "unusable",
                    _ => "event",
                };
                (format!("{name} {sequence}"), kept(vec![Effect::Acknowledge { session, sequence }]))
            }
            Event::SessionOpened { session, .. } => {
                let welcome = Welcome { lease_ms: 1, heartbeat_interval_ms: 1, refused: Vec::new() };
                let message = ToWorker::Welcome(welcome);
                (format!("opened {}", session.0), kept(vec![Effect::Send { session, message }]))
            }
            Event::SessionClosed(session) => (format!("closed {}", session.0), Output::default()),
            Event::Delivered { .. } => ("delivered".to_owned(), Output::default()),
            Event::Tick => ("tick".to_owned(), kept(Vec::new())),
            other => panic!("{other:?}"),
        };
        self.heard.push(name);
        output.append(decided);
    }
}

/// Something to keep before the effects.
fn kept(effects: Vec<Effect>) -> Output {
    let record = Record::SweepChanged { sweep: SweepId(1), state: SweepState::Running, ended_unix_ms: None };
    Output { records: vec![record], effects, ..Output::default() }
}

/// A command or a query, by its name.
#[derive(Debug)]
enum Called {
    Command(&'static str),
    Query(&'static str),
}

impl Asked<Counted> for Called {
    fn is_query(&self) -> bool {
        matches!(self, Self::Query(_))
    }

    fn apply(&mut self, core: &mut Counted, _: Now) -> Output {
        core.heard.push(self.name().to_owned());
        if self.is_query() { Output::default() } else { kept(Vec::new()) }
    }
}

impl Called {
    fn name(&self) -> &'static str {
        match self {
            Self::Command(name) | Self::Query(name) => name,
        }
    }
}

/// The pipeline with what it did.
struct Played {
    pipeline: Pipeline<Called, Counted>,
    since_start: Duration,
    commit: Option<Batch<Called>>,
    has_room: bool,
    leads_surely: bool,
}

impl Played {
    fn new() -> Self {
        let pipeline = Pipeline::new(Counted::default());
        Self { pipeline, since_start: Duration::ZERO, commit: None, has_room: false, leads_surely: true }
    }

    fn moment(&self) -> Moment {
        Moment { since_start: self.since_start, unix_ms: 0, waiting: 0, leads_surely: self.leads_surely }
    }

    fn takes(&mut self, input: Input<Called>) {
        self.pipeline.received(self.moment(), input);
    }

    fn hears(&mut self, sequence: u64) {
        let (session, attempt) = (SessionId(1), AttemptKey::new(1, sequence, 1));
        let event = AttemptEvent::Unusable("as it was said".to_owned());
        self.takes(Input::Events(vec![Event::Attempt { session, sequence, attempt, event }]));
    }

    fn ends(&mut self, kept: Result<(), StoreError>) -> Result<(), StoreError> {
        let batch = self.commit.take().expect("a commit runs");
        self.pipeline.commit_ended(self.moment(), batch, kept)
    }

    /// Performs what is asked for until nothing is.
    fn performs(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(action) = self.pipeline.poll(self.moment()) {
            all.push(self.performed(action));
        }
        all
    }

    /// Performs one action.
    fn performed_next(&mut self) -> String {
        let action = self.pipeline.poll(self.moment()).expect("an action");
        self.performed(action)
    }

    fn performed(&mut self, action: Action<Called>) -> String {
        match action {
            Action::Commit(batch) => {
                assert!(self.commit.is_none(), "two commits run");
                let said = format!("commit {}", batch.records().len());
                self.commit = Some(batch);
                said
            }
            Action::Release(released) => {
                assert!(self.commit.is_none(), "something leaves while a commit runs");
                let deliveries = released.deliveries.len();
                let answered: Vec<_> = released.answered.iter().map(Called::name).collect();
                format!("release {deliveries} {}", answered.join(" "))
            }
            Action::Restore => {
                self.pipeline.restored(self.moment(), Counted::default());
                "restore".to_owned()
            }
            Action::LookForRoom => {
                self.pipeline.room_looked_for(self.moment(), self.has_room);
                "look".to_owned()
            }
            Action::CloseSessions(closing) => format!("close {closing:?}"),
            Action::RefuseSession(session) => format!("refuse {}", session.0),
            Action::Fail(called, Refused::Full) => format!("full {}", called.name()),
            Action::Fail(called, Refused::Unfit(_)) => format!("unfit {}", called.name()),
        }
    }

    fn heard(&self) -> Vec<&str> {
        self.pipeline.core().heard.iter().map(String::as_str).collect()
    }
}

fn opened(session: u64) -> Input<Called> {
    let hello = Hello {
        name: "w".parse().unwrap(),
        instance: String::new(),
        predecessors: Vec::new(),
        host: String::new(),
        software_version: String::new(),
        slots: Vec::new(),
        held: Vec::new(),
        draining: false,
        runs_programs: false,
        spans_slots: false,
        pauses: false,
        checkpoints: String::new(),
        memory_bytes: 0,
        models: Vec::new(),
    };
    Input::Opened(SessionId(session), Box::new(hello))
}

fn full() -> Result<(), StoreError> {
    Err(StoreError::Full("no room".to_owned()))
}

fn unfit() -> Result<(), StoreError> {
    Err(StoreError::Unfit("too much".to_owned()))
}

#[test]
fn nothing_leaves_before_its_commit_and_those_before_are_durable() {
    let mut played = Played::new();
    played.takes(Input::Asked(Called::Command("a")));
    assert_eq!(played.performs(), ["commit 1"]);
    // The engine goes on: these share the next commit.
    played.hears(2);
    played.takes(Input::Asked(Called::Query("q")));
    assert_eq!(played.heard(), ["a", "event 2", "q"]);
    assert!(played.performs().is_empty());
    played.ends(Ok(())).unwrap();
    assert_eq!(played.performs(), ["release 0 a", "commit 1"]);
    played.ends(Ok(())).unwrap();
    assert_eq!(played.performs(), ["release 1 q"]);
}

#[test]
fn what_rests_on_a_running_commit_waits_for_it_without_a_commit_of_its_own() {
    let mut played = Played::new();
    played.takes(Input::Asked(Called::Command("a")));
    assert_eq!(played.performs(), ["commit 1"]);
    played.takes(Input::Asked(Called::Query("q")));
    assert!(played.performs().is_empty());
    played.ends(Ok(())).unwrap();
    assert_eq!(played.performs(), ["release 0 a", "release 0 q"]);
}

#[test]
fn leases_are_looked_at_between_two_commits_when_all_has_left() {
    let mut played = Played::new();
    played.takes(opened(1));
    assert_eq!(played.performs(), ["commit 1"]);
    played.pipeline.tick();
    played.hears(1);
    assert!(played.performs().is_empty());
    assert_eq!(played.heard(), ["opened 1", "event 1"], "a commit runs");
    played.ends(Ok(())).unwrap();
    assert_eq!(played.performed_next(), "release 1 ");
    assert_eq!(played.heard(), ["opened 1", "event 1"], "the welcome has not left");
    played.pipeline.gave_up(SessionId(1));
    assert_eq!(played.performs(), ["commit 2"]);
    assert_eq!(played.heard(), ["opened 1", "event 1", "delivered", "closed 1", "tick"]);
    assert!(!played.pipeline.tick_is_due());
}

#[test]
fn without_being_sure_to_lead_only_what_a_commit_protects_leaves() {
    let mut played = Played::new();
    played.leads_surely = false;
    played.takes(Input::Asked(Called::Query("q")));
    assert!(played.performs().is_empty());
    // With a command, it shares a commit, which the store keeps of the leader alone.
    played.takes(Input::Asked(Called::Command("a")));
    assert_eq!(played.performs(), ["commit 1"]);
    played.takes(Input::Asked(Called::Query("r")));
    played.ends(Ok(())).unwrap();
    assert_eq!(played.performs(), ["release 0 q a"]);
    played.leads_surely = true;
    assert_eq!(played.performs(), ["release 0 r"]);
}

#[test]
fn a_batch_is_bounded() {
    let mut played = Played::new();
    played.hears(1);
    assert_eq!(played.performs(), ["commit 1"]);
    for sequence in 0..BATCH_INPUTS_MAX as u64 {
        assert!(played.pipeline.has_room());
        played.hears(sequence + 2);
    }
    assert!(!played.pipeline.has_room());
    played.ends(Ok(())).unwrap();
    assert_eq!(played.performs(), ["release 1 ".to_owned(), format!("commit {BATCH_INPUTS_MAX}")]);
    assert!(played.pipeline.has_room());
}

#[test]
fn after_a_full_disk_the_engine_is_restored_then_streams_close_and_commands_are_refused_last() {
    let mut played = Played::new();
    played.takes(Input::Asked(Called::Command("a")));
    assert_eq!(played.performs(), ["commit 1"]);
    played.takes(Input::Asked(Called::Query("q")));
    played.takes(Input::Asked(Called::Command("b")));
    played.ends(full()).unwrap();
    assert!(!played.pipeline.has_room());
    assert_eq!(played.performs(), ["restore", "close Full", "full a", "full b", "release 0 q"]);
    assert_eq!(played.heard(), ["q"], "as the store has it");
}

#[test]
fn while_the_disk_is_full_queries_are_answered_and_all_else_is_refused_until_there_is_room() {
    let mut played = Played::new();
    played.hears(1);
    played.performs();
    played.ends(full()).unwrap();
    assert_eq!(played.performs(), ["restore", "close Full"]);
    played.hears(2);
    played.takes(opened(3));
    played.takes(Input::Asked(Called::Command("a")));
    played.takes(Input::Asked(Called::Query("q")));
    played.pipeline.tick();
    assert_eq!(played.performs(), ["refuse 3", "full a", "release 0 q"]);
    assert_eq!(played.heard(), ["q"]);
    for has_room in [false, true] {
        played.has_room = has_room;
        assert!(played.performs().is_empty(), "it is not time to look");
        played.since_start += ROOM_INTERVAL;
        let performed = played.performs();
        let expected = if has_room { &["look", "restore", "close Again"][..] } else { &["look"] };
        assert_eq!(performed, expected);
    }
    played.takes(Input::Asked(Called::Command("b")));
    assert_eq!(played.performs(), ["commit 1"]);
}

#[test]
fn after_unfit_content_each_input_has_its_own_commit_and_only_the_unfit_one_is_refused() {
    let mut played = Played::new();
    played.takes(Input::Asked(Called::Command("a")));
    played.takes(Input::Asked(Called::Command("b")));
    assert_eq!(played.performs(), ["commit 2"]);
    played.takes(Input::Asked(Called::Query("q")));
    played.ends(unfit()).unwrap();
    assert!(!played.pipeline.has_room(), "nothing is taken until all were tried");
    assert_eq!(played.performs(), ["restore", "close Again", "commit 1"]);
    assert_eq!(played.heard(), ["a"]);
    played.ends(unfit()).unwrap();
    // The caller has its answer before the restore, which takes long.
    assert_eq!(played.performs(), ["unfit a", "restore", "close Again", "commit 1"]);
    assert_eq!(played.heard(), ["b"]);
    played.ends(Ok(())).unwrap();
    assert_eq!(played.performs(), ["release 0 b", "release 0 q"]);
    assert!(played.pipeline.has_room());
}

#[test]
fn what_a_worker_said_and_cannot_be_kept_is_remembered_before_the_engine_is_restored() {
    let mut played = Played::new();
    played.hears(1);
    played.performs();
    played.ends(unfit()).unwrap();
    assert_eq!(played.performs(), ["restore", "close Again"]);
    played.hears(1);
    assert_eq!(played.performs(), ["commit 1"]);
    played.ends(unfit()).unwrap();
    assert_eq!(played.performs(), ["restore", "close Again"]);
    played.hears(1);
    assert_eq!(played.performs(), ["commit 1"]);
    assert_eq!(played.heard(), ["unusable 1"]);
    // What stands for it cannot be kept either: no one is left to refuse. It is found as the first was.
    played.ends(unfit()).unwrap();
    played.performs();
    played.hears(1);
    played.performs();
    assert!(played.ends(unfit()).is_err());
}

#[test]
fn a_full_disk_while_inputs_have_commits_of_their_own_refuses_commands_and_answers_queries() {
    let mut played = Played::new();
    for called in [Called::Command("a"), Called::Command("b"), Called::Query("q")] {
        played.takes(Input::Asked(called));
    }
    assert_eq!(played.performs(), ["commit 2"]);
    played.ends(unfit()).unwrap();
    assert_eq!(played.performs(), ["restore", "close Again", "commit 1"]);
    played.ends(full()).unwrap();
    assert_eq!(played.performs(), ["restore", "close Full", "full a", "full b", "release 0 q"]);
}

#[test]
fn any_other_error_of_a_commit_ends_the_driver() {
    let mut played = Played::new();
    played.hears(1);
    played.performs();
    assert!(matches!(played.ends(Err(StoreError::Superseded)), Err(StoreError::Superseded)));
    assert!(played.performs().is_empty());
}
