//! The service that admins call to say who else may call, and workers for their certificates.

use std::time::Duration;

use domain::record::Token;
use engine::QuotaView;
use proto::v1::{self, access_service_server::AccessService};
use terms::Role;
use tonic::{Request, Response, Status};

use super::{
    auth::{caller, issuer},
    convert,
};
use crate::api::{Api, Enrolled, NewToken, QuotaChange};

/// Implements `AccessService`.
#[derive(Debug, Clone)]
pub struct AccessServer {
    api: Api,
}

impl AccessServer {
    /// A service of these use cases.
    pub fn new(api: Api) -> Self {
        Self { api }
    }
}

#[tonic::async_trait]
impl AccessService for AccessServer {
    async fn create_token(
        &self,
        request: Request<v1::CreateTokenRequest>,
    ) -> Result<Response<v1::CreateTokenResponse>, Status> {
        let issuer = issuer(&request);
        let request = request.into_inner();
        let role = role(request.role())?;
        let lasts = (request.lasts_ms > 0).then(|| Duration::from_millis(request.lasts_ms));
        let new = NewToken { role, name: request.name, lasts };
        // Before the token is made, which would be of no use.
        let authority_hash = match (request.join, role) {
            (false, _) => String::new(),
            (true, Role::Worker) => self.api.authority_hash()?,
            (true, _) => {
                return Err(Status::invalid_argument("only a worker joins; its token has the role worker"));
            }
        };
        let (token, secret) = self.api.create_token(issuer, new).await?;
        Ok(Response::new(v1::CreateTokenResponse { token: Some(shown(token)), secret, authority_hash }))
    }

    async fn list_tokens(
        &self,
        _: Request<v1::ListTokensRequest>,
    ) -> Result<Response<v1::ListTokensResponse>, Status> {
        let tokens = self.api.tokens()?.into_iter().map(shown).collect();
        Ok(Response::new(v1::ListTokensResponse { tokens }))
    }

    async fn enrol(&self, request: Request<v1::EnrolRequest>) -> Result<Response<v1::EnrolResponse>, Status> {
        let caller = caller(&request);
        let v1::EnrolRequest { worker, request } = request.into_inner();
        let worker = convert::worker_name(&worker)?;
        let Enrolled { certificate, authority, lasts } = self.api.enrol(&caller, &worker, &request)?;
        let lasts_ms = u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX);
        Ok(Response::new(v1::EnrolResponse { certificate, authority, lasts_ms }))
    }

    async fn revoke_token(
        &self,
        request: Request<v1::RevokeTokenRequest>,
    ) -> Result<Response<v1::Token>, Status> {
        let issuer = issuer(&request);
        Ok(Response::new(shown(self.api.revoke_token(issuer, &request.into_inner().id).await?)))
    }

    async fn set_quota(&self, request: Request<v1::SetQuotaRequest>) -> Result<Response<v1::Quota>, Status> {
        let issuer = issuer(&request);
        let v1::SetQuotaRequest { owner, slots, weight } = request.into_inner();
        let (quota, is_known) = self.api.set_quota(issuer, QuotaChange { owner, slots, weight }).await?;
        Ok(Response::new(v1::Quota { owner_unknown: !is_known, ..shown_quota(quota) }))
    }

    async fn list_quotas(
        &self,
        _: Request<v1::ListQuotasRequest>,
    ) -> Result<Response<v1::ListQuotasResponse>, Status> {
        let quotas = self.api.quotas().await?.into_iter().map(shown_quota).collect();
        Ok(Response::new(v1::ListQuotasResponse { quotas }))
    }

    async fn remove_quota(
        &self,
        request: Request<v1::RemoveQuotaRequest>,
    ) -> Result<Response<v1::Quota>, Status> {
        let issuer = issuer(&request);
        let quota = self.api.remove_quota(issuer, request.into_inner().owner).await?;
        Ok(Response::new(shown_quota(quota)))
    }
}

fn shown_quota(view: QuotaView) -> v1::Quota {
    let QuotaView { quota, slots, has_sweeps: _ } = view;
    v1::Quota {
        owner: quota.owner,
        slots: quota.slots,
        weight: quota.weight,
        slots_held: slots,
        set_unix_ms: quota.set_unix_ms,
        set_by: quota.set_by,
        owner_unknown: false,
    }
}

fn role(role: v1::Role) -> Result<Role, Status> {
    Ok(match role {
        v1::Role::Viewer => Role::Viewer,
        v1::Role::Worker => Role::Worker,
        v1::Role::Submitter => Role::Submitter,
        v1::Role::Admin => Role::Admin,
        v1::Role::Unspecified => {
            return Err(Status::invalid_argument("a token has a role: viewer, worker, submitter or admin"));
        }
    })
}

fn shown(token: Token) -> v1::Token {
    let role = match token.role {
        Role::Viewer => v1::Role::Viewer,
        Role::Worker => v1::Role::Worker,
        Role::Submitter => v1::Role::Submitter,
        Role::Admin => v1::Role::Admin,
    };
    v1::Token {
        id: token.id,
        name: token.name,
        role: role.into(),
        created_unix_ms: token.created_unix_ms,
        created_by: token.created_by,
        expires_unix_ms: token.expires_unix_ms.unwrap_or(0),
        revoked_unix_ms: token.revoked_unix_ms.unwrap_or(0),
    }
}
