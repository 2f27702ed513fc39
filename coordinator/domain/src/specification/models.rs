//! The models that a sweep file may name: those that are given with it or stored with its sweep, the built-in ones, and those
//! that workers have said they train.

use terms::manifest::{Described, ManifestError, builtins_described};

/// The models that a sweep file may name. Of one name, the first in this order counts: given, built-in, heard of.
#[derive(Debug, Clone, Default)]
pub struct Models {
    given: Vec<Described>,
    heard_of: Vec<Described>,
}

impl Models {
    /// These and the built-in ones.
    pub fn given(given: Vec<Described>) -> Self {
        Self { given, heard_of: Vec::new() }
    }

    /// Those of a text with manifests one after another, and the built-in ones.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn from_json(text: &str) -> Result<Self, ManifestError> {
        Described::all_from_json(text).map(Self::given)
    }

    /// The same for an extension of a sweep of this model, which counts, unless one of its name is given that would give other
    /// numbers: then they differ, which is found out later.
    #[must_use]
    pub fn of_sweep(mut self, model: &Described) -> Self {
        self.given.retain(|given| given.name != model.name || !given.trains(model));
        self.given.push(model.clone());
        self
    }

    /// The same with others that count where no other has their name.
    #[must_use]
    pub fn or(mut self, heard_of: impl IntoIterator<Item = Described>) -> Self {
        self.heard_of.extend(heard_of);
        self
    }

    /// The model of this name.
    pub fn get(&self, name: &str) -> Option<&Described> {
        self.all().find(|model| model.name == name)
    }

    /// The names of all, each once.
    pub fn names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for model in self.all() {
            if !names.contains(&model.name.as_str()) {
                names.push(&model.name);
            }
        }
        names
    }

    fn all(&self) -> impl Iterator<Item = &Described> {
        self.given.iter().chain(builtins_described()).chain(&self.heard_of)
    }
}

/// The model where a file names none.
pub(super) fn usual_model() -> &'static Described {
    builtins_described().first().expect("there is a built-in model")
}
