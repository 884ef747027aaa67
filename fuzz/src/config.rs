//! The text of a configuration.

use std::path::Path;

use stellaclaw::config::{Config, ConfigError, FsGrant};

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let file = Path::new("/etc/stellaclaw/config.toml");
    let result = Config::parse(text, file);
    assert_eq!(format!("{result:?}"), format!("{:?}", Config::parse(text, file)), "read twice, understood twice");
    match result {
        Ok(config) => check(&config),
        Err(ConfigError::Invalid { problems }) => {
            assert!(!problems.is_empty());
            // The end of the file counts as a line, also after a line feed.
            let lines = text.split('\n').count();
            for problem in problems {
                let shown = problem.to_string();
                assert!((1..=lines).contains(&problem.line), "line {} of {lines}: {shown}", problem.line);
                assert!(shown.len() <= 4096 + 2 * text.len(), "{} bytes to say what is wrong with {}", shown.len(), text.len());
            }
        }
        Err(error) => panic!("nothing was to be read from a file: {error}"),
    }
}

fn check(config: &Config) {
    assert!(config.models.contains_key(&config.default_model), "the default model {:?} is one", config.default_model);
    for (alias, model) in &config.models {
        assert!(*alias == model.alias && !model.provider.is_empty() && model.options.is_object());
        assert!(model.temperature.is_none_or(f64::is_finite));
        for price in model.price.iter().flat_map(|price| [price.input, price.cache_read, price.cache_write, price.output]) {
            assert!(price.is_finite() && price >= 0.0, "a price of {price}");
        }
    }
    for (name, plugin) in &config.plugins {
        let is_name = !name.is_empty() && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'));
        assert!(is_name, "{name:?} becomes a directory and a key");
        for grant in plugin.fs.iter().flatten() {
            assert_eq!(grant.to_string().parse::<FsGrant>().as_ref(), Ok(grant));
        }
        assert!(plugin.sha256.as_ref().is_none_or(|digest| digest.len() == 64));
    }
    assert_eq!(config.secret_sources().count(), {
        let keys = config.models.values().filter(|model| model.api_key.is_some()).count();
        keys + config.plugins.values().map(|plugin| plugin.secrets.len()).sum::<usize>()
    });
}
