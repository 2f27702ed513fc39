//! What a database went through: triggers of its own keep each row that is written, in order.

use std::{path::Path, process::Command};

use serde_json::Value;

use super::ledger::{Attempt, Change, Job, Rung};
use crate::Postgres;

/// Has the database at `path`, which no coordinator has open, keep what is written from now on.
///
/// # Panics
/// It cannot.
pub(super) fn keep(path: &Path) {
    let script = "import sqlite3, sys\n\
                  store = sqlite3.connect(sys.argv[1])\n\
                  columns = {'jobs': ['job', 'state', 'epochs_done', 'rungs'],\n\
                  'attempts': ['job', 'attempt', 'worker', 'slot', 'pack_size', 'started', 'resumed_epochs', 'state'],\n\
                  'epochs': ['job', 'attempt', 'epoch']}\n\
                  store.execute('CREATE TABLE audit (number INTEGER PRIMARY KEY, change TEXT NOT NULL)')\n\
                  for table, names in columns.items():\n\
                  \x20 values = ', '.join(f\"'{name}', NEW.{name}\" for name in names)\n\
                  \x20 for how in ['INSERT', 'UPDATE']:\n\
                  \x20   store.execute(f\"CREATE TRIGGER {table}_{how} AFTER {how} ON {table} BEGIN \"\n\
                  \x20     f\"INSERT INTO audit (change) VALUES (json_object('table', '{table}', 'how', '{how}', {values})); END\")\n\
                  store.commit()\n";
    python(script, path);
}

/// Every row that was written since, in order.
///
/// # Panics
/// It cannot be read.
pub(super) fn read(path: &Path) -> Vec<Change> {
    let script = "import sqlite3, sys\n\
                  store = sqlite3.connect(sys.argv[1])\n\
                  for (change,) in store.execute('SELECT change FROM audit ORDER BY number'):\n\
                  \x20 print(change)\n";
    changes(&python(script, path))
}

fn changes(printed: &str) -> Vec<Change> {
    let change = |line: &str| {
        let row: Value = serde_json::from_str(line).ok()?;
        self::change(&row)
    };
    printed.lines().map(|line| change(line).unwrap_or_else(|| panic!("{line}"))).collect()
}

/// As [`keep`], of a database of this server.
pub(super) fn keep_in(server: &Postgres, database: &str) {
    let script = "CREATE TABLE audit (number BIGSERIAL PRIMARY KEY, change JSONB NOT NULL,
            commit BIGINT NOT NULL DEFAULT txid_current());
        CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO audit (change)
                VALUES (to_jsonb(NEW) || jsonb_build_object('table', TG_TABLE_NAME, 'how', TG_OP));
            RETURN NULL; END $$;
        CREATE TRIGGER audit AFTER INSERT OR UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION audit();
        CREATE TRIGGER audit AFTER INSERT OR UPDATE ON attempts FOR EACH ROW EXECUTE FUNCTION audit();
        CREATE TRIGGER audit AFTER INSERT OR UPDATE ON epochs FOR EACH ROW EXECUTE FUNCTION audit();";
    server.psql(database, script);
}

/// As [`read`], of a database of this server. A commit is one statement there, whose tables are written in any order: they come in
/// that of references, new ones first, as with SQLite.
pub(super) fn read_from(server: &Postgres, database: &str) -> Vec<Change> {
    let query = "SELECT change FROM audit ORDER BY min(number) OVER (PARTITION BY commit), \
                 array_position(ARRAY['jobs', 'attempts', 'epochs'], change->>'table'), change->>'how', number";
    changes(&server.psql(database, query))
}

fn python(script: &str, path: &Path) -> String {
    let output = Command::new("python3").args(["-c", script]).arg(path).output().expect("python3 is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn change(row: &Value) -> Option<Change> {
    let is_new = row["how"] == "INSERT";
    let number = |name: &str| row[name].as_u64();
    let small = |name: &str| number(name).and_then(|number| u32::try_from(number).ok());
    let text = |name: &str| row[name].as_str().map(str::to_owned);
    let job = number("job")?;
    Some(match row["table"].as_str()? {
        "jobs" => {
            let rungs = row["rungs"].as_str().unwrap_or_default();
            let rungs = rungs.split(',').filter(|part| !part.is_empty()).map(rung).collect::<Option<_>>()?;
            let row = Job { state: text("state")?, epochs_done: small("epochs_done")?, rungs };
            Change::Job { is_new, job, row }
        }
        "attempts" => {
            let row = Attempt {
                slot: (text("worker")?, small("slot")?),
                pack_size: small("pack_size").unwrap_or(1) as usize,
                // SQLite has no booleans.
                started: row["started"].as_bool().unwrap_or(row["started"] == 1),
                resumed: small("resumed_epochs")?,
                state: text("state")?,
            };
            Change::Attempt { is_new, key: (job, small("attempt")?), row }
        }
        _ => Change::Epoch { key: (job, small("attempt")?), epoch: small("epoch")? },
    })
}

/// A part of the column `rungs`, such as `3:0.75>`.
fn rung(part: &str) -> Option<Rung> {
    let (epoch, value) = part.split_once(':')?;
    let (value, goes_on) = value.strip_suffix('>').map_or((value, false), |value| (value, true));
    Some(Rung { epoch: epoch.parse().ok()?, value: value.parse().ok()?, goes_on })
}
