//! Where in a file's text something stands that was found after it was read. Only what begins a line is found, as people write it.

/// The line, from 1, of a top-level key.
pub(super) fn section_line(text: &str, section: &str) -> Option<usize> {
    text.lines().position(|line| is_key(line, section)).map(|index| index + 1)
}

/// The line, from 1, of a model's parameter, where it begins one.
pub(super) fn parameter_line(text: &str, name: &str) -> Option<usize> {
    let section = section_line(text, "parameters")?;
    let is_inside = |line: &str| line.trim().is_empty() || line.starts_with([' ', '#']);
    let depth = |line: &str| line.len() - line.trim_start().len();
    let says = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    let inside = (1..).zip(text.lines()).skip(section).take_while(|(_, line)| is_inside(line));
    let mut lines = inside.filter(|(_, line)| says(line)).peekable();
    // Keys of parameters stand deeper.
    let level = depth(lines.peek()?.1);
    lines.find(|(_, line)| depth(line) == level && is_key(line.trim_start(), name)).map(|(number, _)| number)
}

/// Whether a line begins with this key.
fn is_key(line: &str, key: &str) -> bool {
    let line = line.strip_prefix(['"', '\'']).unwrap_or(line);
    let rest = line.strip_prefix(key).map(|rest| rest.strip_prefix(['"', '\'']).unwrap_or(rest));
    rest.is_some_and(|rest| rest.trim_start().starts_with(':'))
}

/// The line, from 1, of an entry, from 1, of a list below a top-level key, where each begins a line.
pub(super) fn entry_line(text: &str, section: &str, entry: usize) -> Option<usize> {
    let section = section_line(text, section)?;
    let is_inside = |line: &str| line.trim().is_empty() || line.starts_with([' ', '#', '-']);
    let inside = (1..).zip(text.lines()).skip(section).take_while(|(_, line)| is_inside(line));
    let depth = |line: &str| line.len() - line.trim_start().len();
    let mut entries = inside.filter(|(_, line)| line.trim_start().starts_with('-')).peekable();
    // Lists within an entry stand deeper.
    let level = depth(entries.peek()?.1);
    entries.filter(|(_, line)| depth(line) == level).nth(entry.checked_sub(1)?).map(|(number, _)| number)
}

/// The line of a syntax error, from 1, where a tab stands before what it says. YAML takes no tabs there, but within texts of several
/// lines, so that tabs elsewhere may be right.
pub(super) fn tab_line(text: &str, of_error: usize) -> Option<usize> {
    let line = text.lines().nth(of_error.checked_sub(1)?)?;
    let said = line.trim_start();
    let is_tab = !said.is_empty() && !said.starts_with('#') && line[..line.len() - said.len()].contains('\t');
    is_tab.then_some(of_error)
}
