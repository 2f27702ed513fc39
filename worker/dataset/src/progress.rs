//! The progress of a data set's preparation, and its current step. It is reported from the loops over files and
//! pictures, so that whoever waits can tell slow work from a standstill.

use std::fmt;

/// What a preparation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Finds the files: their number is not known yet.
    Listing,
    /// Reads sizes and times of change.
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

/// The progress of a preparation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// The current step.
    pub step: Step,
    /// Share of the whole, in [0, 1].
    pub share: f64,
    /// Files, pictures or bytes of this step so far: grows as long as anything happens.
    pub done: u64,
}

/// Receives progress, from any thread and often: it must be cheap.
pub type Listener<'a> = &'a (dyn Fn(Progress) + Sync);

impl fmt::Display for Progress {
    /// For example `listing its files, 12000 so far`.
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
