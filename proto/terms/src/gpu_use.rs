//! What a GPU does at the moment, for people.

/// The use of one GPU, as its worker last saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuUse {
    /// The device of the slots that it has, such as `cuda:0`.
    pub device: String,
    /// Its product's name.
    pub name: String,
    /// In how much of the last moments it computed, in percent; none where its driver does not say it.
    pub utilization_percent: Option<u8>,
    /// Memory in use, in bytes, by whichever process.
    pub memory_used_bytes: u64,
    /// All of its memory, in bytes.
    pub memory_total_bytes: u64,
}

impl GpuUse {
    /// Longest name, in characters.
    pub const NAME_CHARACTERS_MAX: usize = 96;

    /// Roughly the memory that its texts take.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.device.len() + self.name.len()
    }
}
