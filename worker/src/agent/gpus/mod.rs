//! What the GPUs of this worker's slots do: looked at every few seconds by a thread of its own, as a driver may take its time, and
//! told with the next heartbeat. Only for people: nothing is decided by it, and where it cannot be known nothing else changes.

mod nvml;
mod visible;

use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};

use proto::v1;
use terms::GpuUse;
use tokio::sync::watch;

use self::{nvml::Nvidia, visible::Visible};

/// How often to look: as often as people see a change.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long what was seen is told: a driver that does not answer is not known to do the same still.
const TOLD_FOR: Duration = Duration::from_secs(20);

/// What can say what a GPU does.
pub(crate) trait Driver: Send + 'static {
    /// What the GPU does that is `device` here, such as `cuda:0`.
    ///
    /// # Errors
    /// Why it cannot be said, for people.
    fn look(&mut self, device: &str) -> Result<GpuUse, String>;
}

/// The last look. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Gpus(watch::Receiver<Seen>);

#[derive(Debug, Clone, Default)]
struct Seen {
    at: Option<Instant>,
    gpus: Vec<GpuUse>,
}

impl Gpus {
    /// Begins to look at the GPUs among the devices of these slots, by NVIDIA's library. Without GPUs nothing is looked for.
    pub(crate) fn of(slots: &[v1::Slot]) -> Self {
        let visible = Visible::from_environment();
        Self::watched(slots, LOOK_EVERY, move || Nvidia::open(visible))
    }

    /// Of a worker that has none.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self(watch::channel(Seen::default()).1)
    }

    /// Looks at them every so often by what `open` returns, until no one asks any more.
    pub(crate) fn watched<D: Driver>(
        slots: &[v1::Slot],
        every: Duration,
        open: impl FnOnce() -> Result<D, String> + Send + 'static,
    ) -> Self {
        let (seen, receiver) = watch::channel(Seen::default());
        let devices: BTreeSet<String> = slots
            .iter()
            .filter(|slot| slot.device.starts_with("cuda"))
            .map(|slot| slot.device.clone())
            .collect();
        if !devices.is_empty() {
            let look = move || match open() {
                Ok(driver) => keep_looking(driver, &devices, every, &seen),
                Err(reason) => tracing::info!("the use of GPUs is not shown: {reason}"),
            };
            if let Err(error) = thread::Builder::new().name("gpus".to_owned()).spawn(look) {
                tracing::info!("the use of GPUs is not shown: {error}");
            }
        }
        Self(receiver)
    }

    /// What they do; none where that is not known any more.
    pub(crate) fn seen(&self) -> Vec<GpuUse> {
        let seen = self.0.borrow();
        match seen.at {
            Some(at) if at.elapsed() < TOLD_FOR => seen.gpus.clone(),
            _ => Vec::new(),
        }
    }

    /// Waits for the next look.
    #[cfg(test)]
    pub(crate) async fn looked(&mut self) {
        self.0.changed().await.expect("it goes on");
    }
}

fn keep_looking(
    mut driver: impl Driver,
    devices: &BTreeSet<String>,
    every: Duration,
    seen: &watch::Sender<Seen>,
) {
    let mut told = BTreeSet::new();
    while !seen.is_closed() {
        let mut gpus = Vec::with_capacity(devices.len());
        for device in devices {
            match driver.look(device) {
                Ok(gpu) => gpus.push(gpu),
                // Once: it would be the same every few seconds.
                Err(reason) if told.insert(device.clone()) => {
                    tracing::info!("the use of {device} is not shown: {reason}");
                }
                Err(_) => {}
            }
        }
        seen.send_replace(Seen { at: Some(Instant::now()), gpus });
        thread::sleep(every);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// GPUs that use one byte more at every look, and one of which cannot be asked.
    #[derive(Debug, Default)]
    pub(crate) struct Pretended(u64);

    impl Driver for Pretended {
        fn look(&mut self, device: &str) -> Result<GpuUse, String> {
            if device == "cuda:9" {
                return Err("it has fallen off the bus".to_owned());
            }
            self.0 += 1;
            Ok(GpuUse {
                device: device.to_owned(),
                name: "H200".to_owned(),
                utilization_percent: Some(87),
                memory_used_bytes: self.0,
                memory_total_bytes: 139 << 30,
            })
        }
    }

    pub(crate) fn slots(devices: &[&str]) -> Vec<v1::Slot> {
        let slot = |(index, device): (u32, &&str)| v1::Slot {
            index,
            device: (*device).to_owned(),
            ..v1::Slot::default()
        };
        (0..).zip(devices).map(slot).collect()
    }

    #[tokio::test]
    async fn each_gpu_is_looked_at_again_and_again_and_one_that_cannot_be_asked_is_left_out() {
        let slots = slots(&["cuda:0", "cuda:0", "cuda:9"]);
        let mut gpus = Gpus::watched(&slots, Duration::from_millis(1), || Ok(Pretended::default()));
        gpus.looked().await;
        let first = gpus.seen();
        assert_eq!((first.len(), first[0].device.as_str()), (1, "cuda:0"), "once, whichever slots share it");
        gpus.looked().await;
        assert!(gpus.seen()[0].memory_used_bytes > first[0].memory_used_bytes);
    }

    #[tokio::test]
    async fn nothing_is_looked_for_without_gpus_and_nothing_told_without_a_driver() {
        let cpu = Gpus::watched(&slots(&["cpu"]), LOOK_EVERY, || -> Result<Pretended, String> {
            panic!("it is not asked for")
        });
        assert_eq!(cpu.seen(), []);
        let mut without =
            Gpus::watched(&slots(&["cuda:0"]), LOOK_EVERY, || Err::<Pretended, _>("away".into()));
        // Its thread has ended.
        assert!(without.0.changed().await.is_err());
        assert_eq!(without.seen(), []);
    }
}
