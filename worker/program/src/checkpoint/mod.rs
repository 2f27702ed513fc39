//! Checkpoints of users' programs: a folder that another attempt finds again, on this machine or another. [`archive`] is a
//! folder as one file, [`shelf`] where such files lie, [`keeper`] the thread that writes them while the job trains.

pub(crate) mod archive;
pub(crate) mod keeper;
pub(crate) mod shelf;

#[cfg(test)]
mod tests;
