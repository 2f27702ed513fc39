//! The coordinator's numbers for Prometheus. What passes the driver is counted there (`counted`); how much there is now is
//! asked when someone looks (`seen`). The engine knows nothing of either.
//!
//! No label has a job, a sweep, a worker or a text of users: each label's values are the names of an enum, so that there are as many
//! series however much is trained. `deploy/monitoring/README.md` has the table of them all, and a test compares.

mod counted;
mod seen;

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use telemetry::process::Process;
use traces::Traces;

pub use self::counted::Counted;
use self::seen::Seen;
pub(crate) use self::seen::{Look, Readers};

/// Series that differ in one label, whose values are names.
type ByName<M> = Family<[(&'static str, &'static str); 1], M>;

/// All numbers of a coordinator.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    counted: Counted,
    seen: Seen,
    process: Process,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let info = ByName::<Gauge>::default();
        info.get_or_create(&[("version", env!("CARGO_PKG_VERSION"))]).set(1);
        registry.register("sweep_build_info", "The version of this coordinator; always 1", info);
        let (counted, seen) = (Counted::register(&mut registry), Seen::register(&mut registry));
        let process = Process::register(&mut registry);
        Self { registry, counted, seen, process }
    }
}

impl Metrics {
    /// With those of what these send.
    pub(crate) fn with(traces: &Traces) -> Self {
        let mut metrics = Self::default();
        traces.register(&mut metrics.registry, "sweep_trace_spans");
        metrics
    }

    /// What a driver counts with.
    pub fn counted(&self) -> Counted {
        self.counted.clone()
    }

    /// All of them as text, with what is seen now.
    pub(crate) fn encode(&self, look: &Look) -> String {
        self.seen.set(look);
        self.process.look();
        telemetry::encode(&self.registry)
    }
}

/// A counter for each of these names, in their order; they exist from the start, so that a rate sees the first event.
fn counters<const N: usize>(
    family: &ByName<Counter>,
    label: &'static str,
    names: [&'static str; N],
) -> [Counter; N] {
    names.map(|name| family.get_or_create_owned(&[(label, name)]))
}
