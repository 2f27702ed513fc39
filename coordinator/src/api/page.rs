//! Pages of long lists. The token of a page is the name of where it begins: a number, or the name of a worker.

use terms::WorkerName;

use super::ApiError;

/// Rows of a page where the caller does not say, and at most.
const PAGE_ROWS_DEFAULT: u32 = 100;
pub const PAGE_ROWS_MAX: u32 = 1_000;
/// Largest number that a column of a store holds.
const NUMBER_MAX: u64 = i64::MAX as u64;

/// Which page of a list is asked for.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Rows, at most 1,000; 0 for as many as is usual for the list.
    pub rows: u32,
    /// What came with the page before; empty for the first.
    pub token: String,
}

impl Page {
    /// How many rows it has at most.
    pub(super) fn limit(&self) -> Result<u32, ApiError> {
        self.limit_or(PAGE_ROWS_DEFAULT)
    }

    /// The same where `usual` are usual.
    pub(super) fn limit_or(&self, usual: u32) -> Result<u32, ApiError> {
        match self.rows {
            0 => Ok(usual),
            rows @ 1..=PAGE_ROWS_MAX => Ok(rows),
            rows => Err(ApiError::Invalid(format!("a page has 1 to {PAGE_ROWS_MAX} rows, not {rows}"))),
        }
    }

    /// The number at which it begins; none for the first.
    pub(super) fn number(&self) -> Result<Option<u64>, ApiError> {
        if self.token.is_empty() {
            return Ok(None);
        }
        let number = self.token.parse().ok().filter(|number| *number <= NUMBER_MAX);
        number.map(Some).ok_or_else(foreign_token)
    }

    /// The worker after which it begins; none for the first.
    pub(super) fn worker(&self) -> Result<Option<WorkerName>, ApiError> {
        let worker = (!self.token.is_empty()).then(|| self.token.parse()).transpose();
        worker.map_err(|_| foreign_token())
    }
}

/// The token of the page that begins there; empty where there is none.
pub(crate) fn token(next: Option<u64>) -> String {
    next.map(|next| next.to_string()).unwrap_or_default()
}

/// A token that no page came with.
fn foreign_token() -> ApiError {
    ApiError::Invalid(
        "the page token is not one of this service; ask for the first page without one".to_owned(),
    )
}
