//! What actions need besides a value: whose keys, for which provider, and when.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::keys::{Place, ROOT_BYTES, Roots};
use super::person::Person;
use crate::detect::live::Live;

/// By default there is nothing: whatever needs a key refuses then.
#[derive(Clone, Default)]
pub struct With<'w> {
    /// The client's; None where the vault has given none.
    pub roots: Option<Arc<Roots>>,
    /// Whose key seals what is sealed for a person alone.
    pub person: Person,
    pub provider: &'w str,
    /// In Unix seconds.
    pub now: u64,
    /// The credentials on loan; None where nobody looks for them.
    pub live: Option<Arc<Live>>,
}

impl<'w> With<'w> {
    /// For a sample: keys that end with it, so that what comes out looks as it would and opens nowhere.
    pub fn for_sample(provider: &'w str, now: u64) -> Self {
        let mut root = Zeroizing::new(vec![0; ROOT_BYTES]);
        let made = aws_lc_rs::rand::fill(&mut root).ok();
        let roots = made.and_then(|()| Roots::new("sample".into(), [(1, root)]));
        Self { roots: roots.map(Arc::new), person: Person::for_sample(), provider, now, live: None }
    }

    pub fn place<'f>(&self, field: &'f str) -> Place<'f>
    where
        'w: 'f,
    {
        Place { provider: self.provider, field }
    }
}

impl std::fmt::Debug for With<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("With").field("provider", &self.provider).finish_non_exhaustive()
    }
}
