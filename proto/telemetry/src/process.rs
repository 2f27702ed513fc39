//! What the system says of this process, under the names that Prometheus' own clients use: processor time, memory and
//! descriptors. Looked up when it is asked for; what the system does not say is left at its last value.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

/// A gauge of fractions.
pub type Fraction = Gauge<f64, AtomicU64>;

/// The numbers of a process.
#[derive(Debug, Clone, Default)]
pub struct Process {
    cpu_seconds: Counter<f64, AtomicU64>,
    resident_bytes: Gauge,
    open_descriptors: Gauge,
    descriptors_max: Gauge,
}

impl Process {
    /// Registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let process = Self::default();
        let Self { cpu_seconds, resident_bytes, open_descriptors, descriptors_max } = process.clone();
        registry.register("process_cpu_seconds", "Processor time that this process has used", cpu_seconds);
        registry.register("process_resident_memory_bytes", "Memory that it occupies", resident_bytes);
        registry.register("process_open_fds", "Files and connections that it has open", open_descriptors);
        registry.register("process_max_fds", "How many it may have open", descriptors_max);
        process
    }

    /// Asks the system.
    pub fn look(&self) {
        let seconds = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        #[allow(clippy::cast_precision_loss)] // Nanoseconds and seconds of one process.
        let seconds = seconds.tv_sec as f64 + seconds.tv_nsec as f64 / 1e9;
        self.cpu_seconds.inc_by((seconds - self.cpu_seconds.get()).max(0.0));
        if let Some(pages) = resident_pages() {
            self.resident_bytes.set(signed(pages.saturating_mul(rustix::param::page_size() as u64)));
        }
        if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
            // Without the one by which they are listed.
            self.open_descriptors.set(signed((open.count() as u64).saturating_sub(1)));
        }
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        self.descriptors_max.set(limit.map_or(-1, signed));
    }
}

/// The second number of `/proc/self/statm`.
fn resident_pages() -> Option<u64> {
    std::fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse().ok()
}

/// A count as a gauge takes it.
pub fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_sees_its_time_its_memory_and_its_descriptors() {
        let mut registry = Registry::default();
        let process = Process::register(&mut registry);
        process.look();
        let (seconds, open) = (process.cpu_seconds.get(), process.open_descriptors.get());
        assert!(process.resident_bytes.get() > 100_000 && open >= 3 && process.descriptors_max.get() > open);
        process.look();
        assert!(process.cpu_seconds.get() >= seconds);
        let text = crate::encode(&registry);
        assert!(text.contains("process_cpu_seconds_total ") && text.ends_with("# EOF\n"), "{text}");
    }
}
