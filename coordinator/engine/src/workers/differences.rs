//! Models that are described in several ways although their name and version are the same. New sweeps are checked against
//! one of them, so that the others must be said: a worker that lacks what it has gets none of their jobs.

use std::{cmp::Reverse, collections::BTreeMap};

use terms::{
    WorkerName,
    manifest::{Described, ManifestHash, builtins_described},
};

use super::{WorkerState, Workers};

/// What names a model.
type Named<'a> = (&'a str, u32);

/// The models about which workers differ, from each other or from the built-in description.
#[derive(Debug, Default)]
pub(crate) struct Differences<'a>(BTreeMap<Named<'a>, Vec<Description<'a>>>);

/// One way of describing a model, texts for people aside.
#[derive(Debug)]
struct Description<'a> {
    model: &'a Described,
    /// All manifests that are the same apart from such texts.
    hashes: Vec<ManifestHash>,
    /// How many workers have it, and the first of them; the built-in one may be no worker's.
    workers: usize,
    first: Option<&'a WorkerName>,
}

impl Description<'_> {
    fn has(&self, model: &Described) -> bool {
        self.hashes.contains(&model.hash())
    }
}

/// What a worker differs about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Whether new sweeps are checked against another description than this worker's.
    pub(crate) is_outvoted: bool,
    /// What to tell people.
    pub(crate) text: String,
}

impl<'a> Differences<'a> {
    /// Those of all workers. Costs what there are descriptions, unless some differ.
    pub(crate) fn of(workers: &'a Workers) -> Self {
        let mut ways: BTreeMap<Named<'a>, Vec<Description<'a>>> = BTreeMap::new();
        let mut add = |model: &'a Described| {
            let ways = ways.entry((&model.name, model.version)).or_default();
            match ways.iter_mut().find(|way| way.model.is_alike(model)) {
                Some(way) => way.hashes.push(model.hash()),
                None => {
                    ways.push(Description { model, hashes: vec![model.hash()], workers: 0, first: None });
                }
            }
        };
        builtins_described().iter().for_each(&mut add);
        workers.manifests().for_each(&mut add);
        ways.retain(|_, ways| ways.len() > 1);
        if !ways.is_empty() {
            for (name, worker) in workers.iter() {
                for model in worker.models() {
                    let way = ways.get_mut(&(model.name.as_str(), model.version));
                    let way = way.and_then(|ways| ways.iter_mut().find(|way| way.has(model)));
                    if let Some(way) = way {
                        way.workers += 1;
                        way.first.get_or_insert(name);
                    }
                }
            }
            let is_builtin =
                |way: &Description<'_>| builtins_described().iter().any(|builtin| way.has(builtin));
            for ways in ways.values_mut() {
                // Those of workers that have left.
                ways.retain(|way| way.workers > 0 || is_builtin(way));
                // The order in which new sweeps look for a model.
                ways.sort_by_key(|way| Reverse((is_builtin(way), way.workers)));
            }
        }
        Self(ways)
    }

    /// What a worker differs about, the first of several models.
    pub(crate) fn about(&self, worker: &WorkerState) -> Option<Difference> {
        worker.models().iter().find_map(|model| {
            let ways = self.0.get(&(model.name.as_str(), model.version))?;
            let (counts, others) = ways.split_first().filter(|(_, others)| !others.is_empty())?;
            let is_outvoted = !counts.has(model);
            let other = if is_outvoted { counts } else { others.first()? };
            let whose = match (other.first, other.workers) {
                (None, _) => "the built-in description".to_owned(),
                (Some(name), 1) => format!("that of worker {name}"),
                (Some(name), workers) => format!("that of {workers} workers ({name} and others)"),
            };
            let model = format!("{} {}", model.name, model.version);
            let text = match is_outvoted {
                true => format!(
                    "its description of the model {model} differs from {whose}, which new sweeps have; update its trainer"
                ),
                false => {
                    format!("its description of the model {model}, which new sweeps have, differs from {whose}")
                }
            };
            Some(Difference { is_outvoted, text })
        })
    }
}
