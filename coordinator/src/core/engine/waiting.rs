//! Why jobs wait, by the rules that `schedule` goes by, so that nobody has to guess why nothing moves.

use std::collections::BTreeMap;

use proto::{WorkerName, v1};

use super::{Effect, Engine, Now, Observation, Output, sweep_run::SweepRun, workers::WorkerState};
use crate::core::state::SweepState;

/// Workers whose reasons are named; more would fill the screen.
const NAMED_MAX: usize = 3;

/// How long nothing must move before watchers are told why, in milliseconds: workers take some seconds to start.
const IDLE_TOLD_AFTER_MS: u64 = 10_000;

impl Engine {
    /// Why jobs of the sweep wait; nothing where none does, or where they are about to start.
    pub(super) fn waiting(&self, now: Now, run: &SweepRun) -> Option<v1::Waiting> {
        let (reason, text) = self.why_waiting(now, run)?;
        let idle_ms = run.idle_since_ms.map_or(0, |since| now.monotonic_ms.saturating_sub(since));
        Some(v1::Waiting { reason: reason.into(), text, idle_ms })
    }

    fn why_waiting(&self, now: Now, run: &SweepRun) -> Option<(v1::WaitReason, String)> {
        use v1::WaitReason as Why;
        if run.fresh() + run.waiting.len() as u64 == 0 {
            return None;
        }
        match run.state {
            SweepState::Paused => {
                return Some((Why::Paused, format!("paused; `sweep resume {}` has it go on", run.id)));
            }
            SweepState::Running => {}
            _ => return None,
        }
        if run.room() == 0 {
            let jobs = run.active.len();
            let text = format!(
                "{jobs} {}, as many as max_parallel allows",
                if jobs == 1 { "job runs" } else { "jobs run" }
            );
            return Some((Why::MaxParallel, text));
        }
        let all = |worker: &WorkerState| worker.session.is_some();
        let connected: BTreeMap<_, _> = self.workers.iter().filter(|(_, worker)| all(worker)).collect();
        if connected.is_empty() {
            return Some((Why::NoWorker, "no worker is connected".to_owned()));
        }
        let serving =
            left(&connected, |worker| (!worker.draining).then_some(()).ok_or_else(|| leaving(worker)));
        let serving = match serving {
            Err(reasons) => {
                return Some((Why::NoWorker, format!("every connected worker leaves: {reasons}")));
            }
            Ok(serving) => serving,
        };
        let taking = left(&serving, |worker| self.set_aside(worker).map_or(Ok(()), Err));
        let taking = match taking {
            Err(reasons) => return Some((Why::AllSetAside, format!("every worker is set aside: {reasons}"))),
            Ok(taking) => taking,
        };
        let able = left(&taking, |worker| match worker.unfit.contains(&run.id) {
            false => Ok(()),
            true => Err("it has refused this sweep".to_owned()),
        });
        let able = match able {
            Err(reasons) => {
                return Some((Why::NoneCanTrain, format!("no worker can train this sweep: {reasons}")));
            }
            Ok(able) => able,
        };
        let path = run.dataset_path();
        let reading =
            left(&able, |worker| worker.away.get(path).map_or(Ok(()), |away| Err(away.reason.clone())));
        let reading = match reading {
            Err(reasons) => {
                let text = format!("the data set is away, and tried again until it is back: {reasons}");
                return Some((Why::DataSet, text));
            }
            Ok(reading) => reading,
        };
        if reading.values().any(|worker| worker.has_room() && worker.may_read(now, run)) {
            return None;
        }
        let others = if run.active.is_empty() { " with other sweeps" } else { "" };
        Some((Why::SlotsBusy, format!("every slot is busy{others}")))
    }

    /// Notes which sweeps have jobs that wait and none that runs, and tells their watchers why once that has lasted, and
    /// again when the reason changes.
    pub(super) fn note_idle_sweeps(&mut self, now: Now, out: &mut Output) {
        let live: Vec<_> = self.live.iter().copied().collect();
        for id in live {
            let Some(run) = self.sweeps.get(&id) else { continue };
            let why = if run.active.is_empty() { self.why_waiting(now, run) } else { None };
            let Some(run) = self.sweeps.get_mut(&id) else { continue };
            let Some((_, text)) = why else {
                run.moves();
                continue;
            };
            let since = *run.idle_since_ms.get_or_insert(now.monotonic_ms);
            if now.monotonic_ms - since >= IDLE_TOLD_AFTER_MS && run.idle_told != text {
                run.idle_told = text;
                out.effects.push(Effect::Observed { sweep: id, observation: Observation::Progress });
            }
        }
    }
}

/// The workers that nothing speaks against; where there are none, what speaks against each.
fn left<'a>(
    workers: &BTreeMap<&'a WorkerName, &'a WorkerState>,
    obstacle: impl Fn(&WorkerState) -> Result<(), String>,
) -> Result<BTreeMap<&'a WorkerName, &'a WorkerState>, String> {
    let mut left = BTreeMap::new();
    let mut reasons: Vec<String> = Vec::new();
    for (name, worker) in workers {
        match obstacle(worker) {
            Ok(()) => drop(left.insert(*name, *worker)),
            Err(_) if reasons.len() > NAMED_MAX => {}
            Err(_) if reasons.len() == NAMED_MAX => reasons.push("and others".to_owned()),
            Err(reason) => reasons.push(format!("{name}: {reason}")),
        }
    }
    if left.is_empty() { Err(reasons.join("; ")) } else { Ok(left) }
}

fn leaving(worker: &WorkerState) -> String {
    if worker.leaving.is_empty() { "it takes no more jobs".to_owned() } else { worker.leaving.clone() }
}
