//! How far the preparation of a data set is, and what it is at. It is told from the loops over files and pictures, so that
//! whoever waits can tell work, however slow the disk, from a standstill.

use std::fmt;

/// What a preparation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Finds the files: their number is not known yet.
    Listing,
    /// Asks for sizes and times of change.
    Looking,
    /// Reads the pictures for the content hash.
    Reading,
    /// Compares a pack with the hash that it carries.
    Checking,
    /// Decodes and packs the pictures.
    Packing,
    /// Waits for a process that prepares the same data set.
    Waiting,
    /// Copies the images to the device.
    Copying,
}

/// How far a preparation is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// What it does.
    pub step: Step,
    /// Share of the whole that is done, in [0, 1].
    pub share: f64,
    /// Files, pictures or bytes of this step so far: it grows as long as anything happens.
    pub done: u64,
}

/// Hears of progress, from any thread and often: it must be cheap.
pub type Listener<'a> = &'a (dyn Fn(Progress) + Sync);

impl fmt::Display for Progress {
    /// Such as `listing its files, 12000 so far`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done = self.done;
        match self.step {
            Step::Listing => write!(formatter, "listing its files, {done} so far"),
            Step::Looking => write!(formatter, "looking for changes, {done} files so far"),
            Step::Reading => write!(formatter, "reading its pictures, {done} so far"),
            Step::Checking => write!(formatter, "checking its images, {} MiB so far", done >> 20),
            Step::Packing => write!(formatter, "packing its pictures, {done} so far"),
            Step::Waiting => formatter.write_str("waiting for another process that prepares it"),
            Step::Copying => write!(formatter, "copying it to the device, {} MiB so far", done >> 20),
        }
    }
}
