//! `sweep ls`: the sweeps of a coordinator, newest first.

use proto::v1;
use terminal::output;

use super::{
    client::Target,
    failure::Failure,
    inspect::PAGE_ROWS,
    output::{Cell, Format, Printer, count},
    tables::{sweep_row, telling_columns},
};
use crate::shapes;

/// Sweeps that are shown to people.
const SWEEPS_SHOWN: u64 = 100;

/// Arguments of `sweep ls`.
#[derive(Debug, clap::Args)]
pub(super) struct LsArguments {
    /// Show at most this many [default: 100 as a table, all in the other forms]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

/// `sweep ls`.
pub(super) async fn ls(arguments: &LsArguments, target: &Target, format: Format) -> Result<(), Failure> {
    let limit_default = if format == Format::Table { SWEEPS_SHOWN } else { u64::MAX };
    let (mut left, mut page_token) = (arguments.limit.unwrap_or(limit_default), String::new());
    let mut list = SweepList::new(format);
    loop {
        let page_size = u32::try_from(left).unwrap_or(PAGE_ROWS).min(PAGE_ROWS);
        let request = v1::ListSweepsRequest { page_size, page_token };
        let page = target.call(async |client| client.list_sweeps(request.clone()).await).await?;
        list.take(&page.sweeps)?;
        left = left.saturating_sub(page.sweeps.len() as u64);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return list.finish();
        }
        if left == 0 {
            list.finish()?;
            // Sweeps are numbered from 1 without gaps, newest first.
            let more = page.sweeps.last().map_or(0, |oldest| oldest.sweep_id.saturating_sub(1));
            if more == 0 {
                return Ok(());
            }
            output::say(&format!("… and {}; --limit N shows N sweeps", count(more, "older one")));
            return Ok(());
        }
    }
}

/// The list of `sweep ls`. A table has the columns that say something of any of its sweeps, so it is printed once all are there; other
/// forms have all columns, and are printed page by page.
struct SweepList {
    printer: Printer,
    /// Of a table: its rows, and which columns say something.
    table: Option<(Vec<Vec<Cell>>, Vec<bool>)>,
}

impl SweepList {
    fn new(format: Format) -> Self {
        let columns = sweep_row(&v1::Sweep::default()).0;
        let table = (format == Format::Table).then(|| (Vec::new(), vec![false; columns.len()]));
        Self { printer: Printer::new(format, columns), table }
    }

    fn take(&mut self, sweeps: &[v1::Sweep]) -> Result<(), Failure> {
        let row = |sweep: &v1::Sweep| sweep_row(sweep).1;
        let Some((rows, shown)) = &mut self.table else {
            return self.printer.page_of(sweeps, row, shapes::listed);
        };
        rows.extend(sweeps.iter().map(row));
        for (shown, tells) in shown.iter_mut().zip(telling_columns(sweeps)) {
            *shown |= tells;
        }
        Ok(())
    }

    fn finish(self) -> Result<(), Failure> {
        let Some(table) = self.table else { return self.printer.finish() };
        let (columns, rows) = telling(table);
        let mut printer = Printer::new(Format::Table, columns);
        printer.page(&rows)?;
        printer.finish()
    }
}

/// The columns of a table that say something, and its rows without the others.
fn telling((rows, shown): (Vec<Vec<Cell>>, Vec<bool>)) -> (Vec<String>, Vec<Vec<Cell>>) {
    let columns = only(&shown, sweep_row(&v1::Sweep::default()).0);
    (columns, rows.into_iter().map(|row| only(&shown, row)).collect())
}

/// Those that are shown.
fn only<T>(shown: &[bool], all: Vec<T>) -> Vec<T> {
    all.into_iter().zip(shown).filter_map(|(one, shown)| shown.then_some(one)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_the_columns_that_say_something_of_any_page() {
        let mut list = SweepList::new(Format::Table);
        let newer = v1::Sweep { sweep_id: 2, ..v1::Sweep::default() };
        let older = v1::Sweep { sweep_id: 1, owner: "ann".to_owned(), priority: 7, ..v1::Sweep::default() };
        for page in [[newer], [older]] {
            list.take(&page).unwrap();
        }
        let (columns, rows) = telling(list.table.unwrap());
        for (column, value) in [
            ("owner", Cell::Text("ann".to_owned())),
            ("priority", Cell::Parameter(terms::ParameterValue::Integer(7))),
        ] {
            let place = columns.iter().position(|one| one == column).unwrap();
            assert_eq!(rows[1][place], value);
        }
        assert!(columns.iter().all(|column| !column.starts_with("owner_")), "{columns:?}");
        assert!(rows.iter().all(|row| row.len() == columns.len()), "{rows:?}");
    }
}
