//! Quotas as rows, and back.

use domain::record::Quota;

use super::{
    StoreError,
    cells::{integer, number},
    read::{Queries, select},
    tables::{self, text},
};

/// The row of a quota.
pub(super) fn row(quota: &Quota) -> Result<tables::Quota, StoreError> {
    Ok(tables::Quota {
        owner: text(&quota.owner)?,
        slots: quota.slots.map(i64::from),
        weight: quota.weight.into(),
        set_unix_ms: integer(quota.set_unix_ms)?,
        set_by: text(&quota.set_by)?,
    })
}

/// All quotas, in the order of their owners.
pub(super) async fn read<Q: Queries>(connection: &mut Q) -> Result<Vec<Quota>, StoreError> {
    let rows: Vec<tables::Quota> = select(connection, "ORDER BY owner", &[]).await?;
    let mut quotas = rows.into_iter().map(quota).collect::<Result<Vec<_>, _>>()?;
    // Databases order texts each in its own way.
    quotas.sort_by(|a, b| a.owner.cmp(&b.owner));
    Ok(quotas)
}

fn quota(row: tables::Quota) -> Result<Quota, StoreError> {
    Ok(Quota {
        slots: row.slots.map(|slots| number(slots, "slots")).transpose()?,
        weight: number(row.weight, "weight")?,
        set_unix_ms: number(row.set_unix_ms, "set_unix_ms")?,
        owner: row.owner.into_owned(),
        set_by: row.set_by.into_owned(),
    })
}
