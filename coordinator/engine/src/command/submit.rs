//! The command that makes a sweep.

use std::sync::Arc;

use domain::definition::SweepDefinition;

use super::{Answered, Command};
use crate::{Engine, Issuer, NotSearchable, Now, Output, SweepView, learning::Searcher};

#[derive(Debug, Clone)]
pub struct Submit {
    /// What to run, with its grid; not numbered yet.
    definition: Box<SweepDefinition>,
    /// What proposes its points, where it learns.
    searcher: Option<Searcher>,
    /// Makes a repeated call harmless; empty for none.
    request_id: String,
    owner: Option<Arc<str>>,
}

impl Submit {
    /// Makes the searcher of the sweep, where it has one of its own: some milliseconds, so this must be done beside the engine.
    ///
    /// # Errors
    /// No search is possible in its space.
    pub fn new(definition: Box<SweepDefinition>, request_id: String) -> Result<Self, NotSearchable> {
        let searcher = Searcher::of(&definition)?;
        Ok(Self { definition, searcher, request_id, owner: None })
    }

    /// Of a sweep that belongs to this name; others then may not change it.
    #[must_use]
    pub fn owned_by(self, owner: Option<Arc<str>>) -> Self {
        Self { owner, ..self }
    }
}

/// The answer to [`Submit`].
#[derive(Debug, Clone)]
pub struct Submitted {
    pub sweep: SweepView,
    /// Whether it is new.
    pub created: bool,
}

impl Command for Submit {
    type Answer = Submitted;

    fn bytes(&self) -> usize {
        let searcher = self.searcher.as_ref().map_or(0, Searcher::bytes);
        self.definition.specification.bytes() + searcher + self.request_id.len()
    }

    fn deed(&self) -> Option<String> {
        Some(format!("submit the sweep {:?}", self.definition.specification.name))
    }

    fn apply(self, engine: &mut Engine, now: Now, by: &Issuer, out: &mut Output) -> Answered<Self> {
        let Self { definition, searcher, request_id, owner } = self;
        engine.submit(now, (*definition, searcher), (request_id, owner), by, out)
    }
}
