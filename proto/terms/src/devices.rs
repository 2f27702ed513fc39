//! What a worker's slots run on, as `--device` of `sweep-worker start` and of `sweep run` has it.

use std::{fmt, str::FromStr};

/// Most GPUs that can be named: more on one machine are a typing error.
const NAMED_MAX: usize = 1_024;

/// What slots run on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The GPUs that libtorch can use; the CPU if there is none.
    Auto,
    /// The CPU.
    Cpu,
    /// The GPUs; an error if there is none.
    Cuda,
    /// These GPUs, by their numbers. No program is asked for them: a trainer that cannot use one says so itself, and users'
    /// programs may use GPUs that libtorch cannot.
    Named(Vec<u16>),
}

/// Text that is not a choice of devices.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} is not a choice of devices: use auto, cpu, cuda, or different GPUs by number, as in cuda:0,cuda:1"
)]
pub struct DeviceChoiceError(String);

impl FromStr for DeviceChoice {
    type Err = DeviceChoiceError;

    fn from_str(text: &str) -> Result<Self, DeviceChoiceError> {
        let wrong = || DeviceChoiceError(text.to_owned());
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda),
            _ => {
                let mut numbers = Vec::new();
                for name in text.split(',') {
                    let number = name.trim().strip_prefix("cuda:").and_then(|number| number.parse().ok());
                    numbers.push(number.filter(|number| !numbers.contains(number)).ok_or_else(wrong)?);
                }
                if numbers.len() <= NAMED_MAX { Ok(Self::Named(numbers)) } else { Err(wrong()) }
            }
        }
    }
}

impl fmt::Display for DeviceChoice {
    /// As it is read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda => f.write_str("cuda"),
            Self::Named(numbers) => {
                let names: Vec<_> = numbers.iter().map(|number| format!("cuda:{number}")).collect();
                f.write_str(&names.join(","))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_as_they_are_written() {
        for text in ["auto", "cpu", "cuda", "cuda:0", "cuda:3,cuda:1"] {
            assert_eq!(text.parse::<DeviceChoice>().unwrap().to_string(), text);
        }
        for text in ["", "gpu", "cuda:", "cuda:0,cuda:0", "cuda:0,cpu", "0,1", "cuda:70000"] {
            assert!(text.parse::<DeviceChoice>().is_err(), "{text}");
        }
    }
}
