//! Whether this coordinator leads: services ask here for the driver at each call.

use std::sync::Arc;

use engine::{Command, Issuer, Query};
use tokio::sync::watch;

use super::{CallError, DriverHandle};

/// What a coordinator is for those who call it.
#[derive(Debug, Clone)]
pub enum Role {
    /// Another coordinator leads, or none; the address of the leader where it is known.
    Following(Option<String>),
    /// This coordinator leads.
    Leading(DriverHandle),
}

/// The way to the driver; cheap to clone.
#[derive(Debug, Clone)]
pub struct Leadership {
    role: watch::Receiver<Role>,
    // Kept so that readers still see the last role.
    sender: Arc<watch::Sender<Role>>,
}

impl Default for Leadership {
    fn default() -> Self {
        let (sender, role) = watch::channel(Role::Following(None));
        Self { role, sender: Arc::new(sender) }
    }
}

impl Leadership {
    /// Changes the role.
    pub fn set(&self, role: Role) {
        self.sender.send_replace(role);
    }

    /// What it is now.
    pub fn role(&self) -> Role {
        self.role.borrow().clone()
    }

    /// The driver, if this coordinator leads.
    pub fn driver(&self) -> Result<DriverHandle, CallError> {
        match &*self.role.borrow() {
            Role::Leading(driver) => Ok(driver.clone()),
            Role::Following(leader) => Err(CallError::NotLeading(leader.clone())),
        }
    }

    /// [`DriverHandle::command`] of the driver that leads now. What users ask for is accounted for in the log, under the target `audit`.
    ///
    /// # Errors
    /// As there; or another coordinator leads.
    pub async fn command<C: Command>(&self, issuer: Issuer, command: C) -> Result<C::Answer, CallError> {
        let Some(what) = command.deed() else { return self.driver()?.command(issuer, command).await };
        let answer = match self.driver() {
            Ok(driver) => driver.command(issuer.clone(), command).await,
            Err(error) => Err(error),
        };
        let (who, from, token) = (issuer.to_string(), issuer.place(), issuer.token());
        match &answer {
            Ok(_) => tracing::info!(target: "audit", who, from, token, what, result = "done", "changed"),
            Err(error) => {
                tracing::info!(target: "audit", who, from, token, what, result = %error, "not changed");
            }
        }
        answer
    }

    /// [`DriverHandle::query`] of the driver that leads now.
    ///
    /// # Errors
    /// As there; or another coordinator leads.
    pub async fn query<Q: Query>(&self, query: Q) -> Result<Q::Answer, CallError> {
        self.driver()?.query(query).await
    }

    /// [`DriverHandle::query_engine`] of the driver that leads now.
    ///
    /// # Errors
    /// As there; or another coordinator leads.
    pub async fn query_engine<Q: Query>(&self, query: Q) -> Result<Q::Answer, CallError> {
        self.driver()?.query_engine(query).await
    }

    /// Resolves when it is known who leads.
    pub async fn decided(&self) {
        let known = |role: &Role| !matches!(role, Role::Following(None));
        // It cannot fail: the sender lives as long as this does.
        let _ = self.role.clone().wait_for(known).await;
    }
}
