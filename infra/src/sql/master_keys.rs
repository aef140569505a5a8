//! Whether the master key is the one that this database was made with.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use fanfare_domain::StoreError;
use secrecy::SecretString;

use super::{
    SqlStore, corrupt,
    db::{Conn, on_dialect},
    schema::settings,
};
use crate::sealing::OpenError;

const NAME: &str = "master_key_check";
const COLUMN: &str = "settings.value";

/// Why the process must not start with this master key.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    /// The database was made with another key.
    #[error(
        "the master key is not the one that this database was made with (given: key `{given}`, needed: key `{needed}`): \
         restore the master key, or give the former one as FANFARE_MASTER_KEY_OLD"
    )]
    Differs {
        /// The given key's name.
        given: String,
        /// The name of the key that the stored value is sealed under.
        needed: String,
    },
    /// The database could not be asked, or its value is damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SqlStore {
    /// Compares the master key with the value that the first start left in the database.
    pub async fn check_master_key(&self) -> Result<(), MasterKeyError> {
        let fresh = hex::encode(self.sealer.seal(COLUMN, NAME, &SecretString::from("fanfare".to_owned())));
        let kept = self
            .db
            .work(|db| async move {
                let mut conn = db.write().await?;
                conn.begin().await?;
                let kept = find_or_insert(&mut conn, &fresh).await;
                conn.finish(kept).await
            })
            .await?;
        let sealed = hex::decode(kept).map_err(|bad| corrupt(NAME, bad))?;
        match self.sealer.open(COLUMN, NAME, &sealed) {
            Ok(_) => Ok(()),
            Err(OpenError::UnknownKey(needed)) => Err(MasterKeyError::Differs { given: self.sealer.key_id(), needed }),
            Err(damaged @ OpenError::Damaged) => Err(corrupt(NAME, damaged).into()),
        }
    }
}

async fn find_or_insert(conn: &mut Conn, fresh: &str) -> Result<String, StoreError> {
    on_dialect!(conn, |c| diesel::insert_into(settings::table)
        .values((settings::name.eq(NAME), settings::value.eq(fresh)))
        .on_conflict(settings::name)
        .do_nothing()
        .execute(c)
        .await)?;
    on_dialect!(conn, |c| settings::table.find(NAME).select(settings::value).first(c).await)
}
