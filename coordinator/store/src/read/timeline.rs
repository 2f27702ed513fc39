//! Which attempts ran in a span of time.

use terms::{JobKey, SweepId};

use super::{
    super::{
        AttemptRow, AttemptsAsked, StoreError,
        cells::{natural, number},
        tables,
    },
    Queries, select,
    shown::{asked, attempt_row},
};

/// Rows read at a time: each may have some ten kilobytes of a trainer's last lines.
const READ_AT_A_TIME: usize = 200;

/// See [`crate::Store::attempts_between`].
pub(in super::super) async fn attempts_between(
    connection: &mut impl Queries,
    question: AttemptsAsked,
) -> Result<Vec<(JobKey, AttemptRow)>, StoreError> {
    let keys = keys(connection, question).await?;
    let mut rows = Vec::with_capacity(keys.len() / 3);
    for keys in keys.chunks(3 * READ_AT_A_TIME) {
        let places =
            (0..keys.len() / 3).map(|key| format!("(${}, ${}, ${})", 3 * key + 1, 3 * key + 2, 3 * key + 3));
        let places = places.collect::<Vec<_>>().join(", ");
        let those = format!(
            "WHERE (sweep_id, job, attempt) IN (VALUES {places}) ORDER BY granted_unix_ms DESC, sweep_id DESC, job DESC, \
             attempt DESC"
        );
        for row in select::<_, tables::Attempt>(connection, &those, keys).await? {
            let sweep = SweepId(number(row.sweep_id, "sweep_id")?);
            let job = JobKey { sweep, job: number(row.job, "job")? };
            // No one asks for the last lines of thousands of trainers.
            rows.push((job, AttemptRow { log_tail: Vec::new(), ..attempt_row(row)? }));
        }
    }
    Ok(rows)
}

/// Sweep, job and attempt of each, those that began last first, from the index alone.
async fn keys(connection: &mut impl Queries, question: AttemptsAsked) -> Result<Vec<i64>, StoreError> {
    let AttemptsAsked { sweep, since_unix_ms, until_unix_ms, limit } = question;
    let mut numbers = vec![asked(since_unix_ms), asked(until_unix_ms), limit.into()];
    numbers.extend(sweep.map(|sweep| asked(sweep.0)));
    let mut keys = Vec::new();
    for row in &connection.rows(query(sweep.is_some()), &numbers).await? {
        for column in ["sweep_id", "job", "attempt"] {
            keys.push(natural::<i64>(row, column)?);
        }
    }
    Ok(keys)
}

/// Since when, until when, how many, and (`of_sweep`) of which sweep are its numbers.
fn query(of_sweep: bool) -> String {
    // The sign keeps databases from going through all attempts of a sweep instead.
    let of_sweep = if of_sweep { " AND +sweep_id = $4" } else { "" };
    let those = |end: &str| {
        format!(
            "SELECT sweep_id, job, attempt, granted_unix_ms FROM attempts \
             WHERE {end} AND granted_unix_ms < $2{of_sweep}"
        )
    };
    format!(
        "SELECT sweep_id, job, attempt FROM ({} UNION ALL {}) AS found \
         ORDER BY granted_unix_ms DESC, sweep_id DESC, job DESC, attempt DESC LIMIT $3",
        those("ended_unix_ms IS NULL"),
        those("ended_unix_ms >= $1")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SqliteStore, Store};

    #[tokio::test]
    async fn a_span_of_time_is_found_in_an_index_without_the_rows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sweep.db");
        SqliteStore::open(&path).await.unwrap().close().await;
        let database = rusqlite::Connection::open(&path).unwrap();
        for of_sweep in [false, true] {
            let mut plan = database.prepare(&format!("EXPLAIN QUERY PLAN {}", query(of_sweep))).unwrap();
            let numbers = rusqlite::params_from_iter(1..=if of_sweep { 4 } else { 3 });
            let steps = plan.query_map(numbers, |row| row.get::<_, String>("detail"));
            let steps: Vec<String> = steps.unwrap().map(Result::unwrap).collect();
            let searched: Vec<&String> = steps.iter().filter(|step| step.contains(" attempts ")).collect();
            assert_eq!(searched.len(), 2, "{steps:?}");
            assert!(searched.iter().all(|step| step.contains("COVERING INDEX attempts_by_end")), "{steps:?}");
        }
    }
}
