//! Of whom a client sends nothing any more, by their indexes.

use std::collections::HashSet;

use serde::Deserialize;

use super::Index;

/// What becomes of a call about one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    Refuse,
    Report,
}

/// One client's.
#[derive(Debug)]
pub struct Suppressed {
    way: Way,
    indexes: HashSet<Index>,
}

impl Suppressed {
    pub fn new(way: Way, indexes: HashSet<Index>) -> Self {
        Self { way, indexes }
    }

    pub fn holds(&self, index: &Index) -> bool {
        self.indexes.contains(index)
    }

    pub fn way(&self) -> Way {
        self.way
    }
}
