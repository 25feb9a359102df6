//! What the person whom a call is about decided: read of `Tidegate-Consent`, and judged by a policy that asks for it.
//!
//! Part of `decide`, and never softened by a mode. The consumer says it with the call, as a dictionary (RFC 9651):
//! `decision=granted, at=@1798761600, gpc=?0, tcf="…", gpp="…"`. What is absent, cannot be read, contradicts
//! itself, is too old or of a time to come is no consent. The IAB's strings ([`tcf`], [`gpp`]) stand beside the
//! decision: they can take it back, and never take its place. The field goes no further, and of what it holds the record
//! has the decision and its moment alone.

mod bits;
pub mod gpp;
pub mod tcf;

use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use jiff::Timestamp;
use serde::Deserialize;
use sfv::visitor::{DictionaryVisitor, EntryVisitor, Ignored};
use sfv::{BareItem, Dictionary, KeyRef, ListEntry, Parser};

use crate::error::{Code, Refusal};
use crate::protect::signals::Signals;

pub const HEADER: HeaderName = HeaderName::from_static("tidegate-consent");
/// Global Privacy Control (W3C), as the browser sent it and the consumer passes it on.
pub const GPC: HeaderName = HeaderName::from_static("sec-gpc");

/// Bytes of the field: longer ones are nobody's.
const VALUE_MAX: usize = 16 << 10;
/// No decision is asked for longer, whatever is declared: thirteen months.
const AGE_S_MAX: u64 = 395 * 86_400;
/// How far the consumer's clock may be ahead of ours.
const AHEAD_S_MAX: i64 = 60;

/// What a policy asks for before it sends what is personal, as the snapshot has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Asked {
    max_age_s: u64,
    /// The purpose is one that Global Privacy Control opts out of: sale, sharing, advertising.
    #[serde(default)]
    sells: bool,
    /// Without consent the call goes without what is personal, in place of being refused.
    #[serde(default)]
    drop: bool,
    /// What a TCF string must hold, where there is one.
    #[serde(default)]
    tcf: Option<tcf::Wanted>,
    /// What the provider is told of it.
    #[serde(default)]
    signals: Option<Signals>,
}

/// What is known of it for one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    /// Decided at this time, in Unix seconds, as these words say.
    Granted {
        at: i64,
        by: &'static str,
    },
    None(Why),
}

/// Why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    Absent,
    /// With what is wrong, as the end of a sentence.
    Malformed(&'static str),
    Undecided,
    Denied,
    OptedOut,
    Contradicting,
    NotCovered,
    Undated,
    Future,
    Stale,
}

impl Asked {
    /// Whether fields are left out where there is none.
    pub fn drops(&self) -> bool {
        self.drop
    }

    pub fn signals(&self) -> Option<&Signals> {
        self.signals.as_ref()
    }

    /// For people.
    pub fn describe(&self) -> String {
        let without = if self.drop { "goes without what is personal" } else { "is refused" };
        let told = if self.signals.is_some() { "; the provider is told what they decided" } else { "" };
        format!(
            "needs the consent of whom it is about, at most {} days old; without it a call {without}{told}",
            self.max_age_s.min(AGE_S_MAX) / 86_400
        )
    }

    /// Judge what a call says; `now` is in Unix seconds.
    pub fn judge(&self, headers: &HeaderMap, now: u64) -> Consent {
        self.judged(headers, now).unwrap_or_else(Consent::None)
    }

    fn judged(&self, headers: &HeaderMap, now: u64) -> Result<Consent, Why> {
        // Of a value that is not the one of the standard nobody knows that it is no objection.
        let browser_objects = headers.get_all(GPC).iter().any(|value| value.as_bytes() != b"0");
        let said = Said::read(headers, self.tcf.as_ref())?;
        let objects = self.sells && (browser_objects || said.objects);
        match (said.decision, objects) {
            (Some(Decision::Denied), _) => return Err(Why::Denied),
            (Some(Decision::Granted), true) => return Err(Why::Contradicting),
            (None, true) => return Err(Why::OptedOut),
            (None, false) if said.is_absent => return Err(Why::Absent),
            (None, false) => return Err(Why::Undecided),
            (Some(Decision::Granted), false) => {}
        }
        let at = said.at.ok_or(Why::Undated)?;
        self.is_recent(at, now)?;
        let names_vendor = self.tcf.as_ref().is_some_and(|wanted| wanted.vendor.is_some());
        if names_vendor && said.tcf.is_empty() || said.tcf.iter().any(|held| !held.covers) {
            return Err(Why::NotCovered);
        }
        for held in &said.tcf {
            self.is_recent(held.updated, now)?;
        }
        let by = match (said.tcf.is_empty(), said.has_gpp) {
            (true, false) => "decision",
            (true, true) => "decision and gpp",
            (false, false) => "decision and tcf",
            (false, true) => "decision, tcf and gpp",
        };
        Ok(Consent::Granted { at, by })
    }

    fn is_recent(&self, at: i64, now: u64) -> Result<(), Why> {
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        if at > now.saturating_add(AHEAD_S_MAX) {
            return Err(Why::Future);
        }
        let oldest = i64::try_from(self.max_age_s.min(AGE_S_MAX)).unwrap_or(0);
        if now.saturating_sub(at) > oldest { Err(Why::Stale) } else { Ok(()) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    Granted,
    Denied,
}

/// What the consumer says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    is_absent: bool,
    decision: Option<Decision>,
    at: Option<i64>,
    /// By Global Privacy Control, or by a string.
    objects: bool,
    /// What TCF strings hold, its own or a section of the other.
    tcf: Vec<tcf::Held>,
    has_gpp: bool,
}

impl Said {
    fn read(headers: &HeaderMap, wanted: Option<&tcf::Wanted>) -> Result<Self, Why> {
        let mut lines = headers.get_all(HEADER).iter();
        let Some(line) = lines.next() else { return Ok(Self { is_absent: true, ..Self::default() }) };
        // Whoever adds a second field could take back what the first one says.
        if lines.next().is_some() {
            return Err(Why::Malformed("it stands more than once"));
        }
        if line.len() > VALUE_MAX {
            return Err(Why::Malformed("it is longer than 16 KiB"));
        }
        let wrong = |_| Why::Malformed("it is not a dictionary (RFC 9651) with each key once");
        Parser::new(line.as_bytes()).parse_dictionary_with_visitor(EachOnce(Vec::new())).map_err(wrong)?;
        let dictionary: Dictionary = Parser::new(line.as_bytes()).parse().map_err(wrong)?;
        let mut said = Self::default();
        for (key, member) in &dictionary {
            let ListEntry::Item(item) = member else { return Err(Why::Malformed("a value is a list")) };
            if !item.params.is_empty() {
                return Err(Why::Malformed("a value has parameters"));
            }
            match (key.as_str(), &item.bare_item) {
                ("decision", BareItem::Token(word)) => {
                    said.decision = Some(match word.as_str() {
                        "granted" => Decision::Granted,
                        "denied" => Decision::Denied,
                        _ => return Err(Why::Malformed("`decision` is `granted` or `denied`")),
                    });
                }
                ("decision", _) => return Err(Why::Malformed("`decision` is `granted` or `denied`")),
                ("at", BareItem::Date(at)) => said.at = Some(at.unix_seconds().into()),
                ("at", BareItem::Integer(at)) => said.at = Some((*at).into()),
                ("at", _) => return Err(Why::Malformed("`at` is a date or whole Unix seconds")),
                ("gpc", BareItem::Boolean(objects)) => said.objects |= *objects,
                ("gpc", _) => return Err(Why::Malformed("`gpc` is `?1` or `?0`")),
                ("tcf", BareItem::String(text)) => {
                    said.tcf.push(tcf::read(text.as_str(), wanted).ok_or(NO_TCF)?);
                }
                ("gpp", BareItem::String(text)) => {
                    let sections = gpp::read(text.as_str()).ok_or(NO_GPP)?;
                    said.has_gpp = true;
                    said.objects |= sections.objects;
                    if let Some(text) = sections.tcf {
                        said.tcf.push(tcf::read(text, wanted).ok_or(NO_GPP)?);
                    }
                }
                ("tcf" | "gpp", _) => return Err(Why::Malformed("`tcf` and `gpp` are strings")),
                _ => {
                    return Err(Why::Malformed(
                        "it has a key other than `decision`, `at`, `gpc`, `tcf` and `gpp`",
                    ));
                }
            }
        }
        Ok(said)
    }
}

const NO_TCF: Why = Why::Malformed("`tcf` is no TCF string of version 2");
const NO_GPP: Why = Why::Malformed("`gpp` is no GPP string of version 1");

/// Refuses a key that stands twice: another reader might take the first one.
struct EachOnce<'v>(Vec<&'v str>);

#[derive(Debug)]
struct StandsTwice;

impl fmt::Display for StandsTwice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key stands twice")
    }
}

impl std::error::Error for StandsTwice {}

impl<'v> DictionaryVisitor<'v> for EachOnce<'v> {
    type Out = ();
    type Error = StandsTwice;

    fn entry(&mut self, key: &'v KeyRef) -> Result<impl EntryVisitor<'v>, StandsTwice> {
        if self.0.contains(&key.as_str()) {
            return Err(StandsTwice);
        }
        self.0.push(key.as_str());
        Ok(Ignored)
    }

    fn finish(self) -> Result<(), StandsTwice> {
        Ok(())
    }
}

impl Consent {
    pub fn is_granted(self) -> bool {
        matches!(self, Self::Granted { .. })
    }

    /// Refuse where there is none. `policy` is whose, `purpose` what for.
    pub fn require(self, policy: &Arc<str>, purpose: &str) -> Result<(), Refusal> {
        let Self::None(why) = self else { return Ok(()) };
        let detail = format!(
            "Personal data goes out for `{purpose}` only with the consent of whom it is about. {}",
            why.sentence()
        );
        Err(Refusal::new(Code::NoConsent, detail).by(Arc::clone(policy)))
    }
}

/// As the record has it: the decision, and its moment.
impl fmt::Display for Consent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Granted { at, by } => match Timestamp::from_second(*at) {
                Ok(at) => write!(f, "granted at {at}, by {by}"),
                Err(_) => write!(f, "granted, by {by}"),
            },
            Self::None(why) => write!(f, "none: {}", why.word()),
        }
    }
}

impl Why {
    fn word(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Malformed(_) => "malformed",
            Self::Undecided => "undecided",
            Self::Denied => "denied",
            Self::OptedOut => "opted_out",
            Self::Contradicting => "contradicting",
            Self::NotCovered => "not_covered",
            Self::Undated => "undated",
            Self::Future => "future",
            Self::Stale => "stale",
        }
    }

    fn sentence(self) -> String {
        let said = match self {
            Self::Absent => {
                "The call does not say it: send `Tidegate-Consent: decision=granted, at=@…` with what they decided."
            }
            Self::Malformed(what) => return format!("`Tidegate-Consent` cannot be read: {what}."),
            Self::Undecided => "`Tidegate-Consent` has no `decision`.",
            Self::Denied => "They did not give it.",
            Self::OptedOut => {
                "They object to sale and sharing (Global Privacy Control, or their GPP string)."
            }
            Self::Contradicting => {
                "`Tidegate-Consent` says that they gave it, and Global Privacy Control or their GPP string that they object."
            }
            Self::NotCovered => {
                "Their TCF string is not there, or does not hold the purposes and the vendor that are asked for."
            }
            Self::Undated => "`Tidegate-Consent` does not say when they decided: `at=@…`, in Unix seconds.",
            Self::Future => "`Tidegate-Consent` is of a time to come.",
            Self::Stale => "`Tidegate-Consent` is older than the policy lets it be. Ask them again.",
        };
        said.to_owned()
    }
}

#[cfg(test)]
mod tests;
