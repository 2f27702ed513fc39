//! Which GPU of the machine is `cuda:N` here: CUDA numbers those that it may use, in its own order.

use std::{collections::BTreeSet, env};

/// A GPU as NVIDIA's library finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// By its number on the bus.
    Number(u32),
    /// By its identity, or the beginning of it.
    Identity(String),
}

/// What the numbers of the machine's GPUs say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Numbers {
    /// Whether all are of one kind, so that CUDA has them in the order of the bus.
    alike: bool,
    /// How many of the first ones can be asked. CUDA may leave out one that cannot, and gives its number to the next.
    certain: u32,
}

impl Numbers {
    /// By the names of all of them, in the order of the bus; none where a GPU cannot be asked.
    pub(super) fn of(names: impl Iterator<Item = Option<String>>) -> Self {
        let names: Vec<_> = names.collect();
        let known: BTreeSet<&String> = names.iter().flatten().collect();
        let unknown = names.iter().position(Option::is_none).and_then(|place| u32::try_from(place).ok());
        Self { alike: known.len() <= 1, certain: unknown.unwrap_or(u32::MAX) }
    }
}

/// What the environment says of GPUs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Visible {
    /// `CUDA_VISIBLE_DEVICES`; none where all are visible.
    devices: Option<String>,
    /// Whether CUDA numbers them as they are on the bus, and not the fastest first.
    is_by_bus: bool,
}

impl Visible {
    /// Those that `CUDA_VISIBLE_DEVICES` would name.
    #[cfg(test)]
    pub(super) fn of(devices: &str) -> Self {
        Self { devices: Some(devices.to_owned()), is_by_bus: false }
    }

    pub(super) fn from_environment() -> Self {
        Self {
            devices: env::var("CUDA_VISIBLE_DEVICES").ok(),
            is_by_bus: env::var("CUDA_DEVICE_ORDER").is_ok_and(|order| order == "PCI_BUS_ID"),
        }
    }

    /// Where the GPU is that is `cuda:N` here.
    ///
    /// # Errors
    /// That it cannot be known, for people.
    pub(super) fn place(&self, device: &str, numbers: &Numbers) -> Result<Place, String> {
        let number = device.strip_prefix("cuda:").and_then(|number| number.parse::<u32>().ok());
        let number = number.ok_or_else(|| format!("{device} has no number"))?;
        let Some(devices) = &self.devices else { return self.numbered(number, numbers) };
        // CUDA hides all from the first on that names none, such as -1 or NoDevFiles.
        let mut named = devices.split(',').map(str::trim).take_while(|name| is_gpu(name));
        let named = named.nth(number as usize);
        let named =
            named.ok_or_else(|| format!("CUDA_VISIBLE_DEVICES is {devices:?}, which does not show it"))?;
        if named.starts_with("GPU-") {
            return Ok(Place::Identity(named.to_owned()));
        }
        match named.parse() {
            Ok(number) => self.numbered(number, numbers),
            Err(_) => Err(format!("{named} is a part of a GPU, whose use the driver does not say")),
        }
    }

    fn numbered(&self, number: u32, numbers: &Numbers) -> Result<Place, String> {
        if number >= numbers.certain {
            return Err(format!(
                "GPU {} of the machine does not answer, so that it is not known how CUDA numbers it and those after it",
                numbers.certain
            ));
        }
        if numbers.alike || self.is_by_bus {
            return Ok(Place::Number(number));
        }
        Err("the machine's GPUs are of several kinds, which CUDA numbers by their speed; with CUDA_DEVICE_ORDER=PCI_BUS_ID it is \
             known which is which"
            .to_owned())
    }
}

/// Whether an entry of `CUDA_VISIBLE_DEVICES` names a GPU, or a part of one.
fn is_gpu(name: &str) -> bool {
    name.starts_with("GPU-") || name.starts_with("MIG-") || name.parse::<u32>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALIKE: &Numbers = &Numbers { alike: true, certain: u32::MAX };
    const OF_SEVERAL_KINDS: &Numbers = &Numbers { alike: false, certain: u32::MAX };

    fn visible(devices: Option<&str>, is_by_bus: bool) -> Visible {
        Visible { devices: devices.map(str::to_owned), is_by_bus }
    }

    #[test]
    fn a_device_is_found_by_what_cuda_may_see() {
        let all = visible(None, false);
        assert_eq!(all.place("cuda:3", ALIKE), Ok(Place::Number(3)));
        let some = visible(Some("5, 2"), false);
        assert_eq!(some.place("cuda:1", ALIKE), Ok(Place::Number(2)));
        assert!(some.place("cuda:2", ALIKE).unwrap_err().contains("CUDA_VISIBLE_DEVICES is \"5, 2\""));
        let named = visible(Some("GPU-5f1c,MIG-77"), false);
        assert_eq!(named.place("cuda:0", OF_SEVERAL_KINDS), Ok(Place::Identity("GPU-5f1c".into())));
        assert!(named.place("cuda:1", ALIKE).unwrap_err().contains("part of a GPU"));
        for device in ["cpu", "cuda", "cuda:x"] {
            assert!(all.place(device, ALIKE).is_err(), "{device}");
        }
    }

    #[test]
    fn what_names_no_gpu_hides_it_and_all_that_follow() {
        for hidden in ["", "-1", "NoDevFiles", "-1,0", "x"] {
            let said = visible(Some(hidden), true).place("cuda:0", ALIKE).unwrap_err();
            assert!(said.contains("does not show it"), "{said}");
        }
        let first = visible(Some("1,-1,2"), true);
        assert_eq!(first.place("cuda:0", ALIKE), Ok(Place::Number(1)));
        assert!(first.place("cuda:1", ALIKE).is_err() && first.place("cuda:2", ALIKE).is_err());
    }

    #[test]
    fn a_gpu_that_cannot_be_asked_takes_the_numbers_after_it_along_and_none_before() {
        let name = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        let numbers = |names: &[&str]| Numbers::of(names.iter().map(|one| name(one)));
        assert_eq!((numbers(&["a", "a"]), numbers(&["a", "b"])), (*ALIKE, *OF_SEVERAL_KINDS));
        let lost = numbers(&["a", "a", "", "a"]);
        let all = visible(None, false);
        assert_eq!(all.place("cuda:1", &lost), Ok(Place::Number(1)));
        for device in ["cuda:2", "cuda:3"] {
            assert!(all.place(device, &lost).unwrap_err().contains("GPU 2 of the machine does not answer"));
        }
        let named = visible(Some("GPU-5f1c"), false);
        assert_eq!(named.place("cuda:0", &lost), Ok(Place::Identity("GPU-5f1c".into())));
    }

    #[test]
    fn among_gpus_of_several_kinds_a_number_alone_says_nothing() {
        assert!(
            visible(None, false).place("cuda:0", OF_SEVERAL_KINDS).unwrap_err().contains("CUDA_DEVICE_ORDER")
        );
        assert_eq!(visible(None, true).place("cuda:0", OF_SEVERAL_KINDS), Ok(Place::Number(0)));
    }
}
