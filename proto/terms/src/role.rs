//! What those may do who call a coordinator.

use strum::{EnumString, IntoStaticStr, VariantArray};

/// What someone may do. Who may use which call is one table of the coordinator (`access/table`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, IntoStaticStr, EnumString, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Role {
    /// Look at everything.
    Viewer,
    /// Train jobs: open a worker's stream, fetch files of programs, hand over weights.
    Worker,
    /// Look at everything, submit sweeps, and change those of its own.
    Submitter,
    /// Everything.
    Admin,
}

impl Role {
    /// Its name, as on the command line.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The role of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        name.parse().ok()
    }
}
