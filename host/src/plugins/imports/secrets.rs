//! `stellaclaw:plugin/secrets`: facts about secrets, and signatures made with them. No function returns a value.

use hmac::{Hmac, Mac};
use sha2::{Sha256, Sha512};
use stellaclaw_bindings::secrets::{Hash, Host};
use stellaclaw_bindings::types::{Error, ErrorKind};

use super::http::unless_stopped;
use crate::limits;
use crate::plugins::instance::{Call, Guest};
use crate::secrets::Credential;

impl Host for Guest {
    async fn exists(&mut self, slot: String) -> wasmtime::Result<bool> {
        self.call.count()?;
        Ok(self.call.secrets.contains_key(&slot))
    }

    async fn attributes(&mut self, slot: String) -> wasmtime::Result<Result<Vec<(String, String)>, Error>> {
        self.call.count()?;
        Ok(find(&self.call, &slot).map(|credential| credential.attributes.clone()))
    }

    async fn renew(&mut self, slot: String) -> wasmtime::Result<Result<(), Error>> {
        self.call.count()?;
        let used = match find(&self.call, &slot) {
            Ok(used) => used.clone(),
            Err(denied) => return Ok(Err(denied)),
        };
        let renewed = unless_stopped(&self.call.stop, renewed(&self.call, &slot, &used)).await;
        Ok(renewed.map(|credential| {
            // From here on requests carry it, and nothing that comes back shows it.
            self.call.redactor.learn([&credential.value]);
            self.http.replace(&slot, &credential.value);
            self.call.secrets.insert(slot, credential);
        }))
    }

    async fn sign(&mut self, slot: String, hash: Hash, prefix: String, data: Vec<u8>) -> wasmtime::Result<Result<Vec<u8>, Error>> {
        self.call.count()?;
        Ok(find(&self.call, &slot).and_then(|secret| {
            if !self.call.grant.sign.contains(&slot) {
                return Err(denied(format!("signing is not granted; add sign = [{slot:?}] to [plugins.{}]", self.call.grant.plugin)));
            }
            let key = [prefix.as_bytes(), secret.value.expose().as_bytes()].concat();
            Ok(match hash {
                Hash::Sha256 => hmac::<Hmac<Sha256>>(&key, &data),
                Hash::Sha512 => hmac::<Hmac<Sha512>>(&key, &data),
            })
        }))
    }
}

async fn renewed(call: &Call, slot: &str, used: &Credential) -> Result<Credential, Error> {
    let Some(secret) = call.grant.secrets.get(slot) else {
        return Err(denied(format!("no secret is granted for slot {slot:?}")));
    };
    call.renewals.renew(&secret.source, used).await.map_err(|reason| {
        let retry_after = reason.may_pass().then(|| u64::try_from(limits::LOGIN_PAUSE.as_millis()).unwrap_or(u64::MAX));
        let message = format!("the secret of slot {slot:?}: {reason}");
        Error { kind: if reason.may_pass() { ErrorKind::Unavailable } else { ErrorKind::Denied }, message, retry_after }
    })
}

fn find<'a>(call: &'a Call, slot: &str) -> Result<&'a Credential, Error> {
    call.secrets.get(slot).ok_or_else(|| {
        let plugin = &call.grant.plugin;
        denied(match call.grant.secrets.contains_key(slot) {
            true => format!("the secret of slot {slot:?} cannot be read; see `[plugins.{plugin}] secrets` or the model's `api_key`"),
            false => format!("no secret is granted for slot {slot:?}; add it to `[plugins.{plugin}] secrets`"),
        })
    })
}

fn denied(message: String) -> Error {
    Error { kind: ErrorKind::Denied, message, retry_after: None }
}

fn hmac<M: Mac + hmac::digest::KeyInit>(key: &[u8], data: &[u8]) -> Vec<u8> {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut mac = <M as Mac>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}
