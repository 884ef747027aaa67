//! Who can serve which helper role: read from the configuration and from what components export.

use super::Inner;
use super::status::Kind;
use crate::chat::Modality;
use crate::config::{Config, Helper, Model, Role};

/// What somebody who serves a role is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    /// An answer in words.
    Answers,
    Search,
    Images,
}

impl Service {
    /// What a tool that knows the role would ask for.
    fn of(role: Role) -> Self {
        match role {
            Role::Image | Role::Pdf | Role::Audio => Self::Answers,
            Role::Search => Self::Search,
            Role::ImageGeneration => Self::Images,
        }
    }

    fn kind(self) -> Kind {
        match self {
            Self::Answers => Kind::Provider,
            Self::Search => Kind::WebSearch,
            Self::Images => Kind::Images,
        }
    }
}

impl Inner {
    /// Can the component of `model` serve `role` so? Why not, if not.
    pub fn serves(&self, model: &Model, role: Role, service: Service) -> Result<(), String> {
        let Model { alias, provider, .. } = model;
        let plugin = self.plugin(provider).ok_or_else(|| format!("model {alias} names the plugin {provider}, which is not there"))?;
        let kinds = plugin.serving.as_ref().map(|serving| serving.kinds.as_slice()).map_err(|reason| format!("{provider}: {reason}"))?;
        if !kinds.contains(&service.kind()) {
            let is: Vec<_> = kinds.iter().map(|kind| kind.what()).collect();
            return Err(format!("model {alias} is served by {provider}, which is {}, not {}", is.join(" and "), service.kind().what()));
        }
        match modality(role) {
            Some(modality) if !model.reads.contains(&modality) => {
                Err(format!("model {alias} does not read what it is to look at; add {:?} to models.{alias}.reads", role.word()))
            }
            _ => Ok(()),
        }
    }

    /// The words of the roles that somebody serves for a session with the model `own`, sorted.
    pub fn helper_words(&self, config: &Config, own: Option<&Model>) -> Vec<String> {
        let served = |role: &Role| {
            let model = match config.session.helpers.get(*role) {
                Some(Helper::Own) => own,
                Some(Helper::Model(alias)) => config.models.get(alias),
                None => None,
            };
            model.is_some_and(|model| self.serves(model, *role, Service::of(*role)).is_ok())
        };
        Role::ALL.into_iter().filter(served).map(|role| role.word().to_owned()).collect()
    }
}

/// What a model must read to serve a role.
fn modality(role: Role) -> Option<Modality> {
    match role {
        Role::Image => Some(Modality::Image),
        Role::Pdf => Some(Modality::Pdf),
        Role::Audio => Some(Modality::Audio),
        Role::Search | Role::ImageGeneration => None,
    }
}
