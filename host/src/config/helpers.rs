//! `[session.helpers]`: who does what a session's own model cannot.

/// What somebody can be asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Looking at pictures.
    Image,
    /// Reading documents.
    Pdf,
    /// Listening to recordings.
    Audio,
    /// Searching the web.
    Search,
    /// Drawing.
    ImageGeneration,
}

impl Role {
    /// In the order of their words.
    pub const ALL: [Self; 5] = [Self::Audio, Self::Image, Self::ImageGeneration, Self::Pdf, Self::Search];

    /// The contract's word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Pdf => "pdf",
            Self::Audio => "audio",
            Self::Search => "search",
            Self::ImageGeneration => "image-generation",
        }
    }

    /// The role of a word.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.word() == word)
    }

    /// The key that says who serves it.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Image => "session.helpers.image",
            Self::Pdf => "session.helpers.pdf",
            Self::Audio => "session.helpers.audio",
            Self::Search => "session.helpers.search",
            Self::ImageGeneration => "session.helpers.image_generation",
        }
    }
}

/// Who serves which role.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Helpers {
    pub image: Option<Helper>,
    pub pdf: Option<Helper>,
    pub audio: Option<Helper>,
    pub search: Option<Helper>,
    pub image_generation: Option<Helper>,
}

/// Who serves a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Helper {
    /// The session's own model, where it can.
    Own,
    /// The alias of a model.
    Model(String),
}

impl Helpers {
    /// Who serves `role`.
    #[must_use]
    pub fn get(&self, role: Role) -> Option<&Helper> {
        match role {
            Role::Image => self.image.as_ref(),
            Role::Pdf => self.pdf.as_ref(),
            Role::Audio => self.audio.as_ref(),
            Role::Search => self.search.as_ref(),
            Role::ImageGeneration => self.image_generation.as_ref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_sorted_and_lead_back_to_their_roles() {
        let words = Role::ALL.map(Role::word);
        assert!(words.is_sorted());
        assert_eq!(words.map(|word| Role::of(word).map(Role::word)), words.map(Some));
        assert_eq!(Role::of("image_generation"), None);
    }
}
