//! Overrides laid over a file.

use super::raw::RawFile;

impl RawFile {
    /// Overrides this with what `top` says, key by key; lists are replaced whole.
    pub(super) fn overlay(&mut self, top: Self) {
        replace(&mut self.name, top.name);
        replace(&mut self.description, top.description);
        replace(&mut self.model, top.model);
        replace(&mut self.program, top.program);
        replace(&mut self.command, top.command);
        replace(&mut self.method, top.method);
        replace(&mut self.search_seed, top.search_seed);
        replace(&mut self.run_cap, top.run_cap);
        replace(&mut self.repeats, top.repeats);
        replace(&mut self.exclude, top.exclude);
        replace(&mut self.include, top.include);
        self.unused.extend(top.unused);
        if let Some(top) = top.metric {
            let below = self.metric.get_or_insert_default();
            replace(&mut below.name, top.name);
            replace(&mut below.goal, top.goal);
            replace(&mut below.used, top.used);
            replace(&mut below.target, top.target);
        }
        if let Some(top) = top.metrics {
            let below = self.metrics.get_or_insert_default();
            replace(&mut below.pattern, top.pattern);
            replace(&mut below.csv, top.csv);
        }
        if let Some(top) = top.dataset {
            let below = self.dataset.get_or_insert_default();
            replace(&mut below.path, top.path);
            replace(&mut below.val_path, top.val_path);
            replace(&mut below.image_size, top.image_size);
            replace(&mut below.val_fraction, top.val_fraction);
            replace(&mut below.split_seed, top.split_seed);
        }
        if let Some(top) = top.parameters {
            self.parameters.get_or_insert_default().overlay(top);
        }
        if let Some(top) = top.early_terminate {
            let below = self.early_terminate.get_or_insert_default();
            replace(&mut below.kind, top.kind);
            below.numbers.overlay(top.numbers);
            replace(&mut below.strict, top.strict);
            replace(&mut below.promote, top.promote);
        }
        if let Some(top) = top.execution {
            let below = self.execution.get_or_insert_default();
            below.numbers.overlay(top.numbers);
            replace(&mut below.arguments, top.arguments);
            replace(&mut below.epochs_parameter, top.epochs_parameter);
            replace(&mut below.files, top.files);
            replace(&mut below.snapshot, top.snapshot);
            if let Some(env) = top.env {
                below.env.get_or_insert_default().extend(env);
            }
        }
        if let Some(top) = top.resources {
            self.resources.get_or_insert_default().overlay(top);
        }
        if let Some(top) = top.artifacts {
            replace(&mut self.artifacts.get_or_insert_default().keep, top.keep);
        }
    }
}

fn replace<T>(below: &mut Option<T>, top: Option<T>) {
    if top.is_some() {
        *below = top;
    }
}
