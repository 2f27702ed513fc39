//! The device to train on, chosen from what the user asked for and what the machine has.

use std::{path::Path, str::FromStr};

use tch::{Cuda, Device, Kind, TchError, Tensor};

use super::{ffi, torch_errors::first_line};

/// What the user asked for: `auto`, `cpu`, `cuda` or `cuda:N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first CUDA device if there is one, else the CPU.
    Auto,
    Cpu,
    /// The CUDA device with this index, among those in `CUDA_VISIBLE_DEVICES`.
    Cuda(usize),
}

/// Why there is no such device.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// Not a device's name.
    #[error("device \"{found}\" is not known; use auto, cpu, cuda or cuda:N")]
    Name {
        /// What was asked for.
        found: String,
    },
    /// CUDA cannot be used.
    #[error("device cuda:{index} was asked for, but {reason}; use --device cpu, or {CUDA_HELP}")]
    NoCuda {
        index: usize,
        /// Why it cannot.
        reason: String,
    },
    /// The device exists, but does not compute.
    #[error("{device} cannot be used: {reason}; see what else runs on it, or use --device cpu")]
    Unusable {
        /// As libtorch names it.
        device: String,
        /// What libtorch says.
        reason: String,
    },
    #[error("libtorch could not be set up: {0}")]
    Torch(#[from] TchError),
}

const CUDA_HELP: &str = "let LD_LIBRARY_PATH name the torch/lib folder of a PyTorch 2.11.0 with CUDA";

impl FromStr for DeviceChoice {
    type Err = DeviceError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let unknown = || DeviceError::Name { found: name.to_owned() };
        match name {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => {
                let index = name.strip_prefix("cuda:").ok_or_else(unknown)?;
                // `parse` alone would accept "+1".
                let digits = index.bytes().all(|byte| byte.is_ascii_digit());
                index.parse().ok().filter(|_| digits).map(Self::Cuda).ok_or_else(unknown)
            }
        }
    }
}

/// A GPU and its product name.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct DeviceDescription {
    /// As libtorch names it: `cuda:0`.
    pub device: String,
    /// The vendor's name of the chip.
    pub description: String,
}

/// Opens a device and makes libtorch's kernels deterministic. Must come before every other use of libtorch in this
/// process, because libtorch looks for CUDA once.
///
/// # Errors
/// A CUDA device that does not exist, or cannot compute because of a fault or other programs.
pub fn open(choice: DeviceChoice) -> Result<Device, DeviceError> {
    let device = match choice {
        // Without loading CUDA, which takes seconds and hundreds of megabytes.
        DeviceChoice::Cpu => Device::Cpu,
        DeviceChoice::Auto => match cuda_devices() {
            Ok(count) if count > 0 => Device::Cuda(0),
            Ok(_) => Device::Cpu,
            Err(reason) => {
                warn_of_idle_gpu(&reason);
                Device::Cpu
            }
        },
        DeviceChoice::Cuda(index) => match cuda_devices() {
            Ok(count) if index < count => Device::Cuda(index),
            Ok(count) => {
                return Err(DeviceError::NoCuda {
                    index,
                    reason: format!("libtorch sees {count} CUDA devices"),
                });
            }
            Err(reason) => return Err(DeviceError::NoCuda { index, reason }),
        },
    };
    ffi::set_deterministic()?;
    if device.is_cuda() {
        try_out(device)?;
    }
    Ok(device)
}

/// Computes something on the device. This also loads what the first job would wait for.
fn try_out(device: Device) -> Result<(), DeviceError> {
    let compute = || {
        let ones = |shape: &[i64]| Tensor::f_ones(shape, (Kind::Float, device));
        let sums = ones(&[1, 3, 8, 8])?
            .f_conv2d(&ones(&[4, 3, 3, 3])?, Some(&ones(&[4])?), [1, 1], [1, 1], [1, 1], 1)?
            .f_view([4, 64])?;
        f64::try_from(sums.f_matmul(&ones(&[64, 1])?)?.f_sum(Kind::Float)?)
    };
    let unusable = |reason| DeviceError::Unusable { device: name(device), reason };
    match compute() {
        // For each of the 4 channels: the values within reach of 64 pixels, in 3 channels, and 64 biases.
        Ok(sum) if (sum - 4.0 * (3.0 * 22.0 * 22.0 + 64.0)).abs() < 1.0 => Ok(()),
        Ok(sum) => Err(unusable(format!("its first result was wrong ({sum})"))),
        Err(error) => Err(unusable(first_line(&error))),
    }
}

/// The GPUs that libtorch can use.
pub(super) fn gpus() -> impl Iterator<Item = DeviceDescription> {
    let count = cuda_devices().unwrap_or_else(|reason| {
        warn_of_idle_gpu(&reason);
        0
    });
    (0..count).map(|index| DeviceDescription {
        device: name(Device::Cuda(index)),
        description: ffi::cuda_device_name(index).unwrap_or_else(|| "CUDA device".into()),
    })
}

/// As libtorch names it: `cpu`, `cuda:0`.
pub(super) fn name(device: Device) -> String {
    match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        _ => "cpu".into(),
    }
}

/// How many CUDA devices libtorch can use, or why it cannot use CUDA.
fn cuda_devices() -> Result<usize, String> {
    ffi::load_cuda()?;
    Ok(usize::try_from(Cuda::device_count()).unwrap_or(0))
}

/// A machine without a GPU needs no message about CUDA; one with a GPU must not train on its CPU unnoticed.
fn warn_of_idle_gpu(reason: &str) {
    if Path::new("/dev/nvidiactl").exists() {
        terminal::say!("warning: this machine has an NVIDIA GPU that is not used: {reason}; {CUDA_HELP}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_computes_can_be_used() {
        try_out(Device::Cpu).unwrap();
    }

    #[test]
    fn device_names_are_read() {
        let cases = [
            ("auto", DeviceChoice::Auto),
            ("cpu", DeviceChoice::Cpu),
            ("cuda", DeviceChoice::Cuda(0)),
            ("cuda:3", DeviceChoice::Cuda(3)),
        ];
        for (name, choice) in cases {
            assert_eq!(name.parse::<DeviceChoice>().unwrap(), choice);
        }
    }

    #[test]
    fn other_device_names_are_refused() {
        for name in ["", "gpu", "cuda:", "cuda:+1", "cuda:-1", "CPU", "cuda:99999999999999999999"] {
            let error = name.parse::<DeviceChoice>().unwrap_err().to_string();
            assert_eq!(error, format!("device \"{name}\" is not known; use auto, cpu, cuda or cuda:N"));
        }
    }
}
