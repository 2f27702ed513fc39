//! What a sweep is: its file (`specification`), the values that its parameters take (`space`, `grid`, `points`), what a
//! searcher chose among them (`proposals`), its jobs and settings (`definition`), and the records of what happened to them
//! (`record`), and which of them is the best (`best`). Pure: no clock, no runtime, no
//! database, no wire format.

pub mod best;
pub mod definition;
pub mod grid;
pub mod help;
pub mod known_points;
pub mod mutants;
pub mod points;
pub mod proposals;
pub mod record;
pub mod space;
pub mod specification;
pub mod text;
