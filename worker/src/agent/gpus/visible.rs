//! Which GPU of the machine is `cuda:N` here: CUDA numbers those that it may use, in its own order.

use std::env;

/// A GPU as NVIDIA's library finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// By its number on the bus.
    Number(u32),
    /// By its identity, or the beginning of it.
    Identity(String),
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
    pub(super) fn from_environment() -> Self {
        Self {
            devices: env::var("CUDA_VISIBLE_DEVICES").ok(),
            is_by_bus: env::var("CUDA_DEVICE_ORDER").is_ok_and(|order| order == "PCI_BUS_ID"),
        }
    }

    /// Where the GPU is that is `cuda:N` here. `alike` says whether all of the machine are of one kind, so that CUDA has them in
    /// the order of the bus.
    ///
    /// # Errors
    /// That it cannot be known, for people.
    pub(super) fn place(&self, device: &str, alike: bool) -> Result<Place, String> {
        let number = device.strip_prefix("cuda:").and_then(|number| number.parse::<u32>().ok());
        let number = number.ok_or_else(|| format!("{device} has no number"))?;
        let Some(devices) = &self.devices else { return self.numbered(number, alike) };
        let named = devices.split(',').map(str::trim).nth(number as usize).filter(|name| !name.is_empty());
        let named = named.ok_or_else(|| format!("CUDA_VISIBLE_DEVICES is {devices}"))?;
        if named.starts_with("GPU-") {
            return Ok(Place::Identity(named.to_owned()));
        }
        match named.parse() {
            Ok(number) => self.numbered(number, alike),
            Err(_) => Err(format!("{named} is a part of a GPU, whose use the driver does not say")),
        }
    }

    fn numbered(&self, number: u32, alike: bool) -> Result<Place, String> {
        if alike || self.is_by_bus {
            return Ok(Place::Number(number));
        }
        Err("the machine's GPUs are of several kinds, which CUDA numbers by their speed; with CUDA_DEVICE_ORDER=PCI_BUS_ID it is \
             known which is which"
            .to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visible(devices: Option<&str>, is_by_bus: bool) -> Visible {
        Visible { devices: devices.map(str::to_owned), is_by_bus }
    }

    #[test]
    fn a_device_is_found_by_what_cuda_may_see() {
        let all = visible(None, false);
        assert_eq!(all.place("cuda:3", true), Ok(Place::Number(3)));
        let some = visible(Some("5, 2"), false);
        assert_eq!(some.place("cuda:1", true), Ok(Place::Number(2)));
        assert!(some.place("cuda:2", true).unwrap_err().contains("CUDA_VISIBLE_DEVICES is 5, 2"));
        let named = visible(Some("GPU-5f1c,MIG-77"), false);
        assert_eq!(named.place("cuda:0", false), Ok(Place::Identity("GPU-5f1c".into())));
        assert!(named.place("cuda:1", true).unwrap_err().contains("part of a GPU"));
        for device in ["cpu", "cuda", "cuda:x"] {
            assert!(all.place(device, true).is_err(), "{device}");
        }
    }

    #[test]
    fn among_gpus_of_several_kinds_a_number_alone_says_nothing() {
        assert!(visible(None, false).place("cuda:0", false).unwrap_err().contains("CUDA_DEVICE_ORDER"));
        assert_eq!(visible(None, true).place("cuda:0", false), Ok(Place::Number(0)));
    }
}
