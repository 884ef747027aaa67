//! `stellaclaw:plugin/secrets`: facts about secrets, and signatures made with them. No function returns a value.

use hmac::{Hmac, Mac};
use sha2::{Sha256, Sha512};
use stellaclaw_bindings::secrets::{Hash, Host};
use stellaclaw_bindings::types::{Error, ErrorKind};

use crate::plugins::instance::{Call, Guest};
use crate::secrets::Secret;

impl Host for Guest {
    async fn exists(&mut self, slot: String) -> wasmtime::Result<bool> {
        self.call.count()?;
        Ok(self.call.secrets.contains_key(&slot))
    }

    async fn attributes(&mut self, slot: String) -> wasmtime::Result<Result<Vec<(String, String)>, Error>> {
        self.call.count()?;
        // A plain value has nothing to tell about itself.
        Ok(find(&self.call, &slot).map(|_| Vec::new()))
    }

    async fn renew(&mut self, slot: String) -> wasmtime::Result<Result<(), Error>> {
        self.call.count()?;
        Ok(find(&self.call, &slot).and_then(|_| {
            let message = format!("the secret of slot {slot:?} is a fixed value and cannot be renewed");
            Err(Error { kind: ErrorKind::Unavailable, message, retry_after: None })
        }))
    }

    async fn sign(&mut self, slot: String, hash: Hash, prefix: String, data: Vec<u8>) -> wasmtime::Result<Result<Vec<u8>, Error>> {
        self.call.count()?;
        Ok(find(&self.call, &slot).and_then(|secret| {
            if !self.call.grant.sign.contains(&slot) {
                return Err(denied(format!("signing is not granted; add sign = [{slot:?}] to [plugins.{}]", self.call.grant.plugin)));
            }
            let key = [prefix.as_bytes(), secret.expose().as_bytes()].concat();
            Ok(match hash {
                Hash::Sha256 => hmac::<Hmac<Sha256>>(&key, &data),
                Hash::Sha512 => hmac::<Hmac<Sha512>>(&key, &data),
            })
        }))
    }
}

fn find<'a>(call: &'a Call, slot: &str) -> Result<&'a Secret, Error> {
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
