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

    /// The library of `fixtures/nvml.c`; none where there is no compiler for it.
    #[allow(clippy::print_stderr)]
    fn built(folder: &std::path::Path) -> Option<std::path::PathBuf> {
        let library = folder.join("libnvidia-ml.so.1");
        let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
        let made = std::process::Command::new(&compiler)
            .args(["-shared", "-fPIC", "-x", "c", "-o"])
            .arg(&library)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/src/agent/gpus/fixtures/nvml.c"))
            .output();
        match made {
            Ok(made) => assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr)),
            Err(error) => {
                eprintln!("not tested: there is no C compiler {compiler:?} ({error})");
                return None;
            }
        }
        Some(library)
    }

    #[test]
    fn gpus_are_asked_by_their_numbers_and_by_their_identities() {
        let folder = tempfile::tempdir().unwrap();
        let Some(path) = built(folder.path()) else { return };
        let with =
            |visible| Nvidia::new(Nvml::builder().lib_path(path.as_os_str()).init(), visible).ok().unwrap();
        let mut all = with(Visible::default());
        let first = GpuUse {
            device: "cuda:0".to_owned(),
            name: "NVIDIA H200".to_owned(),
            utilization_percent: Some(37),
            memory_used_bytes: 64,
            memory_total_bytes: 1_024,
        };
        assert_eq!(all.look("cuda:0"), Ok(first.clone()));
        let second = all.look("cuda:1").unwrap();
        assert_eq!((second.utilization_percent, second.memory_used_bytes), (None, 512), "it does not say it");
        // CUDA may leave out the one that is lost, and give its number to another.
        assert!(all.look("cuda:2").is_err());
        // By its identity, past one that cannot be asked.
        let mut second_first = with(Visible::of("GPU-bbbb,GPU-aaaa"));
        assert_eq!(second_first.look("cuda:0").unwrap().memory_used_bytes, 512);
        assert_eq!(second_first.look("cuda:1"), Ok(GpuUse { device: "cuda:1".to_owned(), ..first }));
        let reason = with(Visible::of("GPU-dddd")).look("cuda:0").unwrap_err();
        assert!(!reason.is_empty());
    }
}
