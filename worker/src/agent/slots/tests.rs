//! Slots with small scripted trainers: what becomes of what a process does.

mod output;
mod weights;

use std::time::Duration;

use program::processes::Role;
use trainer_protocol::{CheckpointPlan, FromTrainer, LINE_BYTES_MAX};

use super::*;
use crate::agent::{
    session::tests::{attempt, work},
    trainer_process::CHECKPOINTS_VARIABLE,
};

/// A trainer that is a shell script; it finds `$ready`, the line that every trainer begins with.
pub(in crate::agent) fn script(text: &str) -> TrainerCommand {
    let ready = r#"{"type":"ready","protocol":1,"device":"cpu"}"#.to_owned();
    let arguments = vec!["-c".into(), text.into()];
    TrainerCommand {
        name: "sh",
        program: "/bin/sh".into(),
        arguments,
        environment: vec![("ready", ready)],
        remedy: "fix the script",
        role: Role::Program,
        ahead: false,
        weights: None,
        place_is_own: false,
    }
}

/// A slot that has this trainer alone.
fn alone(model: TrainerCommand) -> Trainers {
    Trainers { device: "cpu".into(), model, program: None }
}

struct Bench {
    slots: Slots,
    events: mpsc::Receiver<(usize, TrainerEvent)>,
}

impl Bench {
    /// One slot whose trainer was given job 1.
    fn started(trainer: TrainerCommand) -> Self {
        let (slots, events) = Slots::start(vec![alone(trainer)], &Bringing::default());
        slots.start_jobs(0, vec![(attempt(1), work())], true);
        Self { slots, events }
    }

    /// The next event that is more than a sign of life.
    async fn next(&mut self) -> TrainerEvent {
        loop {
            match self.next_of_all().await {
                TrainerEvent::Alive => {}
                event => return event,
            }
        }
    }

    async fn next_of_all(&mut self) -> TrainerEvent {
        let next = tokio::time::timeout(Duration::from_secs(20), self.events.recv());
        let (slot, event) =
            next.await.expect("the slot says something within 20 s").expect("the slot's task lives");
        assert_eq!(slot, 0);
        event
    }

    async fn said(&mut self) -> FromTrainer {
        match self.next().await {
            TrainerEvent::Said { message, .. } => message,
            other => panic!("expected a message, got {other:?}"),
        }
    }

    /// The reason and the log of the trainer's end, which is the next event.
    async fn exited(&mut self) -> (String, Vec<String>) {
        match self.next().await {
            TrainerEvent::Exited { reason, log_tail, .. } => (reason, log_tail),
            other => panic!("expected the end, got {other:?}"),
        }
    }

    async fn broken(&mut self) -> String {
        match self.next().await {
            TrainerEvent::Broken { reason } => reason,
            other => panic!("expected a broken trainer, got {other:?}"),
        }
    }
}

const READY: &str = "ready";

fn kind(message: &FromTrainer) -> String {
    let value = serde_json::to_value(message).unwrap();
    value["type"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_trainer_hears_its_jobs_and_serves_one_after_the_other() {
    // It answers each line with an end that repeats the line's length in its reason.
    let trainer = script(
        r#"echo "$ready"; while read -r line; do
        echo "{\"type\":\"ended\",\"id\":\"1/1#1\",\"outcome\":\"stopped\",\"reason\":\"${#line}\"}"; done"#,
    );
    let mut bench = Bench::started(trainer);
    assert_eq!(kind(&bench.said().await), READY);
    let length = |message: ToTrainer| serde_json::to_string(&message).unwrap().len().to_string();
    let reason = |message| match message {
        FromTrainer::Ended { reason, .. } => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(reason(bench.said().await), length(train(vec![(attempt(1), work())], &script("")).unwrap()));
    bench.slots.stop_job(0, attempt(1), true);
    assert_eq!(
        reason(bench.said().await),
        length(ToTrainer::Stop { id: attempt(1).to_string(), checkpoint: true })
    );
    bench.slots.start_jobs(0, vec![(attempt(2), work())], false);
    assert_eq!(reason(bench.said().await), length(train(vec![(attempt(2), work())], &script("")).unwrap()));
}

#[tokio::test]
async fn a_trainer_is_sent_nothing_before_it_is_ready() {
    let text =
        "early=$(timeout 0.3 head -c 1); echo \"$ready\"; read -r line; echo \"early: [$early]\" >&2; exit 4";
    let mut bench = Bench::started(script(text));
    assert_eq!(kind(&bench.said().await), READY);
    assert_eq!(bench.exited().await.1, ["early: []"]);
}

#[tokio::test]
async fn the_end_of_a_trainer_is_reported_in_words_with_its_last_lines() {
    let cases = [
        ("kill -9 $$", "the trainer was killed by SIGKILL (out of memory?)"),
        ("kill -SEGV $$", "the trainer was killed by SIGSEGV (a crash in native code)"),
        ("exit 101", "the trainer ended with exit status 101"),
        ("exit 137", "the trainer was killed by SIGKILL (out of memory?)"),
        ("kill -TERM $$", "the trainer was killed by SIGTERM"),
    ];
    for (end, reason) in cases {
        let mut bench =
            Bench::started(script(&format!("echo \"$ready\"; read -r x; echo oh >&2; echo no >&2; {end}")));
        assert_eq!(kind(&bench.said().await), READY);
        assert_eq!(bench.exited().await, (reason.to_owned(), vec!["oh".to_owned(), "no".to_owned()]));
    }
}

#[tokio::test]
async fn the_workers_own_trainer_that_dies_of_a_map_has_lost_its_data_and_another_may_have_filled_a_disk() {
    for (role, expected) in [(Role::Trainer, true), (Role::Program, false)] {
        for (end, expected) in [("kill -BUS $$", expected), ("kill -SEGV $$", false)] {
            let trainer = TrainerCommand { role, ..script(end) };
            match Bench::started(trainer).next().await {
                TrainerEvent::Exited { data_lost, .. } => assert_eq!(data_lost, expected, "{role:?} {end}"),
                other => panic!("expected the end, got {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn after_its_trainer_died_a_slot_starts_another_one() {
    let mut bench = Bench::started(script("echo \"$ready\"; exit 1"));
    assert_eq!(kind(&bench.said().await), READY);
    bench.exited().await;
    bench.slots.start_jobs(0, vec![(attempt(2), work())], true);
    assert_eq!(kind(&bench.said().await), READY);
}

#[tokio::test]
async fn a_job_for_a_trainer_that_is_gone_starts_no_other_one() {
    let mut bench = Bench::started(script("exit 1"));
    bench.exited().await;
    bench.slots.start_jobs(0, vec![(attempt(2), work())], false);
    bench.slots.start_jobs(0, vec![(attempt(3), work())], true);
    bench.exited().await;
    assert!(bench.events.is_empty());
}

/// Answers job `job` with an end.
fn ends(job: u32, outcome: &str) -> String {
    format!(r#"read -r x; echo '{{"type":"ended","id":"1/{job}#1","outcome":"{outcome}","reason":""}}'"#)
}

#[tokio::test]
async fn the_end_of_a_trainer_says_how_many_requests_it_had_read() {
    let heard = async |bench: &mut Bench| match bench.next().await {
        TrainerEvent::Exited { trains_heard, .. } => trains_heard,
        other => panic!("expected the end, got {other:?}"),
    };
    // It ends when a second job is on its way, which it has not read, has begun to read, or has read; the stop before it
    // does not count.
    for (last_words, expected) in [(":", 1), ("head -c 5 >&2", 1), ("read -r x", 2)] {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("goes");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, mode).unwrap();
        let text = format!(
            "echo \"$ready\"; {}; read -r x; cat '{}'; {last_words}; exit 3",
            ends(1, "failed"),
            fifo.display()
        );
        let mut bench = Bench::started(script(&text));
        assert_eq!(kind(&bench.said().await), READY);
        assert_eq!(kind(&bench.said().await), "ended");
        bench.slots.stop_job(0, attempt(1), true);
        bench.slots.start_jobs(0, vec![(attempt(2), work())], false);
        tokio::task::spawn_blocking(move || std::fs::write(fifo, "").unwrap()).await.unwrap();
        assert_eq!(heard(&mut bench).await, expected, "{last_words}");
        bench.slots.start_jobs(0, vec![(attempt(3), work())], false);
        bench.slots.start_jobs(0, vec![(attempt(4), work())], true);
        assert_eq!(kind(&bench.said().await), READY);
    }
    let mut bench = Bench::started(script("exit 1"));
    assert_eq!(heard(&mut bench).await, 0);
}

#[tokio::test]
async fn a_keeper_that_was_stopped_by_what_it_keeps_ends_when_it_is_killed() {
    // The outer shell is the keeper: it waits, and ends when its child has ended.
    let stopping = r#"sh -c 'kill -STOP $PPID; echo "$ready"; exec sleep 1000' & wait"#;
    let mut bench = Bench::started(TrainerCommand { role: Role::Keeper, ..script(stopping) });
    assert_eq!(kind(&bench.said().await), READY);
    bench.slots.kill_trainer(0);
    assert_eq!(bench.exited().await.0, "the worker killed the trainer");
    // One that keeps nothing any more and lives on.
    let idle = r#"echo "$ready"; sleep 1000 & wait; exec sleep 1000"#;
    let mut bench = Bench::started(TrainerCommand { role: Role::Keeper, ..script(idle) });
    assert_eq!(kind(&bench.said().await), READY);
    bench.slots.kill_trainer(0);
    assert_eq!(bench.exited().await.0, "the worker killed the trainer");
}

#[tokio::test]
async fn a_trainer_that_closes_its_output_is_broken_and_one_that_ends_is_not() {
    let mut bench = Bench::started(script("echo \"$ready\"; read -r x; exec >&-; exec sleep 1000"));
    assert_eq!(kind(&bench.said().await), READY);
    assert!(bench.broken().await.starts_with("the trainer closed its standard output"));
    let mut bench = Bench::started(script("echo \"$ready\"; read -r x; exec >&-; exit 3"));
    assert_eq!(kind(&bench.said().await), READY);
    assert_eq!(bench.exited().await.0, "the trainer ended with exit status 3");
}

#[tokio::test]
async fn the_workers_own_trainer_leaves_signals_that_ask_to_leave_to_the_worker() {
    let text = "echo \"$ready\"; read -r x; kill -TERM $$; kill -INT $$; kill -HUP $$; exit 7";
    let mut bench = Bench::started(TrainerCommand { role: Role::Trainer, ..script(text) });
    assert_eq!(kind(&bench.said().await), READY);
    assert_eq!(bench.exited().await.0, "the trainer ended with exit status 7");
}

#[tokio::test]
async fn a_trainer_that_ignores_everything_dies_with_its_children_when_it_is_killed() {
    // Its children hold its pipes open, and would hold up its end if they lived on.
    let mut bench = Bench::started(script("trap '' TERM INT; echo \"$ready\"; sleep 1000 & sleep 1000"));
    assert_eq!(kind(&bench.said().await), READY);
    bench.slots.stop_job(0, attempt(1), true);
    bench.slots.kill_trainer(0);
    bench.exited().await;
}

#[tokio::test]
async fn what_a_trainer_leaves_behind_is_killed_with_it() {
    let mut bench = Bench::started(script("sleep 1000 & exit 0"));
    assert_eq!(bench.exited().await.0, "the trainer ended with exit status 0");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_reported_like_a_crash() {
    let trainer = TrainerCommand { name: "sweep-trainer", program: "/nowhere/trainer".into(), ..script("") };
    let (reason, _) = Bench::started(trainer).exited().await;
    assert!(reason.starts_with("the trainer sweep-trainer cannot be started (No such file"), "{reason}");
}

#[tokio::test]
async fn no_trainer_outlives_its_slots() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("alive");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    // The trainer holds the writing end: its reader sees the end of file when the trainer dies.
    let mut bench =
        Bench::started(script(&format!("exec 3>'{}'; echo \"$ready\"; exec sleep 1000", fifo.display())));
    let reader = tokio::task::spawn_blocking(move || std::fs::read(fifo).unwrap());
    assert_eq!(kind(&bench.said().await), READY);
    bench.slots.shut_down().await;
    let content =
        tokio::time::timeout(Duration::from_secs(20), reader).await.expect("the trainer dies").unwrap();
    assert!(content.is_empty());
}

/// One slot whose trainer is started ahead, and what came of it.
async fn ahead(text: &str) -> (Bench, Result<Vec<Manifest>, String>) {
    let (mut slots, events) =
        Slots::start(vec![alone(TrainerCommand { ahead: true, ..script(text) })], &Bringing::default());
    let prepared = slots.prepared().await;
    (Bench { slots, events }, prepared)
}

/// What a trainer says that is ready and trains models of these names.
fn ready_with(names: &[&str]) -> String {
    let manifest = |name: &&str| {
        format!(
            r#"{{"name":"{name}","version":1,"meaning":"","parameters":[{{"name":"a","type":"any"}}],"metrics":[{{"name":"l","goal":"minimize"}}],"objective":"l","dataset":"none","progress":"epoch","resumes":false,"packs":false}}"#
        )
    };
    let manifests: Vec<String> = names.iter().map(manifest).collect();
    format!(
        r#"echo '{{"type":"ready","protocol":2,"device":"cpu","trainables":[{}]}}'; read -r x"#,
        manifests.join(",")
    )
}

#[tokio::test]
async fn a_worker_trains_what_the_trainers_of_all_of_its_slots_say_that_they_train() {
    let trainer = |names: &[&str]| alone(TrainerCommand { ahead: true, ..script(&ready_with(names)) });
    let (mut slots, _events) =
        Slots::start(vec![trainer(&["one", "two"]), trainer(&["two", "three"])], &Bringing::default());
    let prepared = slots.prepared().await.unwrap();
    assert_eq!(prepared.iter().map(|manifest| manifest.name.as_str()).collect::<Vec<_>>(), ["two"]);
    let (_bench, prepared) = ahead(&ready_with(&["Not a name"])).await;
    assert!(prepared.unwrap_err().contains("what it says of the model Not a name is wrong: `name` must be"));
}

#[tokio::test]
async fn a_trainer_that_is_started_ahead_is_the_first_jobs() {
    let (mut bench, prepared) = ahead(
        r#"echo "$ready"; read -r x; echo '{"type":"ended","id":"1/1#1","outcome":"done","reason":"'$$'"}'; read -r x"#,
    )
    .await;
    assert_eq!(prepared, Ok(Vec::new()));
    assert!(bench.events.try_recv().is_err(), "nothing is reported before there is a job");
    bench.slots.start_jobs(0, vec![(attempt(1), work())], true);
    assert_eq!(kind(&bench.said().await), READY);
    assert!(matches!(bench.said().await, FromTrainer::Ended { .. }));
}

#[tokio::test]
async fn a_trainer_that_cannot_work_says_so_before_there_is_a_job() {
    for (text, reason) in [
        ("echo no libtorch >&2; exit 127", "the trainer ended with exit status 127: no libtorch"),
        ("exit 0", "the trainer ended with exit status 0"),
        (
            r#"echo '{"type":"ready","protocol":5,"device":"cpu"}'; read -r x"#,
            "it did not begin with being ready",
        ),
        (
            r#"echo '{"type":"hello"}'; read -r x"#,
            "the trainer wrote a line that is not of the trainer protocol",
        ),
    ] {
        let (_, prepared) = ahead(text).await;
        let told = prepared.unwrap_err();
        assert!(told.starts_with(&format!("the trainer of slot 0 cannot be used here: {reason}")), "{told}");
        assert!(told.ends_with("; fix the script"), "{told}");
    }
}

#[tokio::test]
async fn one_that_died_while_it_waited_for_a_job_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (seen, dead) = (folder.path().join("seen"), folder.path().join("dead"));
    rustix::fs::mkfifoat(rustix::fs::CWD, &dead, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    // The first one ends at once, the second one finds its trace and stays.
    let (mut bench, prepared) = ahead(&format!(
        r#"echo "$ready"; if [ -e '{0}' ]; then read -r x; exec sleep 1000; fi; touch '{0}'; exec 3>'{1}'; exit 3"#,
        seen.display(),
        dead.display()
    ))
    .await;
    assert_eq!(prepared, Ok(Vec::new()));
    tokio::task::spawn_blocking(move || std::fs::read(dead).unwrap()).await.unwrap();
    bench.slots.start_jobs(0, vec![(attempt(1), work())], true);
    // It may be gone without being seen to be: then its end is reported like that of any other.
    match bench.next().await {
        TrainerEvent::Said { message, .. } => assert_eq!(kind(&message), READY),
        other => assert!(matches!(other, TrainerEvent::Exited { .. }), "{other:?}"),
    }
}

#[test]
fn checkpoints_are_asked_for_where_there_is_a_place_for_them() {
    let plan = CheckpointPlan { key: "1-9/1".into(), attempt: 1, every_epochs: 0 };
    for has_place in [true, false] {
        let work = Work { checkpoints: Some(plan.clone()), ..work() };
        let mut trainer = script("");
        if has_place {
            trainer.environment.push((CHECKPOINTS_VARIABLE, "/kept".into()));
        }
        let Some(ToTrainer::Train { jobs, .. }) = train(vec![(attempt(1), work)], &trainer) else { panic!() };
        assert_eq!(jobs[0].checkpoints.is_some(), has_place);
    }
}

/// A slot whose trainer waits for the files of its job: what brings them, what tells the slot, and what it says.
struct Awaiting {
    files: Option<oneshot::Sender<Brought>>,
    commands: mpsc::Sender<Command>,
    events: mpsc::Receiver<(usize, TrainerEvent)>,
    _running: AbortOnDropHandle<()>,
}

impl Awaiting {
    fn start(text: &str) -> Self {
        let (events, received) = mpsc::channel(EVENTS_MAX);
        let process = TrainerProcess::start(0, &script(text), events.clone()).unwrap();
        let (files, arrive) = oneshot::channel::<Brought>();
        let fetching = tokio::spawn(async move { arrive.await.unwrap() });
        let task = SlotTask {
            slot: 0,
            trainers: alone(script("")),
            events,
            process: SlotProcess::InUse(process),
            bringing: Bringing::default(),
            under_way: Some(AbortOnDropHandle::new(fetching)),
            stops: Vec::new(),
        };
        let (commands, obeyed) = mpsc::channel(COMMANDS_MAX);
        let running = AbortOnDropHandle::new(tokio::spawn(task.run(oneshot::channel().0, obeyed)));
        Self { files: Some(files), commands, events: received, _running: running }
    }

    async fn next(&mut self) -> TrainerEvent {
        tokio::time::timeout(Duration::from_secs(20), self.events.recv()).await.unwrap().unwrap().1
    }
}

#[tokio::test]
async fn a_job_that_is_stopped_while_its_files_are_awaited_is_stopped_after_the_trainer_has_heard_of_it() {
    let heard = r#"echo "$ready"; read -r first; read -r second; echo "$first" >&2; echo "$second" >&2"#;
    let mut slot = Awaiting::start(heard);
    slot.commands.send(Command::Stop { attempt: attempt(1), checkpoint: false }).await.unwrap();
    // Until it was taken.
    while slot.commands.capacity() < COMMANDS_MAX {
        tokio::task::yield_now().await;
    }
    slot.files
        .take()
        .unwrap()
        .send(Brought { jobs: vec![(attempt(1), work())], folders: Vec::new() })
        .unwrap();
    let log = loop {
        if let TrainerEvent::Exited { log_tail, .. } = slot.next().await {
            break log_tail;
        }
    };
    assert!(log.len() == 2 && log[0].contains("\"train\"") && log[1].contains("\"stop\""), "{log:?}");
}

#[tokio::test]
async fn a_slot_that_brings_files_gives_signs_of_life_for_the_trainer_that_waits_for_them() {
    let mut slot = Awaiting::start("echo \"$ready\"; read -r first; exec sleep 1000");
    let mut alive = 0;
    while alive < 3 {
        match slot.next().await {
            TrainerEvent::Alive => alive += 1,
            event => assert!(matches!(event, TrainerEvent::Said { .. }), "{event:?}"),
        }
    }
}
