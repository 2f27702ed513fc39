//! The forms of output: tables for people; JSON, CSV and bare names for programs.

mod decimals;

use comfy_table::{CellAlignment, Table, presets};
use report::{measured, view};
use serde::Serialize;
use serde_json::{Map, Value};
use terminal::{logging::GLOBAL, output, text};
use terms::{ParameterValue, shortest};

use super::{failure::Failure, settings::Settings};
pub(super) use terms::count;

/// Characters of a reason's beginning and of its end in a table: with both, a line of a job fits onto a wide terminal.
const REASON_END_SHOWN: usize = 70;
/// Characters of a hash in a table: no two files of a sweep share them by chance.
const HASH_SHOWN: usize = 12;

/// A form of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// Columns for people
    Table,
    /// One JSON document
    Json,
    /// Comma-separated values with a header
    Csv,
    /// Only the first column, one value a line
    Name,
}

/// The option of every command that prints rows.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Form of output [default: table]
    #[arg(short = 'o', long, global = true, help_heading = GLOBAL, env = "SWEEP_FORMAT", value_enum, value_name = "FORMAT")]
    format: Option<Format>,
}

impl Options {
    /// The form that flag, environment or settings name, in this order.
    pub(super) fn format(&self, settings: &Settings) -> Result<Format, Failure> {
        match (self.format, &settings.format) {
            (Some(format), _) => Ok(format),
            (None, None) => Ok(Format::Table),
            (None, Some(name)) => <Format as clap::ValueEnum>::from_str(name, false).map_err(|_| {
                Failure::usage(format!(
                    "format: {name:?} in the settings file is none of table, json, csv, name"
                ))
            }),
        }
    }
}

/// One value of a row.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    /// Nothing to say.
    Empty,
    /// Text.
    Text(String),
    /// Why something ended as it did, which may be long: tables show its beginning and its end.
    Reason(String),
    /// A hash, of which tables show the beginning.
    Hash(String),
    /// A count or a number that identifies something.
    Integer(u64),
    /// A measurement; the decimals are for tables.
    Number(f64, usize),
    /// A mean of so many; tables say of how many where it is more than one.
    Mean(f64, usize, u32),
    /// The value of a parameter.
    Parameter(ParameterValue),
    /// Parameters with their names.
    Point(Vec<(String, ParameterValue)>),
    /// Milliseconds since 1970.
    Time(u64),
}

impl Cell {
    /// A measurement that may be absent.
    pub(super) fn number(value: Option<f64>, decimals: usize) -> Self {
        value.map_or(Self::Empty, |value| Self::Number(value, decimals))
    }

    /// The text for people.
    fn display(&self) -> String {
        match self {
            Self::Empty => String::new(),
            Self::Text(text) | Self::Reason(text) | Self::Hash(text) => {
                text::line(&first_line(text)).into_owned()
            }
            Self::Parameter(value) => text::line(&value.to_string()).into_owned(),
            Self::Point(point) => {
                let pairs: Vec<_> = point.iter().map(|(name, value)| format!("{name}={value}")).collect();
                text::line(&pairs.join(" ")).into_owned()
            }
            Self::Integer(value) => value.to_string(),
            Self::Number(value, decimals) => measured(*value, *decimals),
            Self::Mean(value, decimals, of) => format!("{}{}", measured(*value, *decimals), mean_of(*of)),
            Self::Time(unix_ms) => view::time_for_people(*unix_ms).unwrap_or_default(),
        }
    }

    /// The text in a table, whose lines end where a terminal's do; measurements with so many decimals, where their column has one number
    /// of them.
    fn short(&self, decimals: Option<usize>) -> String {
        let text = self.display();
        match (self, decimals) {
            (Self::Number(value, _), Some(decimals)) if value.is_finite() => format!("{value:.decimals$}"),
            (Self::Mean(value, _, of), Some(decimals)) if value.is_finite() => {
                format!("{value:.decimals$}{}", mean_of(*of))
            }
            (Self::Reason(_), _) => both_ends(text),
            (Self::Hash(_), _) => text.chars().take(HASH_SHOWN).collect(),
            _ => text,
        }
    }

    /// The text for programs: nothing is rounded.
    fn exact(&self) -> String {
        match self {
            Self::Text(text) | Self::Reason(text) | Self::Hash(text) => text.clone(),
            Self::Number(value, _) | Self::Mean(value, ..) => shortest(*value),
            Self::Time(unix_ms) => view::time(*unix_ms).unwrap_or_default(),
            other => other.display(),
        }
    }

    /// The text for a spreadsheet: as [`Cell::exact`], but no text is a formula.
    fn csv(&self) -> String {
        match self {
            Self::Text(text)
            | Self::Reason(text)
            | Self::Hash(text)
            | Self::Parameter(ParameterValue::Text(text)) => text::csv_cell(text).into_owned(),
            Self::Point(_) => text::csv_cell(&self.exact()).into_owned(),
            other => other.exact(),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Empty | Self::Time(0) => Value::Null,
            Self::Integer(value) => (*value).into(),
            Self::Number(value, _) | Self::Mean(value, ..) => view::number(Some(*value)),
            Self::Parameter(value) => parameter_json(value),
            Self::Point(point) => Value::Object(
                point.iter().map(|(name, value)| (name.clone(), parameter_json(value))).collect(),
            ),
            Self::Text(_) | Self::Reason(_) | Self::Hash(_) | Self::Time(_) => Value::String(self.exact()),
        }
    }

    fn is_numeric(&self) -> bool {
        matches!(self, Self::Integer(_) | Self::Number(..) | Self::Mean(..))
    }
}

/// ` (mean of 3)`, said of the best where each configuration is trained several times; nothing of a single training.
pub(super) fn mean_of(trainings: u32) -> String {
    if trainings > 1 { format!(" (mean of {trainings})") } else { String::new() }
}

/// The job that stands for the best, for the end of a sentence: `mean of 3, job 4`.
pub(super) fn job_of_mean(trainings: u32, job: u64) -> String {
    if trainings > 1 { format!("mean of {trainings}, job {job}") } else { format!("job {job}") }
}

/// The same in JSON.
pub(super) fn parameter_json(value: &ParameterValue) -> Value {
    match value {
        ParameterValue::Null => Value::Null,
        ParameterValue::Boolean(value) => (*value).into(),
        ParameterValue::Integer(value) => (*value).into(),
        ParameterValue::Float(value) => (*value).into(),
        ParameterValue::Text(value) => value.as_str().into(),
    }
}

/// The beginning and the end of a text that is long: a failure's last words are its most telling.
fn both_ends(text: String) -> String {
    let length = text.chars().count();
    if length <= 2 * REASON_END_SHOWN + 3 {
        return text;
    }
    let from: String = text.chars().take(REASON_END_SHOWN).collect();
    let to: String = text.chars().skip(length - REASON_END_SHOWN).collect();
    format!("{} … {}", from.trim_end(), to.trim_start())
}

/// The first line of a text, with a mark if there are more.
pub(super) fn first_line(text: &str) -> String {
    match text.split_once(['\n', '\r']) {
        Some((first, _)) => format!("{first} …"),
        None => text.to_owned(),
    }
}

/// Prints rows, page by page, in one form.
pub(super) struct Printer {
    format: Format,
    columns: Vec<String>,
    rows_printed: u64,
}

impl Printer {
    pub(super) fn new(format: Format, columns: Vec<String>) -> Self {
        Self { format, columns, rows_printed: 0 }
    }

    /// Prints one page of rows.
    pub(super) fn page(&mut self, rows: &[Vec<Cell>]) -> Result<(), Failure> {
        print(&self.render(rows))
    }

    /// Prints some rows of a list; of a JSON list, what `thing` makes of each.
    pub(super) fn page_of<T, V: Serialize>(
        &mut self,
        rows: &[T],
        row: impl Fn(&T) -> Vec<Cell>,
        thing: impl FnMut(&T) -> V,
    ) -> Result<(), Failure> {
        if self.format != Format::Json {
            return self.page(&rows.iter().map(row).collect::<Vec<_>>());
        }
        let things = rows.iter().map(thing).map(|thing| serde_json::to_string(&thing));
        let things: Vec<String> = things.collect::<Result<_, _>>().map_err(unwritable)?;
        print(&self.json(things))
    }

    /// Elements of a JSON list, a line each.
    fn json(&mut self, things: Vec<String>) -> String {
        let mut written = String::new();
        for thing in things {
            written.push_str(if self.rows_printed == 0 { "[\n  " } else { ",\n  " });
            written.push_str(&text::json(&thing));
            self.rows_printed += 1;
        }
        written
    }

    /// Prints the end of the document.
    pub(super) fn finish(mut self) -> Result<(), Failure> {
        print(&self.render_end())
    }

    fn render(&mut self, rows: &[Vec<Cell>]) -> String {
        let first = self.rows_printed == 0;
        if rows.is_empty() {
            return String::new();
        }
        if self.format == Format::Json {
            let things = rows.iter().map(|row| object(&self.columns, row).to_string());
            return self.json(things.collect());
        }
        self.rows_printed += rows.len() as u64;
        match self.format {
            Format::Csv => csv_lines(first.then_some(&self.columns), rows),
            Format::Name => rows
                .iter()
                .filter_map(|row| Some(text::line(&row.first()?.exact()).into_owned() + "\n"))
                .collect(),
            Format::Table | Format::Json => table(first.then_some(&self.columns), rows),
        }
    }

    fn render_end(&mut self) -> String {
        match (self.format, self.rows_printed) {
            (Format::Json, 0) => "[]\n".to_owned(),
            (Format::Json, _) => "\n]\n".to_owned(),
            (Format::Table | Format::Csv, 0) => {
                let header = Some(&self.columns);
                if self.format == Format::Csv { csv_lines(header, &[]) } else { table(header, &[]) }
            }
            _ => String::new(),
        }
    }
}

/// Prints one thing: its fields below each other for people, else as [`Printer`] would.
pub(super) fn print_one(format: Format, columns: Vec<String>, row: Vec<Cell>) -> Result<(), Failure> {
    match format {
        Format::Json => print_json(&object(&columns, &row)),
        Format::Table => {
            let width = columns.iter().map(String::len).max().unwrap_or(0);
            let lines = columns.iter().zip(&row).filter(|(_, cell)| !cell.display().is_empty());
            let line = |(name, cell): (&String, &Cell)| format!("{name:<width$}  {}\n", cell.display());
            print(&lines.map(line).collect::<String>())
        }
        Format::Csv | Format::Name => {
            let mut printer = Printer::new(format, columns);
            printer.page(&[row])?;
            printer.finish()
        }
    }
}

/// Prints one thing as a JSON document.
pub(super) fn print_json(thing: &impl Serialize) -> Result<(), Failure> {
    print(&text::json(&(serde_json::to_string_pretty(thing).map_err(unwritable)? + "\n")))
}

// Handed to `map_err`, which gives its argument away.
#[allow(clippy::needless_pass_by_value)]
fn unwritable(error: serde_json::Error) -> Failure {
    Failure::operation(format!("the answer cannot be written as JSON ({error}); this is a bug"))
}

/// Rows as a table with aligned columns, numbers to the right; measurements have as many decimals all the way down.
pub(super) fn table(header: Option<&Vec<String>>, rows: &[Vec<Cell>]) -> String {
    let decimals = decimals::of_columns(rows);
    let alignment = |cell: &Cell| if cell.is_numeric() { CellAlignment::Right } else { CellAlignment::Left };
    aligned(header.map(Vec::as_slice), rows, alignment, |_, column| decimals[column])
}

/// The same where each row is a field and each column a thing, to the left: measurements have as many decimals all the way across.
pub(super) fn table_of_fields(header: &[String], rows: &[Vec<Cell>]) -> String {
    let decimals = decimals::of_rows(rows);
    aligned(Some(header), rows, |_| CellAlignment::Left, |row, _| decimals[row])
}

/// Rows as a table; `decimals` says how many a measurement has, by row and column.
fn aligned(
    header: Option<&[String]>,
    rows: &[Vec<Cell>],
    alignment: impl Fn(&Cell) -> CellAlignment,
    decimals: impl Fn(usize, usize) -> Option<usize>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if let Some(columns) = header {
        table.set_header(columns.iter().map(|name| name.to_uppercase()));
    }
    for (number, row) in rows.iter().enumerate() {
        table.add_row(row.iter().enumerate().map(|(column, cell)| {
            comfy_table::Cell::new(cell.short(decimals(number, column))).set_alignment(alignment(cell))
        }));
    }
    let lines = table.lines().map(|line| line.trim_end().to_owned() + "\n");
    lines.map(|line| line.strip_prefix(' ').map_or(line.clone(), str::to_owned)).collect()
}

fn csv_lines(header: Option<&Vec<String>>, rows: &[Vec<Cell>]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    // Writing to memory cannot fail.
    if let Some(columns) = header {
        let _ = writer.write_record(columns);
    }
    for row in rows {
        let _ = writer.write_record(row.iter().map(Cell::csv));
    }
    let bytes = writer.into_inner().unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn object(columns: &[String], row: &[Cell]) -> Value {
    Value::Object(columns.iter().cloned().zip(row.iter().map(Cell::json)).collect::<Map<_, _>>())
}

/// Prints text on standard output. A command that prints lists ends at the first failure; quietly, if only the reader
/// has left (`sweep ls | head`).
pub(super) fn print(text: &str) -> Result<(), Failure> {
    Ok(output::print(text)?)
}

/// The first failure to print, of a command that continues without standard output, as training does.
#[derive(Debug, Default)]
pub(super) struct Unprinted(Option<Failure>);

impl Unprinted {
    /// Notes whether printing worked. The first failure is reported on standard error at once; a reader that has left
    /// is not.
    pub(super) fn note(&mut self, printed: Result<(), Failure>) {
        match printed {
            Ok(()) | Err(Failure::OutputClosed) => {}
            Err(failure) if self.0.is_none() => {
                output::say(&format!("warning: {failure}; continuing without it"));
                self.0 = Some(failure);
            }
            Err(_) => {}
        }
    }

    /// A command whose output is incomplete has failed.
    pub(super) fn end(self) -> Result<(), Failure> {
        self.0.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(format: Format, rows: &[Vec<Cell>]) -> String {
        let mut printer = Printer::new(format, vec!["job".into(), "val_accuracy".into(), "reason".into()]);
        let mut text: String = rows.chunks(1).map(|page| printer.render(page)).collect();
        text.push_str(&printer.render_end());
        text
    }

    fn rows() -> Vec<Vec<Cell>> {
        vec![
            vec![Cell::Integer(1), Cell::Number(0.123_456_789, 4), Cell::Empty],
            vec![Cell::Integer(20), Cell::Empty, Cell::Text("a, \"b\"".into())],
        ]
    }

    #[test]
    fn rows_have_four_forms() {
        assert_eq!(render(Format::Name, &rows()), "1\n20\n");
        assert_eq!(
            render(Format::Csv, &rows()),
            "job,val_accuracy,reason\n1,0.123456789,\n20,,\"a, \"\"b\"\"\"\n"
        );
        let json: Value = serde_json::from_str(&render(Format::Json, &rows())).unwrap();
        assert_eq!(json[0]["val_accuracy"], 0.123_456_789);
        assert_eq!(json[1]["val_accuracy"], Value::Null);
        let columns = vec!["job".to_owned(), "val_accuracy".to_owned(), "reason".to_owned()];
        insta::assert_snapshot!(table(Some(&columns), &rows()), @r#"
        JOB  VAL_ACCURACY  REASON
          1        0.1235
         20                a, "b"
        "#);
    }

    #[test]
    fn long_reasons_and_hashes_are_short_in_tables_alone() {
        let reason = format!("exit status 1: {} | ValueError: too big", "x".repeat(200));
        let row = vec![Cell::Reason(reason.clone()), Cell::Hash("0123456789abcdef".repeat(4))];
        let shown = table(None, std::slice::from_ref(&row));
        assert!(shown.starts_with("exit status 1: xxx"), "{shown}");
        assert!(shown.contains("x | ValueError: too big  0123456789ab\n"), "{shown}");
        assert!(shown.contains(" … ") && shown.chars().count() < 170, "{shown}");
        assert_eq!(row[0].json(), reason.as_str());
        assert_eq!(row[1].csv().len(), 64);
        assert_eq!(row[0].display(), reason, "where it is alone");
        assert_eq!(Cell::Reason("short".to_owned()).short(None), "short");
    }

    #[test]
    fn measurements_are_short_for_people_and_exact_for_programs() {
        for (value, shown) in
            [(3.123_456e-7, "3.123e-7"), (458_443_847_102_365_696.0, "4.584e17"), (0.5, "0.5000")]
        {
            let cell = Cell::Number(value, 4);
            assert_eq!(cell.display(), shown);
            assert_eq!(cell.exact().parse::<f64>().unwrap(), value);
            assert_eq!(cell.json(), Value::from(value));
        }
    }

    #[test]
    fn parameters_are_what_they_are_for_programs_and_as_written_for_people() {
        let values = [
            ParameterValue::Integer(32),
            ParameterValue::Float(0.000_05),
            ParameterValue::Text("relu".into()),
        ];
        let cells = values.map(Cell::Parameter);
        assert_eq!(cells.each_ref().map(Cell::json), [32.into(), 0.000_05.into(), Value::from("relu")]);
        for form in [Cell::display, Cell::exact] {
            assert_eq!(cells.each_ref().map(form), ["32", "0.00005", "relu"]);
        }
    }

    #[test]
    fn no_rows_are_an_empty_document() {
        assert_eq!(render(Format::Json, &[]), "[]\n");
        assert_eq!(render(Format::Csv, &[]), "job,val_accuracy,reason\n");
        assert_eq!(render(Format::Name, &[]), "");
    }

    #[test]
    fn times_are_written_in_utc() {
        assert_eq!(Cell::Time(1_700_000_000_000).display(), "2023-11-14T22:13:20Z");
        assert_eq!(Cell::Time(u64::MAX).display(), "9999-12-31T23:59:59Z");
    }
}
