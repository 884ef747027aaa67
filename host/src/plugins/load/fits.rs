//! Which settings fit which component, looked at once.

use std::collections::HashMap;

use serde_json::Value;

use crate::plugins::manifest::Surface;
use crate::plugins::schema;

/// What was said of settings, by the digest of the component and their text.
#[derive(Default)]
pub struct Fits {
    known: HashMap<(String, String), (Result<(), String>, bool)>,
}

impl Fits {
    /// Do these settings fit the component `digest`?
    pub(super) fn check(&mut self, digest: &str, surface: &Surface, settings: &Value) -> Result<(), String> {
        let Some(schema) = &surface.manifest.settings else { return Ok(()) };
        let known = self.known.entry((digest.to_owned(), settings.to_string()));
        let (result, is_used) = known.or_insert_with(|| (schema::check_value(schema, settings), true));
        *is_used = true;
        result.clone()
    }

    /// Forgets what nobody has asked for since the last time.
    pub fn forget_unused(&mut self) {
        self.known.retain(|_, (_, is_used)| std::mem::take(is_used));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plugins::manifest::{self, tests::component, tests::manifest_section};

    #[test]
    fn settings_are_looked_at_once_for_as_long_as_they_are_meant() {
        let json = r#"{"contract":"0.1.0","name":"t","version":"1","settings":{"properties":{"depth":{"type":"integer"}}}}"#;
        let mut surface = manifest::read(&component(&[manifest_section(json)])).unwrap();
        let mut fits = Fits::default();
        assert_eq!(fits.check("d", &surface, &json!({"depth": 3})), Ok(()));
        let refusal = fits.check("d", &surface, &json!({"depth": "x"})).unwrap_err();
        assert!(refusal.contains("/depth"), "{refusal}");
        // No schema of a component changes; were it looked at again, this would show.
        surface.manifest.settings = Some(json!({"type": "nonsense"}));
        assert_eq!(fits.check("d", &surface, &json!({"depth": "x"})), Err(refusal));
        fits.forget_unused();
        assert_eq!(fits.check("d", &surface, &json!({"depth": 3})), Ok(()));
        fits.forget_unused();
        assert_eq!(fits.known.len(), 1, "nobody has asked for the other");
        fits.check("e", &surface, &json!({"depth": 3})).unwrap_err();
    }
}
