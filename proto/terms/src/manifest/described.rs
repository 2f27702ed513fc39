//! Manifests that are distinguished: each with the hash of its text, and which of two can take the place of the other.

use std::{
    fmt,
    ops::Deref,
    sync::{Arc, LazyLock},
};

use super::{Manifest, ManifestError, ParameterKind, builtins};
use crate::snapshot::ContentHash;

/// Names a manifest: BLAKE3 of [`Manifest::to_json`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ManifestHash(ContentHash);

/// Hexadecimal digits of a hash that people are shown.
const DIGITS_SHOWN: usize = 12;

impl fmt::Display for ManifestHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        f.write_str(digits.get(..DIGITS_SHOWN).unwrap_or(&digits))
    }
}

impl fmt::Debug for ManifestHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A manifest with its hash.
#[derive(Debug, Clone)]
pub struct Described {
    manifest: Arc<Manifest>,
    hash: ManifestHash,
    bytes: usize,
}

impl Described {
    /// Hashes a manifest, in time in proportion to its text.
    pub fn new(manifest: impl Into<Arc<Manifest>>) -> Self {
        let manifest = manifest.into();
        let text = manifest.to_json();
        Self { hash: ManifestHash(ContentHash::of(text.as_bytes())), bytes: text.len(), manifest }
    }

    /// Reads and checks the manifests of a text, one or several one after another.
    ///
    /// # Errors
    /// The first thing that is wrong with the first of them that cannot be used.
    pub fn all_from_json(text: &str) -> Result<Vec<Self>, ManifestError> {
        Ok(Manifest::all_from_json(text)?.into_iter().map(Self::new).collect())
    }

    /// The manifest.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// Its hash.
    pub fn hash(&self) -> ManifestHash {
        self.hash
    }

    /// The length of its text.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a trainer with this manifest trains the jobs of a sweep that was checked against `of_sweep`: it is the same
    /// manifest, or one of the same name and version with all that the other has. A manifest's version says that the same
    /// parameters give the same numbers, so what was added since is no obstacle. Ranges are not compared: a trainer refuses
    /// a value that it does not take.
    pub fn trains(&self, of_sweep: &Self) -> bool {
        self.hash == of_sweep.hash || self.manifest.has_all_of(&of_sweep.manifest)
    }

    /// Whether both say the same, texts for people aside. Takes time in proportion to the texts unless they are equal.
    pub fn is_alike(&self, other: &Self) -> bool {
        self.hash == other.hash || self.manifest.without_texts() == other.manifest.without_texts()
    }
}

impl PartialEq for Described {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

impl Eq for Described {}

impl Deref for Described {
    type Target = Manifest;

    fn deref(&self) -> &Manifest {
        &self.manifest
    }
}

impl Manifest {
    fn without_texts(&self) -> Self {
        let mut manifest = self.clone();
        manifest.meaning.clear();
        manifest.parameters.iter_mut().for_each(|parameter| parameter.meaning.clear());
        for metric in &mut manifest.metrics {
            metric.meaning.clear();
            metric.unit.clear();
        }
        manifest
    }

    fn has_all_of(&self, other: &Self) -> bool {
        let kind = |kind: &ParameterKind| std::mem::discriminant(kind);
        let has_parameter = |name: &str, of: &ParameterKind| {
            self.parameter(name).is_some_and(|own| kind(&own.kind) == kind(of))
        };
        self.name == other.name
            && self.version == other.version
            && self.dataset == other.dataset
            && self.budget == other.budget
            && other.parameters.iter().all(|parameter| has_parameter(&parameter.name, &parameter.kind))
            && other.metrics.iter().all(|metric| self.metric(&metric.name).is_some())
    }
}

/// The manifests of all built-in models, with their hashes.
pub fn builtins_described() -> &'static [Described] {
    static DESCRIBED: LazyLock<Vec<Described>> =
        LazyLock::new(|| builtins().iter().map(|manifest| Described::new(manifest.clone())).collect());
    &DESCRIBED
}
