//! The accounts, in memory, by the hash of their URL's token.

use std::{collections::HashMap, sync::Arc};

use anyhow::Context;
use tributary_schemas::{entity::Account, id::AccountId};

use crate::kafka::Table;

/// `control.accounts`, by token.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    by_token: HashMap<String, Arc<Account>>,
    tokens: HashMap<AccountId, String>,
}

impl Accounts {
    /// The account whose URL has this token's hash.
    pub(super) fn of_token(&self, hash: &str) -> Option<Arc<Account>> {
        self.by_token.get(hash).cloned()
    }
}

impl Table for Accounts {
    fn take(&mut self, key: &str, value: Option<&[u8]>) -> anyhow::Result<()> {
        if let Ok(id) = key.parse::<AccountId>()
            && let Some(token) = self.tokens.remove(&id)
        {
            self.by_token.remove(&token);
        }
        if let Some(value) = value {
            let account: Account = serde_json::from_slice(value).context("decoding an account")?;
            self.tokens.insert(account.id.clone(), account.native.token_hash.clone());
            self.by_token.insert(account.native.token_hash.clone(), Arc::new(account));
        }
        Ok(())
    }
}
