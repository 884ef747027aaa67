//! Giving a manifest to a component whose toolchain does not write one.

use serde_json::Value;

use super::check::{Check, refusals};
use super::manifest::{self, ManifestError};

/// Why a component was not given a manifest.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    #[error("{0}")]
    Unreadable(String),
    #[error("it carries another manifest already; --replace replaces it")]
    Differs,
    #[error("its compiler wrote another manifest into it, which cannot be replaced from outside; change it in its sources")]
    Inside,
    #[error("with this manifest no host would serve it:\n{}", .0.join("\n"))]
    Refused(Vec<String>),
}

/// The component with this manifest; none where it carries it already.
///
/// # Errors
///
/// See [`PackError`]: whatever the loader would refuse, is refused here.
pub fn pack(wasm: &[u8], manifest: &Value, replace: bool) -> Result<Option<Vec<u8>>, PackError> {
    let unreadable = |error: ManifestError| PackError::Unreadable(error.to_string());
    match manifest::outside(wasm).map_err(unreadable)?.manifest {
        Ok(present) if serde_json::from_slice::<Value>(present).is_ok_and(|present| present == *manifest) => return Ok(None),
        Ok(_) | Err(ManifestError::Two) if !replace => return Err(PackError::Differs),
        _ => {}
    }
    let packed = manifest::with_section(wasm, manifest.to_string().as_bytes()).map_err(unreadable)?;
    if matches!(manifest::outside(&packed).map_err(unreadable)?.manifest, Err(ManifestError::Two)) {
        return Err(PackError::Inside);
    }
    match refusals(&packed, &mut Check::default()) {
        refusals if refusals.is_empty() => Ok(Some(packed)),
        refusals => Err(PackError::Refused(refusals)),
    }
}
