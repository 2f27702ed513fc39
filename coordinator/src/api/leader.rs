//! A coordinator that leads on a store of its own, for the tests of the services.

use std::sync::Arc;

use engine::EngineConfig;
use store::{self, Store};
use tokio_util::sync::CancellationToken;

use crate::driver::{Driver, DriverHandle, Leadership, Role};

/// A new store in SQLite, which goes away with its folder.
pub(crate) async fn store() -> (Arc<dyn Store>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let store = store::open(&format!("sqlite:{}", folder.path().join("sweep.db").display())).await.unwrap();
    (store, folder)
}

/// A driver on a store, which runs until the test ends, with leases of 20 s.
pub(crate) async fn driver(store: &Arc<dyn Store>) -> DriverHandle {
    let config = EngineConfig::with_lease_ms(20_000);
    let (runs, driver) = Driver::restore(Arc::clone(store), config).await.unwrap();
    tokio::spawn(runs.run(CancellationToken::new()));
    driver
}

/// The leadership of a coordinator whose driver this is.
pub(crate) fn led_by(driver: &DriverHandle) -> Leadership {
    let leadership = Leadership::default();
    leadership.set(Role::Leading(driver.clone()));
    leadership
}
