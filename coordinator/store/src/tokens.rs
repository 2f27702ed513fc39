//! Tokens as rows, and back.

use domain::record::Token;
use terms::Role;

use super::{
    StoreError,
    cells::{integer, number},
    read::{Queries, select},
    tables::{self, text},
};

/// The row of a token.
pub(super) fn row(token: &Token) -> Result<tables::Token, StoreError> {
    let hash: String = token.secret_hash.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(tables::Token {
        id: text(&token.id)?,
        name: text(&token.name)?,
        role: token.role.as_str().into(),
        secret_hash: hash.into(),
        created_unix_ms: integer(token.created_unix_ms)?,
        created_by: text(&token.created_by)?,
        expires_unix_ms: token.expires_unix_ms.map(integer).transpose()?,
        revoked_unix_ms: token.revoked_unix_ms.map(integer).transpose()?,
    })
}

/// All tokens, in the order of their ids.
pub(super) async fn read<Q: Queries>(connection: &mut Q) -> Result<Vec<Token>, StoreError> {
    let rows: Vec<tables::Token> = select(connection, "ORDER BY id", &[]).await?;
    rows.into_iter().map(token).collect()
}

fn token(row: tables::Token) -> Result<Token, StoreError> {
    let corrupt = |what: &str| StoreError::Corrupt(format!("token {} has {what}", row.id));
    let role = Role::from_name(&row.role).ok_or_else(|| corrupt("an unknown role"))?;
    let secret_hash = bytes(&row.secret_hash).ok_or_else(|| corrupt("no hash of 256 bits"))?;
    Ok(Token {
        role,
        secret_hash,
        created_unix_ms: number(row.created_unix_ms, "created_unix_ms")?,
        expires_unix_ms: row.expires_unix_ms.map(|at| number(at, "expires_unix_ms")).transpose()?,
        revoked_unix_ms: row.revoked_unix_ms.map(|at| number(at, "revoked_unix_ms")).transpose()?,
        id: row.id.into_owned(),
        name: row.name.into_owned(),
        created_by: row.created_by.into_owned(),
    })
}

/// 256 bits of hexadecimal digits.
fn bytes(digits: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if digits.len() != 2 * bytes.len() || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(bytes)
}
