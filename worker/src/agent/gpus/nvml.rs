//! NVIDIA's own library of figures, which comes with the driver and is loaded when it is asked for.

use nvml_wrapper::{Device, Nvml, error::NvmlError};
use terms::GpuUse;

use super::{
    Driver,
    visible::{Numbers, Place, Visible},
};

/// The library, and how CUDA sees its GPUs.
pub(super) struct Nvidia {
    library: Nvml,
    visible: Visible,
    numbers: Numbers,
}

impl Nvidia {
    /// Loads the library.
    ///
    /// # Errors
    /// It is not there, or has no driver.
    pub(super) fn open(visible: Visible) -> Result<Self, String> {
        Self::new(Nvml::init(), visible)
    }

    fn new(library: Result<Nvml, NvmlError>, visible: Visible) -> Result<Self, String> {
        let failed = |error: NvmlError| format!("NVIDIA's library (NVML) cannot be used: {error}");
        let library = library.map_err(failed)?;
        let count = library.device_count().map_err(failed)?;
        let name = |index| library.device_by_index(index).and_then(|device| device.name()).ok();
        let numbers = Numbers::of((0..count).map(name));
        Ok(Self { library, visible, numbers })
    }

    fn device(&self, place: &Place) -> Result<Device<'_>, NvmlError> {
        match place {
            Place::Number(number) => self.library.device_by_index(*number),
            Place::Identity(beginning) => {
                for index in 0..self.library.device_count()? {
                    // Another one that cannot be asked is not it.
                    let Ok(device) = self.library.device_by_index(index) else { continue };
                    if device.uuid().is_ok_and(|identity| identity.starts_with(beginning)) {
                        return Ok(device);
                    }
                }
                Err(NvmlError::NotFound)
            }
        }
    }
}

impl Driver for Nvidia {
    fn look(&mut self, device: &str) -> Result<GpuUse, String> {
        let place = self.visible.place(device, &self.numbers)?;
        let look = || {
            let found = self.device(&place)?;
            let memory = found.memory_info()?;
            // Of a GPU that is divided, the driver does not say it.
            let utilization = match found.utilization_rates() {
                Ok(rates) => u8::try_from(rates.gpu.min(100)).ok(),
                Err(NvmlError::NotSupported) => None,
                Err(error) => return Err(error),
            };
            Ok((found.name()?, utilization, memory))
        };
        let (name, utilization_percent, memory) = look().map_err(|error: NvmlError| error.to_string())?;
        Ok(GpuUse {
            device: device.to_owned(),
            name: name.chars().take(GpuUse::NAME_CHARACTERS_MAX).collect(),
            utilization_percent,
            memory_used_bytes: memory.used,
            memory_total_bytes: memory.total,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_the_library_says_why_there_are_no_figures() {
        let library = Nvml::builder().lib_path("libnvidia-ml-is-not-there.so.1".as_ref()).init();
        let reason = Nvidia::new(library, Visible::default()).err().expect("it is not there");
        assert!(reason.contains("NVML") && reason.contains("libnvidia-ml-is-not-there.so.1"), "{reason}");
    }
}
