//! Data sets of pictures: finding pictures in folders and archives, decoding and packing them once, and making synthetic
//! ones. Nothing here trains.

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod bytes;
mod cache;
mod cache_lock;
mod cache_room;
mod chunks;
pub mod command;
mod decode;
mod error;
mod fingerprint;
mod in_order;
mod left_out;
mod leftovers;
mod look;
mod pack;
mod packed;
pub mod progress;
mod source;
mod synced_file;
mod synthetic;

use std::path::PathBuf;

pub use self::{
    bytes::read_bytes,
    cache::{default_cache_dir, lock_path, prepare},
    decode::{DecodeError, decode_resized, panics_are_caught},
    error::DataError,
    look::look,
    packed::PackedDataset,
    source::{PICTURE_BYTES_MAX, pictures_below},
};

/// What to prepare, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrepareOptions {
    /// Image folder, flat folder, .zip of either, or packed .safetensors.
    pub path: PathBuf,
    /// A separate validation set.
    pub val_path: Option<PathBuf>,
    /// Side of the square images, in pixels.
    pub image_size: u32,
    /// Leave out pictures that cannot be decoded, instead of stopping.
    pub skip_corrupt: bool,
    /// Where packed data sets are kept.
    pub cache_dir: PathBuf,
    /// Most bytes of all packs there together; none for no limit of its own.
    pub cache_bytes_max: Option<u64>,
    pub threads: usize,
}

/// Corrupted bytes for tests of what is read.
#[cfg(test)]
mod corruption;
#[cfg(test)]
mod tests;
