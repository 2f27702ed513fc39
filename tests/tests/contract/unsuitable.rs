//! Databases that a coordinator cannot use: one clear message for each, at the start.

use std::fs;

use store::{StoreError, open};
use tests::{PATIENCE, Postgres};

use super::pooler;

/// A database's name, and its URL for another user.
pub(super) fn name_of(url: &str) -> String {
    let (_, rest) = url.split_once("localhost/").unwrap();
    rest.split('?').next().unwrap().to_owned()
}

/// The message of a coordinator that is started on this database.
async fn refusal(url: &str) -> String {
    match open(url).await {
        Err(error @ StoreError::Unsuitable(_)) => error.to_string(),
        other => panic!("{url}: {other:?}"),
    }
}

#[tokio::test]
async fn databases_say_what_is_wrong_with_them_and_what_to_do() {
    let Some(server) = Postgres::shared() else { return };
    let usual = server.database();
    let name = name_of(&usual);
    let other = |sql: &str| {
        let url = server.database();
        server.psql("postgres", &sql.replace("NAME", &name_of(&url)));
        url
    };
    server.psql("postgres", "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0");
    let cases = [
        (usual.replace(&name, "latin"), ["LATIN1", "ENCODING 'UTF8'"]),
        (usual.replace(&name, "nowhere"), ["no database \"nowhere\"", "CREATE DATABASE nowhere"]),
        (
            other("ALTER DATABASE NAME SET default_transaction_read_only = on"),
            ["only be read", "name another"],
        ),
        (other("ALTER DATABASE NAME CONNECTION LIMIT 3"), ["it allows 3", "max_connections"]),
        (usual.replace("sweep@", "nobody_at_all@"), ["nobody_at_all", "check the name"]),
        ("postgres://sweep@127.0.0.1:1/x".to_owned(), ["127.0.0.1:1", "check that it runs"]),
    ];
    for (url, words) in cases {
        let said = refusal(&url).await;
        assert!(words.iter().all(|word| said.contains(word)), "{words:?}: {said}");
    }
}

#[tokio::test]
async fn a_user_who_may_not_make_tables_reads_that() {
    let Some(server) = Postgres::shared() else { return };
    let url = server.database();
    server.psql("postgres", "CREATE ROLE guest LOGIN");
    server.psql(&name_of(&url), "REVOKE CREATE ON SCHEMA public FROM PUBLIC");
    let said = refusal(&url.replace("sweep@", "guest@")).await;
    assert!(said.contains("\"guest\" may not make tables") && said.contains("GRANT CREATE"), "{said}");
}

#[tokio::test]
async fn a_wrong_password_is_reported() {
    let Some(server) = Postgres::shared() else { return };
    let url = server.database();
    server.psql("postgres", "CREATE ROLE locked LOGIN PASSWORD 'right'");
    let rules = server.data().join("pg_hba.conf");
    let open_to_all = fs::read_to_string(&rules).unwrap();
    fs::write(&rules, format!("local all locked scram-sha-256\n{open_to_all}")).unwrap();
    server.psql("postgres", "SELECT pg_reload_conf()");
    let told = async {
        // The server applies the new rules some time later; until then, it asks for no password.
        loop {
            match open(&url.replace("sweep@", "locked:wrong@")).await {
                Err(StoreError::Unsuitable(said)) if said.contains("password") => return said,
                _ => tokio::task::yield_now().await,
            }
        }
    };
    let said = tokio::time::timeout(PATIENCE, told).await.unwrap();
    assert!(said.contains("\"locked\"") && said.contains("correct it") && !said.contains("wrong"), "{said}");
}

#[tokio::test]
async fn a_pooler_that_gives_each_transaction_another_session_is_refused() {
    let Some(server) = Postgres::shared() else { return };
    let url = server.database();
    let folder = url.split_once("?host=").unwrap().1.into();
    let port = pooler::start(folder, &name_of(&url)).await;
    let said = refusal(&format!("postgres://sweep@127.0.0.1:{port}/{}", name_of(&url))).await;
    assert!(said.contains("transaction") && said.contains("pool_mode = session"), "{said}");
}
