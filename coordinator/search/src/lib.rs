//! What to try next. `tpe` proposes points from the results so far. Pure: numbers come in and go out, chance comes from
//! a seed; no clock, no runtime, no database, no wire format, and nothing about sweep files.

pub mod tpe;
