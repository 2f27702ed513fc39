//! Why jobs wait, by the rules that `schedule` follows, so that no one has to guess why nothing runs.

use std::collections::BTreeMap;

use terms::{
    SweepId, SweepState, WorkerName,
    manifest::{Described, ManifestHash},
};

use super::{
    Effect, Engine, Now, Observation, Output, WaitReason, Waiting, resources::short_of_gpus,
    sweep_run::SweepRun, turns::LeftFor, workers::WorkerState,
};

/// Workers whose reasons are named; more would fill the screen.
const NAMED_MAX: usize = 3;

/// How long no job must run before watchers hear why, in milliseconds: workers take some seconds to start.
const IDLE_TOLD_AFTER_MS: u64 = 10_000;

/// The workers as all sweeps see them, examined once for all: at each tick, thousands of sweeps may wait for hundreds
/// of workers.
struct Crowd<'a> {
    /// Why no worker takes jobs of any sweep, where that is so.
    none_serves: Option<String>,
    /// Whether some worker is available to every sweep, and whether one of them has a free slot that is kept for none.
    plain: bool,
    plain_has_free_slots: bool,
    /// How many slots the jobs of each owner hold, and what is left of the quotas for earlier sweeps.
    held: Vec<u64>,
    left: BTreeMap<SweepId, LeftFor>,
    /// The other available workers: sweeps may differ about them.
    marked: Vec<(&'a WorkerName, &'a WorkerState)>,
}

impl Crowd<'_> {
    /// Whose quota leaves no room for a job of the sweep.
    fn lacks_quota(&self, engine: &Engine, run: &SweepRun) -> Option<String> {
        engine.lacks_quota(run, &self.held, self.left.get(&run.id()))
    }
}

impl Engine {
    /// Why jobs of the sweep wait; nothing where none does, or where they are about to start.
    pub(super) fn waiting(&self, now: Now, run: &SweepRun) -> Option<Waiting> {
        let crowd = self.crowd(now);
        let reason = self.why_waiting(&crowd, run)?;
        let text = self.why_in_words(&crowd, run, reason);
        let since = run.idle_since().unwrap_or(now);
        let idle_ms = now.monotonic_ms.saturating_sub(since.monotonic_ms);
        let since_unix_ms = run.idle_since().map(|since| since.unix_ms);
        Some(Waiting { reason, text, idle_ms, since_unix_ms })
    }

    fn crowd(&self, now: Now) -> Crowd<'_> {
        let connected: Vec<_> =
            self.workers.iter().filter(|(_, worker)| worker.session().is_some()).collect();
        let serving: Vec<_> = connected.iter().copied().filter(|(_, worker)| !worker.is_draining()).collect();
        let none_serves = match (connected.is_empty(), serving.is_empty()) {
            (true, _) => Some("no worker is connected".to_owned()),
            (_, true) => Some(format!("every connected worker is leaving: {}", named(&connected, leaving))),
            _ => None,
        };
        // A sweep of each kind stands for the others.
        let mut kinds: BTreeMap<(Option<ManifestHash>, u32), &SweepRun> = BTreeMap::new();
        for run in self.sweeps.running() {
            kinds.entry((run.model().map(Described::hash), run.gpus())).or_insert(run);
        }
        let (marked, plain): (Vec<_>, Vec<_>) = serving.into_iter().partition(|(_, worker)| {
            looks_at_a_worker();
            let is_unfit = || worker.refused_sweeps().any(|sweep| self.sweeps.is_running(sweep));
            let lacks_some = || kinds.values().any(|run| !worker.can_run(run));
            worker.is_suspect() || !worker.away().is_empty() || is_unfit() || lacks_some()
        });
        let plain_has_free_slots =
            plain.iter().any(|(name, worker)| self.kept.leaves_free_slot(name, worker));
        let (held, left) = (self.slots_held(), self.left_of_quotas(now));
        Crowd { none_serves, plain: !plain.is_empty(), plain_has_free_slots, held, left, marked }
    }

    fn why_waiting(&self, crowd: &Crowd<'_>, run: &SweepRun) -> Option<WaitReason> {
        use WaitReason as Why;
        if run.open_jobs() == 0 {
            return None;
        }
        match run.state() {
            SweepState::Paused => return Some(Why::Paused),
            SweepState::Running => {}
            _ => return None,
        }
        if run.startable_jobs() == 0 {
            return Some(Why::NoPoint);
        }
        if run.room() == 0 {
            return Some(Why::MaxParallel);
        }
        if crowd.lacks_quota(self, run).is_some() {
            return Some(Why::Quota);
        }
        if crowd.none_serves.is_some() {
            return Some(Why::NoWorker);
        }
        if let Some((why, _)) = self.lacks_slots(run) {
            return Some(why);
        }
        if crowd.plain_has_free_slots {
            return None;
        }
        let mut farthest = crowd.plain.then_some(Why::SlotsBusy);
        let rank = |why: Why| {
            [Why::AllQuarantined, Why::NoneCanTrain, Why::DataSet, Why::SlotsBusy]
                .iter()
                .position(|one| *one == why)
        };
        let others = !crowd.marked.is_empty() && self.others_take_jobs(run.id());
        for (name, worker) in &crowd.marked {
            let has_free_slot = self.kept.leaves_free_slot(name, worker);
            // One busy worker adds nothing to another.
            if farthest == Some(Why::SlotsBusy) && !has_free_slot {
                continue;
            }
            let why = match obstacle(worker, run, others) {
                None if has_free_slot => return None,
                None => Why::SlotsBusy,
                Some(why) => why,
            };
            if farthest.is_none_or(|farthest| rank(farthest) < rank(why)) {
                farthest = Some(why);
            }
        }
        farthest
    }

    fn why_in_words(&self, crowd: &Crowd<'_>, run: &SweepRun, reason: WaitReason) -> String {
        use WaitReason as Why;
        let of_those = |why: &dyn Fn(&WorkerState) -> String| {
            let others = self.others_take_jobs(run.id());
            let those = crowd.marked.iter().copied();
            let those = those.filter(|(_, worker)| obstacle(worker, run, others) == Some(reason));
            named(&those.collect::<Vec<_>>(), why)
        };
        if let Some((_, text)) = self.lacks_slots(run).filter(|(why, _)| *why == reason) {
            return text;
        }
        match reason {
            Why::Paused => format!("paused; `sweep resume {}` continues it", run.id()),
            Why::MaxParallel if run.running_jobs() == 1 => {
                "1 job runs, which is all that max_parallel allows".to_owned()
            }
            Why::MaxParallel => {
                format!("{} jobs run, which is all that max_parallel allows", run.running_jobs())
            }
            Why::Quota => crowd.lacks_quota(self, run).unwrap_or_default(),
            Why::NoWorker => crowd.none_serves.clone().unwrap_or_default(),
            Why::AllQuarantined => {
                let why = of_those(&|worker| self.quarantine(worker).unwrap_or_default());
                format!("every worker is quarantined: {why}")
            }
            Why::NoneCanTrain => {
                let have = crowd
                    .marked
                    .iter()
                    .any(|(_, worker)| worker.can_run(run) || only_cannot_pause(worker, run));
                let why = of_those(&|worker| match worker.can_run(run) {
                    true => "it has refused this sweep".to_owned(),
                    false => lacks(worker, run),
                });
                match run.model().filter(|_| !have) {
                    Some(model) => {
                        format!(
                            "no connected worker has the model {}, version {}: {why}",
                            model.name, model.version
                        )
                    }
                    None => format!("no worker can train this sweep: {why}"),
                }
            }
            Why::DataSet => {
                let reason = |worker: &WorkerState| {
                    worker.away().get(run.dataset_path()).map(|away| away.reason.clone()).unwrap_or_default()
                };
                format!("the data set is not available; workers try again until it is: {}", of_those(&reason))
            }
            Why::NoPoint => format!(
                "{} for points of the searcher outside, which `sweep search {}` connects",
                match run.jobs_without_point() {
                    1 => "1 job waits".to_owned(),
                    jobs => format!("{jobs} jobs wait"),
                },
                run.id()
            ),
            Why::SlotsBusy => self.kept_from(run).unwrap_or_else(|| busy(crowd, run)),
        }
    }

    /// That free slots are kept for another sweep, where they are.
    fn kept_from(&self, run: &SweepRun) -> Option<String> {
        let earlier = self.sweeps.get(self.kept_for_another(run.id())?)?;
        let (sweep, gpus) = (earlier.id(), earlier.gpus());
        Some(format!(
            "the slots that are free are kept for sweep {sweep}, whose next job takes {gpus} GPUs at once"
        ))
    }

    /// Finds sweeps with jobs that wait and none that runs, and tells their watchers why once that has lasted, and
    /// again when the reason changes.
    pub(super) fn note_idle_sweeps(&mut self, now: Now, out: &mut Output) {
        let crowd = self.crowd(now);
        let idle = |run: &&SweepRun| run.running_jobs() == 0;
        let waiting: Vec<_> = self
            .sweeps
            .running()
            .map(|run| {
                let reason = Some(run).filter(idle).and_then(|run| self.why_waiting(&crowd, run));
                let since = run.idle_since().unwrap_or(now);
                // Formatting the reason costs more than noticing it.
                let is_due = now.monotonic_ms.saturating_sub(since.monotonic_ms) >= IDLE_TOLD_AFTER_MS;
                let text = reason.filter(|_| is_due).map(|reason| self.why_in_words(&crowd, run, reason));
                (run.id(), reason.map(|_| since), text)
            })
            .collect();
        for (id, since, text) in waiting {
            let Some(run) = self.sweeps.get_mut(id) else { continue };
            run.idle(since);
            if text.is_some_and(|text| run.tell_idle(text)) {
                out.effects.push(Effect::Observed { sweep: id, observation: Observation::Progress });
            }
        }
    }
}

/// What prevents an available worker from running the sweep; `others` says whether there are workers that are not
/// suspect.
fn obstacle(worker: &WorkerState, run: &SweepRun, others: bool) -> Option<WaitReason> {
    looks_at_a_worker();
    if !worker.can_run(run) {
        return Some(WaitReason::NoneCanTrain);
    }
    if worker.is_to_be_quarantined(|| others) {
        return Some(WaitReason::AllQuarantined);
    }
    if worker.has_refused_sweep(run.id()) {
        return Some(WaitReason::NoneCanTrain);
    }
    worker.away().contains_key(run.dataset_path()).then_some(WaitReason::DataSet)
}

/// That every slot is busy; and of free ones that look as if they only had to be used, why they are not.
fn busy(crowd: &Crowd<'_>, run: &SweepRun) -> String {
    let busy = match run.running_jobs() {
        0 => "every slot is busy with other sweeps",
        _ => "every slot is busy",
    };
    let lacking = crowd.marked.iter().copied();
    let lacking = lacking.filter(|(_, worker)| worker.has_free_slot() && lacks_some_of(worker, run));
    match lacking.collect::<Vec<_>>() {
        none if none.is_empty() => busy.to_owned(),
        lacking => {
            let why = named(&lacking, |worker| lacks(worker, run));
            format!("{busy} of the workers that can train this sweep: {why}")
        }
    }
}

/// Whether a worker has a sweep's model by name and version, and not all that the sweep's description has.
fn lacks_some_of(worker: &WorkerState, run: &SweepRun) -> bool {
    let is_of_name = |model: &Described| {
        worker.models().iter().any(|own| own.name == model.name && own.version == model.version)
    };
    !worker.can_run(run) && run.model().is_some_and(is_of_name)
}

/// Whether a worker has all that a sweep's jobs need, and is only too old to pause them.
fn only_cannot_pause(worker: &WorkerState, run: &SweepRun) -> bool {
    worker.knows(run) && !worker.can_pause(run)
}

/// Why a worker cannot run what a sweep is about.
fn lacks(worker: &WorkerState, run: &SweepRun) -> String {
    if only_cannot_pause(worker, run) {
        return "it cannot pause jobs, which early stopping asks for; update it".to_owned();
    }
    if let Some(text) = short_of_gpus(worker, run).filter(|_| worker.knows(run)) {
        return text;
    }
    let Some(model) = run.model() else {
        return "it runs no programs, which it would with `sweep-worker start --allow-commands`".to_owned();
    };
    let own: Vec<String> =
        worker.models().iter().map(|own| format!("{} {}", own.name, own.version)).collect();
    match lacks_some_of(worker, run) {
        true => format!("its {} lacks what the sweep's has; update its trainer", model.name),
        false if own.is_empty() => "it trains no models".to_owned(),
        false => format!("it has {}", own.join(", ")),
    }
}

/// What to say about each of these workers; of many, only about the first.
fn named(workers: &[(&WorkerName, &WorkerState)], why: impl Fn(&WorkerState) -> String) -> String {
    let named = workers.iter().take(NAMED_MAX).map(|(name, worker)| format!("{name}: {}", why(worker)));
    let more = (workers.len() > NAMED_MAX).then(|| "and others".to_owned());
    named.chain(more).collect::<Vec<_>>().join("; ")
}

fn leaving(worker: &WorkerState) -> String {
    if worker.leaving().is_empty() { "it takes no more jobs".to_owned() } else { worker.leaving().to_owned() }
}

#[cfg(test)]
thread_local! {
    /// How many workers were examined, so that tests see what a tick costs.
    pub(super) static LOOKED_AT: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

fn looks_at_a_worker() {
    #[cfg(test)]
    LOOKED_AT.set(LOOKED_AT.get() + 1);
}
