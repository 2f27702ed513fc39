//! Who may call what: one table for gRPC and one for HTTP. A call that is in neither is let through to no one.

use std::{collections::HashMap, sync::LazyLock};

use terms::Role::{self, Admin, Submitter, Viewer, Worker};

/// Who may call something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Everyone, also who shows no token.
    Anyone,
    /// Who has one of these roles.
    Roles(&'static [Role]),
}

/// What shows how things are.
const LOOK: Who = Who::Roles(&[Viewer, Submitter, Admin]);
/// What submits sweeps and changes them; the engine then asks whose the sweep is.
const CHANGE: Who = Who::Roles(&[Submitter, Admin]);
/// What a worker does.
const WORK: Who = Who::Roles(&[Worker, Admin]);
/// Files of programs, which workers run and people look at.
const FETCH: Who = Who::Roles(&[Viewer, Worker, Submitter, Admin]);
/// What gives a worker its certificate, which is of the token that it shows: an admin's is no worker's.
const ENROL: Who = Who::Roles(&[Worker]);
/// What concerns others.
const RULE: Who = Who::Roles(&[Admin]);

/// Each method of each gRPC service.
#[rustfmt::skip]
pub const CALLS: &[(&str, Who)] = &[
    ("/grpc.health.v1.Health/Check", Who::Anyone),
    ("/grpc.health.v1.Health/Watch", Who::Anyone),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", FETCH),
    ("/sweep.v1.AccessService/CreateToken", RULE),
    ("/sweep.v1.AccessService/Enrol", ENROL),
    ("/sweep.v1.AccessService/ListTokens", RULE),
    ("/sweep.v1.AccessService/RevokeToken", RULE),
    ("/sweep.v1.AccessService/SetQuota", RULE),
    ("/sweep.v1.AccessService/ListQuotas", LOOK),
    ("/sweep.v1.AccessService/RemoveQuota", RULE),
    ("/sweep.v1.SweepService/Validate", LOOK),
    ("/sweep.v1.SweepService/Submit", CHANGE),
    ("/sweep.v1.SweepService/PutSnapshot", CHANGE),
    ("/sweep.v1.SweepService/PutContents", CHANGE),
    ("/sweep.v1.SweepService/GetSweep", LOOK),
    ("/sweep.v1.SweepService/ListSweeps", LOOK),
    ("/sweep.v1.SweepService/WatchSweep", LOOK),
    ("/sweep.v1.SweepService/ListJobs", LOOK),
    ("/sweep.v1.SweepService/GetJob", LOOK),
    ("/sweep.v1.SweepService/PauseSweep", CHANGE),
    ("/sweep.v1.SweepService/ResumeSweep", CHANGE),
    ("/sweep.v1.SweepService/SetSweep", CHANGE),
    ("/sweep.v1.SweepService/RetrySweep", CHANGE),
    ("/sweep.v1.SweepService/StopSweep", CHANGE),
    ("/sweep.v1.SweepService/CancelSweep", CHANGE),
    ("/sweep.v1.SweepService/FollowSearch", LOOK),
    ("/sweep.v1.SweepService/ProposePoints", CHANGE),
    ("/sweep.v1.SweepService/VerifySearch", LOOK),
    ("/sweep.v1.SweepService/DrainWorker", RULE),
    ("/sweep.v1.SweepService/ListWorkers", LOOK),
    ("/sweep.v1.SweepService/ReportRows", LOOK),
    ("/sweep.v1.SweepService/ListArtifacts", LOOK),
    ("/sweep.v1.SweepService/GetArtifact", LOOK),
    ("/sweep.v1.WorkerService/Session", WORK),
    ("/sweep.v1.WorkerService/Weights", WORK),
    ("/sweep.v1.WorkerService/HandOverCheckpoint", WORK),
    ("/sweep.v1.WorkerService/GetCheckpoint", WORK),
    ("/sweep.v1.WorkerService/GetSnapshot", FETCH),
    ("/sweep.v1.WorkerService/GetContents", FETCH),
];

/// Each route of the HTTP interface, by its method (HEAD counts as GET).
#[rustfmt::skip]
pub const ROUTES: &[(&str, &str, Who)] = &[
    ("GET", "/", LOOK),
    ("GET", "/sweeps/{sweep}", LOOK),
    ("GET", "/sweeps/{sweep}/jobs/{job}", LOOK),
    ("GET", "/workers", LOOK),
    ("GET", "/compare", LOOK),
    ("GET", "/login", Who::Anyone),
    ("POST", "/login", Who::Anyone),
    ("POST", "/logout", Who::Anyone),
    ("GET", "/assets/{version}/{*name}", Who::Anyone),
    ("GET", "/api/v1/openapi.json", LOOK),
    ("GET", "/api/v1/sweeps", LOOK),
    ("POST", "/api/v1/sweeps", CHANGE),
    ("GET", "/api/v1/sweeps/events", LOOK),
    ("GET", "/api/v1/sweeps/{sweep}", LOOK),
    ("POST", "/api/v1/sweeps/{sweep}/retry", CHANGE),
    ("POST", "/api/v1/sweeps/{sweep}/{action}", CHANGE),
    ("GET", "/api/v1/sweeps/{sweep}/analysis", LOOK),
    ("GET", "/api/v1/sweeps/{sweep}/columns", LOOK),
    ("GET", "/api/v1/sweeps/{sweep}/curves", LOOK),
    ("GET", "/api/v1/sweeps/{sweep}/events", LOOK),
    ("GET", "/api/v1/sweeps/{sweep}/export", LOOK),
    ("GET", "/api/v1/sweeps/{sweep}/rungs", LOOK),
    ("GET", "/api/v1/sweeps/{sweep}/table", LOOK),
    ("GET", "/api/v1/sweeps/{sweep}/jobs", LOOK),
    ("GET", "/api/v1/sweeps/{sweep}/jobs/{job}", LOOK),
    ("GET", "/api/v1/sweeps/{sweep}/jobs/{job}/logs", LOOK),
    ("GET", "/api/v1/sweeps/{sweep}/jobs/{job}/artifacts", LOOK),
    ("GET", "/api/v1/sweeps/{sweep}/jobs/{job}/artifacts/{name}", LOOK),
    ("POST", "/api/v1/sweeps/{sweep}/jobs/{job}/retry", CHANGE),
    ("POST", "/api/v1/sweeps/{sweep}/jobs/{job}/{action}", CHANGE),
    ("GET", "/api/v1/compare", LOOK),
    ("GET", "/api/v1/timeline", LOOK),
    ("GET", "/api/v1/workers", LOOK),
    ("GET", "/api/v1/workers/events", LOOK),
    ("POST", "/api/v1/workers/{worker}/drain", RULE),
];

static BY_CALL: LazyLock<HashMap<&str, Who>> = LazyLock::new(|| CALLS.iter().copied().collect());
static BY_ROUTE: LazyLock<HashMap<(&str, &str), Who>> =
    LazyLock::new(|| ROUTES.iter().map(|(method, route, who)| ((*method, *route), *who)).collect());

/// Who may call this gRPC method, `/PACKAGE.SERVICE/METHOD`; no one where it is not in the table.
pub fn call(path: &str) -> Who {
    BY_CALL.get(path).copied().unwrap_or(Who::Roles(&[]))
}

/// The methods that a route takes.
pub fn methods(route: &str) -> impl Iterator<Item = &'static str> {
    ROUTES.iter().filter(move |(_, known, _)| *known == route).map(|(method, ..)| *method)
}

/// Who may use this route; an address that none leads to tells those who may look that there is nothing.
pub fn route(method: &str, route: Option<&str>) -> Who {
    let Some(route) = route else { return LOOK };
    let method = if method == "HEAD" { "GET" } else { method };
    let known = BY_ROUTE.get(&(method, route)).copied();
    // With another method, the route itself says which it has.
    let has_route = || ROUTES.iter().any(|(_, other, _)| *other == route);
    known.unwrap_or_else(|| if has_route() { RULE } else { Who::Roles(&[]) })
}

impl Who {
    /// Whether someone of this role is among them; none for who shows no token.
    pub fn has(self, role: Option<Role>) -> bool {
        match self {
            Self::Anyone => true,
            Self::Roles(roles) => role.is_some_and(|role| roles.contains(&role)),
        }
    }

    /// The roles, for people.
    pub fn words(self) -> String {
        match self {
            Self::Anyone => "anyone".to_owned(),
            Self::Roles(roles) => roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(" or "),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_no_table_is_for_no_one() {
        for role in [None, Some(Viewer), Some(Worker), Some(Submitter), Some(Admin)] {
            assert!(!call("/sweep.v1.SweepService/Explode").has(role), "{role:?}");
            assert!(!route("GET", Some("/metrics-of-no-one")).has(role), "{role:?}");
        }
        assert!(call("/grpc.health.v1.Health/Check").has(None));
        assert!(route("HEAD", Some("/")).has(Some(Viewer)) && !route("POST", Some("/")).has(Some(Viewer)));
    }

    #[test]
    fn each_call_and_each_route_is_there_once() {
        assert_eq!((BY_CALL.len(), BY_ROUTE.len()), (CALLS.len(), ROUTES.len()));
    }
}
