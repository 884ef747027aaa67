//! The secrets of a call, as they are when it begins.

use std::collections::BTreeMap;

use super::super::Inner;
use super::super::call::{CallError, ErrorKind};
use super::super::grants::{self, Grant};
use super::outcome::error;
use crate::secrets::{Credential, SecretError};

impl Inner {
    /// Reads the secrets of a grant; one whose time is nearly over is renewed before.
    pub(super) async fn credentials(&self, grant: &Grant) -> Result<BTreeMap<String, Credential>, CallError> {
        let mut credentials = BTreeMap::new();
        for (slot, secret) in &grant.secrets {
            match self.renewals.credential(&secret.source).await {
                Ok(credential) => drop(credentials.insert(slot.clone(), credential)),
                // A model's key is needed for everything; another secret maybe not at all.
                Err(reason) if slot == grants::API_KEY_SLOT => {
                    let may_pass = matches!(&reason, SecretError::NotRenewed(reason) if reason.may_pass());
                    let kind = if may_pass { ErrorKind::Unavailable } else { ErrorKind::Denied };
                    return Err(error(kind, format!("the secret of {} for slot {slot}: {reason}", grant.plugin)));
                }
                Err(reason) => tracing::warn!(plugin = grant.plugin, slot, %reason, "a secret cannot be read"),
            }
        }
        // What was not there when it was granted, or is another one now, is known from here on, whoever tells it.
        if let Some(everywhere) = self.redactor.get() {
            everywhere.learn(credentials.values().map(|credential| &credential.value));
        }
        Ok(credentials)
    }
}
