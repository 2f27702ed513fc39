//! How PostgreSQL finds rows. It plans the check of a reference once per session, often while the tables are still
//! empty; a plan that reads all jobs of a sweep makes each commit slower than the one before.

use store::open;
use tests::Postgres;

use super::unsuitable::name_of;

#[tokio::test]
async fn references_are_checked_by_primary_key_also_when_planned_on_empty_tables() {
    let Some(server) = Postgres::shared() else { return };
    let url = server.database();
    open(&url).await.unwrap();
    let database = name_of(&url);
    let referred_to = server.psql(
        &database,
        "SELECT DISTINCT confrelid::regclass || ' ' || (SELECT string_agg(attname, ' ' ORDER BY place) \
         FROM unnest(confkey) WITH ORDINALITY AS key(number, place) \
         JOIN pg_attribute ON attrelid = confrelid AND attnum = number) FROM pg_constraint WHERE contype = 'f'",
    );
    assert!(referred_to.lines().count() >= 3, "{referred_to}");
    for key in referred_to.lines() {
        let (table, columns) = key.split_once(' ').unwrap();
        let numbers = 1..=columns.split(' ').count();
        let conditions: Vec<String> =
            columns.split(' ').zip(numbers.clone()).map(|(column, n)| format!("{column} = ${n}")).collect();
        let (kinds, values): (Vec<_>, Vec<_>) = numbers.map(|_| ("bigint", "1")).unzip();
        // The query that the server runs for each row that refers to this table.
        let plan = server.psql(
            &database,
            &format!(
                "SET plan_cache_mode = force_generic_plan; PREPARE referred({}) AS SELECT 1 FROM ONLY {table} x \
                 WHERE {} FOR KEY SHARE OF x; EXPLAIN EXECUTE referred({})",
                kinds.join(", "),
                conditions.join(" AND "),
                values.join(", ")
            ),
        );
        assert!(plan.contains(&format!("using {table}_pkey")), "{key}: {plan}");
    }
}
