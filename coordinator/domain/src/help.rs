//! What `--help` says about the parameters that sweep files may name.

use std::fmt::Write as _;

use terms::manifest::builtins;

/// The parameters of the built-in models, and a note on programs.
pub fn parameters() -> String {
    let mut text = String::new();
    for manifest in builtins() {
        let _ = writeln!(text, "Parameters of {}:", manifest.name);
        for parameter in &manifest.parameters {
            let _ =
                write!(text, "  {:<14} {}; {}", parameter.name, parameter.meaning, parameter.kind.range());
            let _ = match &parameter.default {
                Some(default) => writeln!(text, "; default {default}"),
                None => writeln!(text),
            };
        }
    }
    text.push_str(
        "A program (`program: train.py`, `command: [...]`) has whatever parameters its sweep file names.\n",
    );
    text
}
