//! A table as Parquet, written in groups of rows.

use std::{collections::BTreeMap, io::Write, mem, sync::Arc};

use parquet::{
    basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical},
    data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type},
    errors::ParquetError,
    file::{
        metadata::KeyValue,
        properties::WriterProperties,
        writer::{SerializedColumnWriter, SerializedFileWriter},
    },
    schema::types::Type,
};

use crate::{ExportError, space::EXACT_MAX};

/// Memory for the rows that are not written yet, in bytes: a group of rows, as readers take them.
const GROUP_BYTES: usize = 16 << 20;
/// The key of what a file says of its sweep.
const ABOUT: &str = "sweep";
/// The key of the columns that lack values, as an object of JSON: who gets the file alone is told by it.
pub(super) const LACKS: &str = "lacks_values";

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ColumnType {
    Boolean,
    Whole,
    Real,
    Text,
    /// Milliseconds since 1970, in UTC.
    Time,
}

/// A column of a table.
#[derive(Debug)]
pub(super) struct Column {
    name: String,
    of: ColumnType,
    is_required: bool,
}

/// A value for a column.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cell<'v> {
    Null,
    Boolean(bool),
    Signed(i64),
    Whole(u64),
    Real(f64),
    Text(&'v str),
}

/// The values of a column that are not written yet.
#[derive(Debug)]
enum Values {
    Boolean(Vec<bool>),
    Whole(Vec<i64>),
    Real(Vec<f64>),
    Text(Vec<ByteArray>),
}

#[derive(Debug)]
struct Waiting {
    name: String,
    is_required: bool,
    values: Values,
    /// For each row 1, or 0 where the value is null.
    levels: Vec<i16>,
    /// Values that the column's type does not have.
    unfit: u64,
}

/// A table that is being written.
pub(super) struct Table<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    columns: Vec<Waiting>,
    /// Roughly the memory that they take.
    bytes: usize,
}

impl Column {
    pub(super) fn required(name: &str, of: ColumnType) -> Self {
        Self { name: name.to_owned(), of, is_required: true }
    }

    pub(super) fn optional(name: &str, of: ColumnType) -> Self {
        Self { name: name.to_owned(), of, is_required: false }
    }

    fn schema(&self) -> Result<Arc<Type>, ParquetError> {
        let (physical, logical) = match self.of {
            ColumnType::Boolean => (Physical::BOOLEAN, None),
            ColumnType::Whole => (Physical::INT64, None),
            ColumnType::Real => (Physical::DOUBLE, None),
            ColumnType::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
            ColumnType::Time => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::MILLIS))),
        };
        let repetition = if self.is_required { Repetition::REQUIRED } else { Repetition::OPTIONAL };
        let column = Type::primitive_type_builder(&self.name, physical).with_repetition(repetition);
        Ok(Arc::new(column.with_logical_type(logical).build()?))
    }

    fn waiting(&self) -> Waiting {
        let values = match self.of {
            ColumnType::Boolean => Values::Boolean(Vec::new()),
            ColumnType::Whole | ColumnType::Time => Values::Whole(Vec::new()),
            ColumnType::Real => Values::Real(Vec::new()),
            ColumnType::Text => Values::Text(Vec::new()),
        };
        Waiting {
            name: self.name.clone(),
            is_required: self.is_required,
            values,
            levels: Vec::new(),
            unfit: 0,
        }
    }
}

impl<W: Write + Send> Table<W> {
    /// Begins one with these columns, which says `about` the sweep.
    pub(super) fn new(out: W, columns: &[Column], about: &str) -> Result<Self, ExportError> {
        let fields = columns.iter().map(Column::schema).collect::<Result<_, _>>()?;
        let schema = Arc::new(Type::group_type_builder("sweep").with_fields(fields).build()?);
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by("sweep".to_owned())
            .set_key_value_metadata(Some(vec![KeyValue::new(ABOUT.to_owned(), about.to_owned())]))
            .build();
        let writer = SerializedFileWriter::new(out, schema, Arc::new(properties))?;
        Ok(Self { writer, columns: columns.iter().map(Column::waiting).collect(), bytes: 0 })
    }

    /// Adds a row, with a cell for each column.
    pub(super) fn row<'v>(&mut self, cells: impl Iterator<Item = Cell<'v>>) -> Result<(), ExportError> {
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            self.bytes += column.push(cell);
        }
        if self.bytes >= GROUP_BYTES { self.write() } else { Ok(()) }
    }

    /// Writes the rows that wait.
    fn write(&mut self) -> Result<(), ExportError> {
        self.bytes = 0;
        let mut group = self.writer.next_row_group()?;
        let mut columns = self.columns.iter_mut();
        while let (Some(writer), Some(column)) = (group.next_column()?, columns.next()) {
            column.write(writer)?;
        }
        group.close()?;
        Ok(())
    }

    /// Writes what is left. Gives where it was written, and the columns that lack values which are not of their type, with how many.
    pub(super) fn finish(mut self) -> Result<(W, Vec<(String, u64)>), ExportError> {
        if self.bytes > 0 {
            self.write()?;
        }
        let unfit = mem::take(&mut self.columns).into_iter().filter(|column| column.unfit > 0);
        let unfit: Vec<(String, u64)> = unfit.map(|column| (column.name, column.unfit)).collect();
        if !unfit.is_empty() {
            let lacking: BTreeMap<&str, u64> =
                unfit.iter().map(|(name, values)| (name.as_str(), *values)).collect();
            let lacking = serde_json::to_string(&lacking).map_err(std::io::Error::from)?;
            self.writer.append_key_value_metadata(KeyValue::new(LACKS.to_owned(), lacking));
        }
        Ok((self.writer.into_inner()?, unfit))
    }
}

impl Table<Vec<u8>> {
    /// The bytes that were written since the last time.
    pub(super) fn take(&mut self) -> Result<Vec<u8>, ExportError> {
        self.writer.flush()?;
        Ok(mem::take(self.writer.inner_mut()))
    }
}

impl Waiting {
    /// Adds a value; roughly the memory that it takes.
    fn push(&mut self, cell: Cell<'_>) -> usize {
        let bytes = match (&mut self.values, cell) {
            (Values::Boolean(values), Cell::Boolean(value)) => pushed(values, value),
            (Values::Whole(values), Cell::Signed(value)) => pushed(values, value),
            (Values::Whole(values), Cell::Whole(value)) => {
                pushed(values, i64::try_from(value).unwrap_or(i64::MAX))
            }
            // A whole number that was written as a decimal.
            (Values::Whole(values), Cell::Real(value))
                if value.fract() == 0.0 && value.abs() <= EXACT_MAX as f64 =>
            {
                pushed(values, value as i64)
            }
            (Values::Real(values), Cell::Real(value)) => pushed(values, value),
            (Values::Real(values), Cell::Signed(value)) => pushed(values, value as f64),
            (Values::Text(values), Cell::Text(value)) => {
                values.push(ByteArray::from(value));
                size_of::<ByteArray>() + value.len()
            }
            (_, cell) => {
                self.unfit += u64::from(!matches!(cell, Cell::Null));
                self.levels.push(0);
                return size_of::<i16>();
            }
        };
        self.levels.push(1);
        bytes + size_of::<i16>()
    }

    fn write(&mut self, mut writer: SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        let levels = (!self.is_required).then_some(self.levels.as_slice());
        match &mut self.values {
            Values::Boolean(values) => {
                writer.typed::<BoolType>().write_batch(values, levels, None)?;
                values.clear();
            }
            Values::Whole(values) => {
                writer.typed::<Int64Type>().write_batch(values, levels, None)?;
                values.clear();
            }
            Values::Real(values) => {
                writer.typed::<DoubleType>().write_batch(values, levels, None)?;
                values.clear();
            }
            Values::Text(values) => {
                writer.typed::<ByteArrayType>().write_batch(values, levels, None)?;
                values.clear();
            }
        }
        self.levels.clear();
        writer.close()
    }
}

/// Adds a value; the memory that it takes.
fn pushed<T>(values: &mut Vec<T>, value: T) -> usize {
    values.push(value);
    size_of::<T>()
}

#[cfg(test)]
mod tests {
    use parquet::file::reader::{FileReader, SerializedFileReader};

    use super::*;

    fn says(cells: [Cell<'_>; 2]) -> Option<String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        let column = Column::optional("width", ColumnType::Whole);
        let mut table = Table::new(file.reopen().unwrap(), &[column], "{}").unwrap();
        cells.into_iter().for_each(|cell| table.row([cell].into_iter()).unwrap());
        table.finish().unwrap();
        let reader = SerializedFileReader::new(file.reopen().unwrap()).unwrap();
        let known = reader.metadata().file_metadata().key_value_metadata().unwrap();
        known.iter().find(|pair| pair.key == LACKS)?.value.clone()
    }

    #[test]
    fn a_file_says_which_of_its_columns_lack_values_of_another_type() {
        assert_eq!(says([Cell::Signed(1), Cell::Text("wide")]).as_deref(), Some(r#"{"width":1}"#));
        assert_eq!(says([Cell::Signed(1), Cell::Null]), None, "null is a value like others");
        assert_eq!(says([Cell::Signed(1), Cell::Real(32.0)]), None, "it is as whole as others");
        assert_eq!(says([Cell::Signed(1), Cell::Real(0.5)]).as_deref(), Some(r#"{"width":1}"#));
    }

    #[test]
    fn a_column_without_any_value_is_there_with_nulls() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let columns =
            [Column::required("job", ColumnType::Whole), Column::optional("loss", ColumnType::Real)];
        let mut table = Table::new(file.reopen().unwrap(), &columns, "{}").unwrap();
        [1, 2].into_iter().for_each(|job| table.row([Cell::Whole(job), Cell::Null].into_iter()).unwrap());
        table.finish().unwrap();
        let reader = SerializedFileReader::new(file.reopen().unwrap()).unwrap();
        let rows: Vec<String> =
            reader.get_row_iter(None).unwrap().map(|row| row.unwrap().to_string()).collect();
        assert_eq!(rows, ["{job: 1, loss: null}", "{job: 2, loss: null}"]);
    }
}
