//! How to do it again: the command, and the sweep file as the record has it.

use terms::manifest::builtin;

use super::{Block, Content};
use crate::{Language, strings::Title};

/// What the file is called that people save.
const FILE: &str = "sweep.yaml";

impl<'a> Content<'a> {
    pub(super) fn reproduction(&self) -> Vec<Block<'a>> {
        let (strings, recorded) = (self.strings, self.recorded);
        let language = if strings.language() == Language::Japanese { " --lang ja" } else { "" };
        let own_model = self.own_model();
        let trainer = if own_model.is_some() { " --trainer COMMAND" } else { "" };
        let command = match recorded.method.as_str() {
            "external" => format!("sweep submit {FILE}"),
            _ => format!("sweep run {FILE}{trainer} --output again{language}"),
        };
        let mut blocks =
            vec![Block::Text(strings.save_and_run(FILE)), Block::Code { language: "sh", text: command }];
        if let Some((files, hash)) = recorded.files() {
            blocks.push(Block::Text(strings.files_of_program(files, hash)));
        }
        if recorded.method == "external" {
            blocks.push(Block::Text(strings.needs_searcher().to_owned()));
        }
        if recorded.extensions > 0 {
            blocks.push(Block::Text(strings.extended(recorded.extensions)));
        }
        blocks.extend(own_model.map(|name| Block::Text(strings.needs_trainer(name))));
        blocks.push(Block::Text(match self.sweep.manifest {
            Some(_) if own_model.is_none() => strings.what_is_the_same().to_owned(),
            _ => strings.what_a_program_decides().to_owned(),
        }));
        blocks.push(Block::Part(strings.title(Title::SweepFile)));
        blocks.push(Block::Code { language: "yaml", text: self.file() });
        blocks
    }

    /// The name of a model that is not built in: one's own trainer trains it.
    fn own_model(&self) -> Option<&str> {
        let name = self.sweep.manifest.as_ref()?.name.as_str();
        builtin(name).is_none().then_some(name)
    }

    /// The sweep file as one can submit it again: without the hash of the program's files, which are sent anew.
    fn file(&self) -> String {
        let specification = &self.sweep.specification;
        let Some((_, hash)) = self.recorded.files() else { return specification.clone() };
        let line = format!("snapshot: {hash}");
        specification.lines().filter(|one| one.trim() != line).collect::<Vec<_>>().join("\n")
    }
}
