//! Whether a client's personal data may go to a provider at this very moment.
//!
//! Part of `decide`: an operation whose policy sends personal data has a gate, and a call passes it only
//! while for each category and purpose an agreement, or an approved override, is in force. Which ones cover
//! what is compiled into the snapshot, with their dates; here they are held against the clock, so that an
//! end bites at its instant, without another snapshot. Nothing covers what the snapshot does not say.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Deserialize;

use crate::error::{Code, Refusal};
use crate::snapshot::ClientIndex;

/// A refusal names at most this many of the needs that nothing covers.
const NAMED_MAX: usize = 4;

/// The latest time that was ever read: a calendar that is set back does not bring an agreement back.
#[derive(Debug, Default)]
pub struct Clock(AtomicU64);

impl Clock {
    fn latest(&self, unix_ms: u64) -> u64 {
        self.0.fetch_max(unix_ms, Ordering::Relaxed).max(unix_ms)
    }
}

/// When a call is decided: by the calendar, and by the clock that nobody sets.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'c> {
    pub unix_ms: u64,
    pub at: Instant,
    pub clock: &'c Clock,
}

impl Moment<'_> {
    pub fn unix_seconds(&self) -> u64 {
        self.unix_ms / 1000
    }
}

/// What a policy sends of a kind, and what for.
#[derive(Debug, Deserialize)]
struct Need {
    category: Box<str>,
    purpose: Box<str>,
}

/// While this holds, one need is covered. Unix seconds; `ends` is the first one without it.
#[derive(Debug, Clone, Deserialize)]
struct Window {
    starts: u64,
    #[serde(default)]
    ends: Option<u64>,
    names: Arc<str>,
}

/// What covers one need of a client, and what to say where nothing ever does.
#[derive(Debug, Deserialize)]
struct Cover {
    #[serde(default)]
    windows: Vec<Window>,
    #[serde(default)]
    missing: Box<str>,
}

/// The gate of some operations, as the snapshot has it.
#[derive(Debug, Deserialize)]
pub struct RawGate {
    policy: Arc<str>,
    pub operations: Vec<u32>,
    needs: Vec<Need>,
    /// What covers the needs, one list for each set of clients that are alike.
    covers: Vec<Vec<Cover>>,
    /// Which list is whose.
    of: Vec<(String, usize)>,
}

/// The gate of some operations.
#[derive(Debug)]
pub struct Gate {
    policy: Arc<str>,
    needs: Vec<Need>,
    covers: Vec<Vec<Cover>>,
    of: HashMap<ClientIndex, usize>,
}

impl RawGate {
    pub fn compile(self, client: impl Fn(&str) -> Option<ClientIndex>) -> Result<Gate, String> {
        let policy = &self.policy;
        if self.covers.iter().any(|list| list.len() != self.needs.len()) {
            return Err(format!("the gate of `{policy}` does not say of each need what covers it"));
        }
        let mut of = HashMap::new();
        for (name, list) in &self.of {
            let index = client(name).ok_or_else(|| {
                format!("the gate of `{policy}` names client `{name}`, which does not exist")
            })?;
            if *list >= self.covers.len() {
                return Err(format!("the gate of `{policy}` names list {list}, which does not exist"));
            }
            of.insert(index, *list);
        }
        Ok(Gate { policy: self.policy, needs: self.needs, covers: self.covers, of })
    }
}

/// Proof that the call's personal data, if it has any, may go; it holds until `ends`.
#[derive(Debug, Clone)]
pub struct Agreed {
    by: Option<Arc<str>>,
    ends: Option<Instant>,
}

impl Agreed {
    /// Judge a call of `client` (called `name`) to `provider`, by the gate of its operation, if it has one.
    pub fn judge(
        gate: Option<&Gate>,
        client: ClientIndex,
        name: &str,
        provider: &str,
        now: Moment<'_>,
    ) -> Result<Self, Refusal> {
        let Some(gate) = gate else { return Ok(Self { by: None, ends: None }) };
        let latest_ms = now.clock.latest(now.unix_ms);
        let mut names: Vec<Arc<str>> = Vec::new();
        let mut ends_ms: Option<u64> = None;
        let mut missing = Vec::new();
        let covers = gate.of.get(&client).map(|list| &gate.covers[*list]);
        for (number, need) in gate.needs.iter().enumerate() {
            let cover = covers.map(|list| &list[number]);
            let windows = cover.map_or(&[][..], |cover| &cover.windows);
            // The one that lasts longest: a call that waits has the best chance of going.
            let open = windows.iter().filter(|one| one.is_open(now.unix_ms, latest_ms));
            match open.max_by_key(|one| one.ends.unwrap_or(u64::MAX)) {
                Some(window) => {
                    if !names.contains(&window.names) {
                        names.push(Arc::clone(&window.names));
                    }
                    let ends = window.ends.map(|seconds| seconds.saturating_mul(1000));
                    ends_ms = ends_ms.into_iter().chain(ends).min();
                }
                None => missing.push((need, Need::lacks(cover, windows, now.unix_ms))),
            }
        }
        if !missing.is_empty() {
            return Err(gate.refusal(name, provider, &missing));
        }
        let ends = ends_ms.map(|ends| now.at + Duration::from_millis(ends.saturating_sub(latest_ms)));
        let by = (!names.is_empty()).then(|| names.join(" ").into());
        Ok(Self { by, ends })
    }

    /// The agreements that the call relies on, with spaces between.
    pub fn by(&self) -> Option<&Arc<str>> {
        self.by.as_ref()
    }

    /// The first instant at which nothing of the call may be sent any more.
    pub fn ends(&self) -> Option<Instant> {
        self.ends
    }

    /// To be asked before anything goes out: a call may have waited.
    pub fn require(&self, now: Instant) -> Result<(), Refusal> {
        match self.ends {
            Some(ends) if now >= ends => Err(self.ended()),
            _ => Ok(()),
        }
    }

    pub fn ended(&self) -> Refusal {
        let by = self.by.as_deref().unwrap_or_default();
        Refusal::new(
            Code::NoAgreement,
            format!(
                "What let the call's personal data go (`{by}`) ended while the call waited or was being sent."
            ),
        )
    }
}

impl Gate {
    /// `missing`: what is not covered, and why; what is for the same reason is told together.
    fn refusal(&self, client: &str, provider: &str, missing: &[(&Need, String)]) -> Refusal {
        let mut reasons: Vec<(&str, Vec<String>)> = Vec::new();
        for (need, why) in missing.iter().take(NAMED_MAX) {
            let what = format!("`{}` for `{}`", need.category, need.purpose);
            match reasons.iter_mut().find(|(known, _)| known == why) {
                Some((_, named)) => named.push(what),
                None => reasons.push((why, vec![what])),
            }
        }
        let named = reasons.iter().map(|(why, named)| format!("{}: {why}", named.join(", ")));
        let named = named.collect::<Vec<_>>().join(" ");
        let more = missing.len().saturating_sub(NAMED_MAX);
        let more = if more > 0 { format!(" And {more} more.") } else { String::new() };
        Refusal::new(
            Code::NoAgreement,
            format!("Personal data of client `{client}` may not go to `{provider}`. {named}{more}"),
        )
        .by(Arc::clone(&self.policy))
    }

    /// What is asked of an agreement, for people.
    pub fn told(&self) -> String {
        self.needs
            .iter()
            .map(|need| format!("{} for {}", need.category, need.purpose))
            .collect::<Vec<_>>()
            .join(", ")
    }
}

impl Window {
    /// It ends by the latest time that was ever read, and begins by the present one: both ways the doubt closes.
    fn is_open(&self, unix_ms: u64, latest_ms: u64) -> bool {
        self.starts.saturating_mul(1000) <= unix_ms
            && self.ends.is_none_or(|ends| latest_ms < ends.saturating_mul(1000))
    }
}

impl Need {
    fn lacks(cover: Option<&Cover>, windows: &[Window], unix_ms: u64) -> String {
        match (Self::last(windows, unix_ms), cover) {
            (Some(dated), _) => dated,
            (None, Some(cover)) if !cover.missing.is_empty() => cover.missing.to_string(),
            (None, _) => "no agreement is on record for them.".to_owned(),
        }
    }

    /// Of windows that are all closed: which one ended last, or begins next.
    fn last(windows: &[Window], unix_ms: u64) -> Option<String> {
        let now = unix_ms / 1000;
        let coming = windows.iter().filter(|one| one.starts > now).min_by_key(|one| one.starts);
        if let Some(one) = coming {
            return Some(format!("`{}` begins at {}.", one.names, instant(one.starts)));
        }
        let ended = windows.iter().filter_map(|one| Some((one.ends?, &one.names))).max()?;
        Some(format!("`{}` ended at {}.", ended.1, instant(ended.0)))
    }
}

fn instant(unix_seconds: u64) -> String {
    let seconds = i64::try_from(unix_seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    seconds.map_or_else(|| "a time out of range".to_owned(), |at| at.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOON: u64 = 1_800_000_000;

    fn window(starts: u64, ends: Option<u64>, names: &str) -> serde_json::Value {
        serde_json::json!({"starts": starts, "ends": ends, "names": names})
    }

    /// A gate of one need per list of windows; client 0 is covered by them, client 1 by nothing.
    fn gate(needs: &[Vec<serde_json::Value>]) -> Gate {
        let named: Vec<_> = (0..needs.len())
            .map(|number| serde_json::json!({"category": format!("contact.c{number}"), "purpose": "payment"}))
            .collect();
        let covers: Vec<_> = needs
            .iter()
            .map(|windows| serde_json::json!({"windows": windows, "missing": "nothing covers it."}))
            .collect();
        let raw = serde_json::json!({
            "policy": "protection[0]", "operations": [0], "needs": named, "covers": [covers], "of": [["acme", 0]],
        });
        let raw: RawGate = serde_json::from_value(raw).expect("a gate");
        raw.compile(|name| (name == "acme").then_some(0)).expect("it is whole")
    }

    fn judge(gate: &Gate, client: ClientIndex, unix_ms: u64, clock: &Clock) -> Result<Agreed, Refusal> {
        Agreed::judge(Some(gate), client, "acme", "stripe", Moment { unix_ms, at: Instant::now(), clock })
    }

    #[test]
    fn what_has_no_gate_passes_and_ends_never() {
        let clock = Clock::default();
        let now = Moment { unix_ms: 1, at: Instant::now(), clock: &clock };
        let agreed = Agreed::judge(None, 7, "acme", "stripe", now).expect("it may go");
        assert!(agreed.by().is_none() && agreed.ends().is_none());
        assert!(agreed.require(Instant::now() + Duration::from_secs(1 << 30)).is_ok());
    }

    #[test]
    fn an_agreement_holds_to_its_last_millisecond_and_no_further() {
        let gate = gate(&[vec![window(NOON, Some(NOON + 60), "dpa")]]);
        let end = (NOON + 60) * 1000;
        let clock = Clock::default;
        assert!(judge(&gate, 0, NOON * 1000 - 1, &clock()).is_err());
        assert!(judge(&gate, 0, NOON * 1000, &clock()).is_ok());
        assert!(judge(&gate, 0, end - 1, &clock()).is_ok());
        let refusal = judge(&gate, 0, end, &clock()).expect_err("nothing lets it go");
        assert_eq!(refusal.code, Code::NoAgreement);
        assert!(refusal.detail.contains("`dpa` ended at 2027-01-15T08:01:00Z."), "{}", refusal.detail);
        assert_eq!(refusal.rule.as_deref(), Some("protection[0]"));
    }

    #[test]
    fn the_proof_ends_at_the_same_instant_by_the_clock_that_nobody_sets() {
        let gate = gate(&[vec![window(NOON, Some(NOON + 60), "dpa")], vec![window(NOON, None, "other")]]);
        let (clock, at) = (Clock::default(), Instant::now());
        let now = Moment { unix_ms: NOON * 1000 + 58_500, at, clock: &clock };
        let agreed = Agreed::judge(Some(&gate), 0, "acme", "stripe", now).expect("it may go");
        assert_eq!(agreed.by().map(|by| &**by), Some("dpa other"));
        assert!(agreed.require(at + Duration::from_millis(1_499)).is_ok());
        assert!(agreed.require(at + Duration::from_millis(1_500)).is_err());
    }

    #[test]
    fn a_calendar_that_is_set_back_brings_nothing_back() {
        let gate = gate(&[vec![window(NOON, Some(NOON + 60), "dpa")]]);
        let clock = Clock::default();
        assert!(judge(&gate, 0, (NOON + 60) * 1000, &clock).is_err());
        assert!(judge(&gate, 0, (NOON + 30) * 1000, &clock).is_err());
    }

    #[test]
    fn a_calendar_that_was_ahead_begins_nothing_before_its_time() {
        let gate = gate(&[vec![window(NOON, None, "dpa")]]);
        let clock = Clock::default();
        assert!(judge(&gate, 0, (NOON + 60) * 1000, &clock).is_ok());
        let refusal = judge(&gate, 0, (NOON - 60) * 1000, &clock).expect_err("nothing lets it go");
        assert!(refusal.detail.contains("`dpa` begins at"), "{}", refusal.detail);
    }

    #[test]
    fn another_client_is_covered_by_nothing() {
        let gate = gate(&[vec![window(0, None, "dpa")]]);
        let refusal = judge(&gate, 1, NOON * 1000, &Clock::default()).expect_err("nothing lets it go");
        assert!(refusal.detail.contains("no agreement is on record"), "{}", refusal.detail);
    }

    #[test]
    fn a_refusal_names_a_few_needs_and_counts_the_rest() {
        let gate = gate(&vec![Vec::new(); 7]);
        let refusal = judge(&gate, 0, NOON * 1000, &Clock::default()).expect_err("nothing lets it go");
        assert!(refusal.detail.contains("`contact.c3`") && !refusal.detail.contains("`contact.c4`"));
        assert!(refusal.detail.ends_with("And 3 more."), "{}", refusal.detail);
    }

    #[test]
    fn a_gate_that_leaves_a_need_out_is_refused() {
        let raw = serde_json::json!({
            "policy": "p", "operations": [0], "needs": [{"category": "a", "purpose": "b"}], "covers": [[]], "of": [],
        });
        assert!(serde_json::from_value::<RawGate>(raw).expect("a gate").compile(|_| None).is_err());
    }

    proptest! {
        #[test]
        fn a_call_passes_only_while_every_need_has_an_open_window(
            needs in prop::collection::vec(
                prop::collection::vec((0u64..50, prop::option::of(0u64..50)), 0..4), 1..4),
            now in 0u64..60_000,
        ) {
            let gate = gate(&needs
                .iter()
                .map(|windows| windows.iter().map(|(starts, ends)| window(*starts, *ends, "x")).collect())
                .collect::<Vec<_>>());
            let open = |(starts, ends): &(u64, Option<u64>)| {
                starts * 1000 <= now && ends.is_none_or(|ends| now < ends * 1000)
            };
            let expected = needs.iter().all(|windows| windows.iter().any(open));
            prop_assert_eq!(judge(&gate, 0, now, &Clock::default()).is_ok(), expected);
        }
    }
}
