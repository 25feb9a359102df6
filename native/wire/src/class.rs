//! How urgent a call is: who goes first where calls wait.

use http::HeaderMap;
use serde::Deserialize;

use crate::error::{Code, Refusal};

/// The most urgent first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// A person is waiting.
    Interactive,
    #[default]
    Normal,
    /// It may wait.
    Batch,
}

/// The field by which a consumer says that a call is less urgent than its grant allows.
pub const FIELD: &str = "tidegate-class";

impl Class {
    pub const ALL: [Self; 3] = [Self::Interactive, Self::Normal, Self::Batch];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Interactive => "interactive",
            Self::Normal => "normal",
            Self::Batch => "batch",
        }
    }

    /// The class of one call: what the consumer says, and never above what its grant allows.
    pub fn of(headers: &HeaderMap, granted: Self) -> Result<Self, Refusal> {
        let Some(said) = headers.get(FIELD) else { return Ok(granted) };
        let named = Self::ALL.into_iter().find(|class| class.as_str().as_bytes() == said.as_bytes());
        let said = named.ok_or_else(|| {
            Refusal::new(Code::MalformedRequest, "`Tidegate-Class` is `interactive`, `normal` or `batch`.")
        })?;
        Ok(said.max(granted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn a_consumer_may_be_less_urgent_than_its_grant_but_never_more() {
        let said = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(FIELD, HeaderValue::from_static(text));
            Class::of(&headers, Class::Normal).ok()
        };
        assert_eq!(said("batch"), Some(Class::Batch));
        assert_eq!(said("interactive"), Some(Class::Normal));
        assert_eq!(said("urgent"), None);
        assert_eq!(Class::of(&HeaderMap::new(), Class::Interactive).ok(), Some(Class::Interactive));
    }
}
