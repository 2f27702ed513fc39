//! How much there is when someone looks: jobs, sweeps, workers and slots as the engine has them, what waits for it, who reads, and who
//! leads. A coordinator that stands by has none of it, and shows zeros.

use engine::{JobCounts, Measured, SlotCounts, WorkerCounts};
use prometheus_client::{metrics::gauge::Gauge, registry::Registry};
use telemetry::process::signed;
use terms::SweepState;

use super::ByName;

/// What is seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Look {
    /// Whether it leads.
    pub(crate) leads: bool,
    /// In which term, where coordinators share a store.
    pub(crate) term: Option<i64>,
    /// What the engine says; none where it did not answer in time.
    pub(crate) measured: Option<Measured>,
    /// Requests that wait for the engine.
    pub(crate) waiting_requests: u64,
    /// The memory of the requests that wait for it or for their commit.
    pub(crate) waiting_bytes: u64,
    pub(crate) readers: Readers,
    /// When the certificate that it serves runs out, in seconds after 1970; none without TLS.
    pub(crate) certificate_expires: Option<u64>,
}

/// Who reads.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Readers {
    /// Followers of sweeps.
    pub(crate) watch: u64,
    /// Readers of reports and exports.
    pub(crate) report: u64,
    /// Readers of weights.
    pub(crate) download: u64,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    leads: Gauge,
    term: Gauge,
    answered: Gauge,
    jobs: ByName<Gauge>,
    jobs_waiting: Gauge,
    sweeps: ByName<Gauge>,
    workers: ByName<Gauge>,
    slots: ByName<Gauge>,
    weights_bytes: Gauge,
    weights_awaited: Gauge,
    waiting_requests: Gauge,
    waiting_bytes: Gauge,
    readers: ByName<Gauge>,
    certificate_expires: Gauge,
}

impl Seen {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let seen = Self::default();
        let own = seen.clone();
        let mut name = |name: &str, help: &str, gauge| registry.register(name, help, gauge);
        name("sweep_leader", "1 where this coordinator leads, 0 where it stands by", own.leads);
        name("sweep_leader_term", "The term in which it leads a shared store; 0 otherwise", own.term);
        name("sweep_engine_answered", "1 where the numbers of jobs and workers are of now", own.answered);
        name(
            "sweep_jobs_waiting",
            "Jobs that would start at once if there were slots for them, as far as max_parallel and quotas allow",
            own.jobs_waiting,
        );
        name("sweep_weights_bytes", "Bytes of trained weights that are kept", own.weights_bytes);
        name("sweep_weights_awaited", "Trained weights on their way from workers", own.weights_awaited);
        name("sweep_engine_requests_waiting", "Requests that wait for the engine", own.waiting_requests);
        name(
            "sweep_engine_requests_bytes",
            "Memory of the requests that wait for the engine or their commit",
            own.waiting_bytes,
        );
        name(
            "sweep_certificate_expires_timestamp_seconds",
            "When the certificate that is served runs out; 0 without TLS",
            own.certificate_expires,
        );
        let mut name = |name: &str, help: &str, family| registry.register(name, help, family);
        name("sweep_jobs", "Jobs of all sweeps, by state", own.jobs);
        name("sweep_sweeps", "Sweeps, by state", own.sweeps);
        name("sweep_workers", "Workers that are known, by state", own.workers);
        name("sweep_slots", "Slots of connected workers, by state", own.slots);
        name("sweep_readers", "Streams that are being read, by what", own.readers);
        seen.set(&Look::default());
        seen
    }

    /// Takes what is seen. What the engine did not say stays as it was while this coordinator leads.
    pub(super) fn set(&self, look: &Look) {
        self.leads.set(i64::from(look.leads));
        self.term.set(look.term.unwrap_or(0));
        self.answered.set(i64::from(look.measured.is_some()));
        self.waiting_requests.set(signed(look.waiting_requests));
        self.waiting_bytes.set(signed(look.waiting_bytes));
        self.certificate_expires.set(signed(look.certificate_expires.unwrap_or(0)));
        let Readers { watch, report, download } = look.readers;
        set(&self.readers, "kind", [("watch", watch), ("report", report), ("download", download)]);
        match &look.measured {
            Some(measured) => self.set_measured(measured),
            None if look.leads => {}
            None => self.set_measured(&nothing()),
        }
    }

    fn set_measured(&self, measured: &Measured) {
        set(&self.jobs, "state", measured.jobs.named());
        self.jobs_waiting.set(signed(measured.startable_jobs));
        set(&self.sweeps, "state", measured.sweeps.iter().map(|(state, count)| (state.as_str(), *count)));
        set(&self.workers, "state", measured.workers.named());
        set(&self.slots, "state", measured.slots.named());
        self.weights_bytes.set(signed(measured.weights_bytes));
        self.weights_awaited.set(signed(measured.weights_awaited));
    }
}

fn set(family: &ByName<Gauge>, label: &'static str, counts: impl IntoIterator<Item = (&'static str, u64)>) {
    for (name, count) in counts {
        family.get_or_create(&[(label, name)]).set(signed(count));
    }
}

fn nothing() -> Measured {
    Measured {
        jobs: JobCounts::default(),
        startable_jobs: 0,
        sweeps: SweepState::all().iter().map(|state| (*state, 0)).collect(),
        workers: WorkerCounts::default(),
        slots: SlotCounts::default(),
        weights_bytes: 0,
        weights_awaited: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_whose_engine_is_late_shows_what_it_last_said_and_a_standby_shows_nothing() {
        let mut registry = Registry::default();
        let seen = Seen::register(&mut registry);
        let jobs = JobCounts { pending: 3, running: 1, ..JobCounts::default() };
        let measured = Some(Measured { jobs, startable_jobs: 2, ..nothing() });
        let leads = Look { leads: true, term: Some(7), measured, ..Look::default() };
        let shown = |look: &Look, line: &str| {
            seen.set(look);
            let text = telemetry::encode(&registry);
            assert!(text.lines().any(|one| one == line), "{line} is not in\n{text}");
        };
        shown(&leads, "sweep_jobs{state=\"pending\"} 3");
        shown(&leads, "sweep_jobs_waiting 2");
        shown(&leads, "sweep_leader_term 7");
        let late = Look { measured: None, certificate_expires: Some(9), ..leads };
        shown(&late, "sweep_certificate_expires_timestamp_seconds 9");
        shown(&late, "sweep_jobs{state=\"pending\"} 3");
        shown(&late, "sweep_engine_answered 0");
        shown(&Look::default(), "sweep_jobs{state=\"pending\"} 0");
        shown(&Look::default(), "sweep_sweeps{state=\"running\"} 0");
        shown(&Look::default(), "sweep_leader 0");
    }
}
