//! What an operator asks of the cache: what is in it, and to take out what is named.

use serde::{Deserialize, Serialize};

use crate::cache::Cache;
use crate::cache::disk::{self, Disk};
use crate::cache::store::Held;
use crate::cache::tier::{Change, Standing};

/// Which answers are meant: all that is named holds. Nothing named is nothing meant.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Which {
    pub client: Option<String>,
    pub provider: Option<String>,
    pub operation: Option<String>,
    /// In hexadecimal, as `tidegate explain` shows it.
    pub key: Option<String>,
    /// A group that the provider named (RFC 9875).
    pub group: Option<String>,
    pub all: bool,
}

#[derive(Debug, Serialize)]
pub struct Stats {
    pub bytes: u64,
    pub bytes_max: u64,
    pub client_bytes_max: u64,
    pub clients: Vec<Held>,
    /// How much is kept on disk, if anything is.
    pub disk: Option<disk::Held>,
    /// How it stands with those that gateways share; None: this one's are its own.
    pub shared: Option<Standing>,
}

impl Which {
    fn names_something(&self) -> bool {
        let named = [&self.client, &self.provider, &self.operation, &self.key, &self.group];
        self.all || named.iter().any(|one| one.is_some())
    }
}

impl Cache {
    pub fn stats(&self) -> Stats {
        let clients = self.store.held();
        Stats {
            bytes: clients.iter().map(|held| held.bytes).sum(),
            bytes_max: self.store.bounds.bytes,
            client_bytes_max: self.store.bounds.client_bytes,
            clients,
            disk: self.disk.as_ref().map(Disk::held),
            shared: self.tier.as_ref().map(|tier| tier.standing()),
        }
    }

    /// Take out what is named; how many answers those were. None where nothing is named.
    pub fn purge(&self, which: &Which) -> Option<u64> {
        if !which.names_something() {
            return None;
        }
        if let Some(tier) = &self.tier {
            // What stands there says nothing of itself: all that may be meant goes.
            tier.clear(which.client.as_deref());
            tier.tell(Change::Purge(which.clone()));
        }
        // What is in memory is on disk as well, as a rule.
        let on_disk = self.disk.as_ref().map_or(0, |disk| disk.purge(which));
        Some(self.take_out(which).max(on_disk))
    }

    /// The same, in this gateway alone.
    pub(super) fn take_out(&self, which: &Which) -> u64 {
        if !which.names_something() {
            return 0;
        }
        let same = |wanted: &Option<String>, known: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| Some(wanted) == known)
        };
        self.store.purge(|entry| {
            let label = &entry.label;
            let groups = || crate::cache::entry::groups(&entry.headers, "cache-groups");
            same(&which.client, label.client.as_deref())
                && same(&which.provider, Some(&*label.provider))
                && same(&which.operation, Some(&*label.operation))
                && which.key.as_deref().is_none_or(|key| key == label.key.hex() || key == label.primary.hex())
                && which.group.as_deref().is_none_or(|group| groups().iter().any(|known| **known == *group))
        })
    }
}
