//! The thread that sends answers to the store, and hears what other gateways changed.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::Receiver;

use crate::cache::Cache;
use crate::cache::entry::{Entry, Left};
use crate::cache::key::Key;
use crate::cache::tier::seal::Keys;
use crate::cache::tier::{CHANGES_MAX, Change, LIFE_MAX, Out, Tier, form, locked};
use crate::shared::link::{Trouble, connect, is_broken};

const CONNECT: Duration = Duration::from_secs(1);
/// For an answer to be taken.
const ANSWER: Duration = Duration::from_secs(2);
/// How often others are heard when nothing is told.
const HEAR: Duration = Duration::from_millis(250);
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// To what a change is bound as it is sealed.
const CHANGE: &[u8] = b"change";

/// A change with who tells it.
#[derive(Serialize, Deserialize)]
struct Told {
    run: String,
    change: Change,
}

pub fn run(tier: &Arc<Tier>, cache: &Weak<Cache>, mut outbox: Receiver<Out>) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    runtime.block_on(async {
        let (mut heard, mut pause) = (String::new(), BACK_OFF.0);
        while !tier.closing.load(Ordering::Acquire) {
            let began = Instant::now();
            let ended = converse(tier, cache, &mut outbox, &mut heard).await;
            *locked(&tier.line) = None;
            if ended.is_ok() {
                return;
            }
            // What was to be sent is of no use by then.
            while let Ok(out) = outbox.try_recv() {
                tier.unqueue(&out);
            }
            if began.elapsed() > BACK_OFF.1 {
                pause = BACK_OFF.0;
            }
            let ends = Instant::now() + pause;
            while !tier.closing.load(Ordering::Acquire) && Instant::now() < ends {
                let _ = tokio::time::timeout_at(ends.into(), tier.wake.notified()).await;
            }
            pause = (pause * 2).min(BACK_OFF.1);
        }
    });
}

/// One connection, from beginning to end; Ok: the engine is closing.
async fn converse(
    tier: &Tier,
    cache: &Weak<Cache>,
    outbox: &mut Receiver<Out>,
    heard: &mut String,
) -> Result<(), Trouble> {
    let connecting = tokio::time::timeout(CONNECT, connect(&tier.config)).await;
    let (mut line, _driver) = connecting.map_err(|_| Trouble::late())??;
    let bringing = tokio::time::timeout(ANSWER, tier.library.bring(&mut line, &trial(tier))).await;
    bringing.map_err(|_| Trouble::late())??;
    let mut ready = false;
    loop {
        hear(tier, cache, &mut line, heard).await?;
        if !std::mem::replace(&mut ready, true) {
            tier.broken.store(false, Ordering::Release);
            *locked(&tier.line) = Some(line.clone());
        }
        let next = Instant::now() + HEAR;
        loop {
            if tier.broken.load(Ordering::Acquire) {
                return Err(Trouble::late());
            }
            let out = tokio::select! {
                biased;
                () = tier.wake.notified() => None,
                out = outbox.recv() => out,
                () = tokio::time::sleep_until(next.into()) => None,
            };
            match out {
                Some(out) => send(tier, &mut line, out).await?,
                None => break,
            }
        }
        if tier.closing.load(Ordering::Acquire) {
            while let Ok(out) = outbox.try_recv() {
                send(tier, &mut line, out).await?;
            }
            return hear(tier, cache, &mut line, heard).await;
        }
    }
}

/// Nobody fetches what nobody can name.
fn trial(tier: &Tier) -> redis::Cmd {
    let mut trial = redis::cmd("FCALL");
    trial.arg(format!("tidegate_land_{}", tier.library.version)).arg(1);
    trial.arg(format!("{}:v1:flight", tier.config.prefix)).arg(&tier.run).arg(0);
    trial
}

async fn send(tier: &Tier, line: &mut MultiplexedConnection, out: Out) -> Result<(), Trouble> {
    tier.unqueue(&out);
    let commands = match &out {
        Out::Keep { keys, primary, entry } => kept(tier, keys, *primary, entry),
        Out::Land { keys, name, who, pass } => {
            let mut land = redis::cmd("FCALL");
            land.arg(format!("tidegate_land_{}", tier.library.version)).arg(1).arg(keys.flight(name));
            land.arg(who).arg(u8::from(*pass));
            vec![land]
        }
        Out::Clear(keys) => {
            let mut clear = redis::cmd("UNLINK");
            clear.arg(&keys.answers).arg(&keys.ends);
            vec![clear]
        }
    };
    for command in commands {
        let answer = command.query_async::<redis::Value>(line);
        match tokio::time::timeout(ANSWER, answer).await.map_err(|_| Trouble::late())? {
            Err(error) if is_broken(&error) => return Err(error.into()),
            // What the store does not take, being full, is not kept.
            _ => {}
        }
    }
    Ok(())
}

/// The commands that put an answer where it belongs; where it varies, what it varies by as well.
fn kept(tier: &Tier, keys: &Keys, primary: Key, entry: &Entry) -> Vec<redis::Cmd> {
    let Left::Fresh(left) = entry.left(Instant::now()) else { return Vec::new() };
    let life = milliseconds(left.min(LIFE_MAX));
    let keep = |place: &Key, plain: Option<Vec<u8>>| {
        let sealed = keys.seal(place.bytes(), plain?)?;
        let mut keep = redis::cmd("FCALL");
        keep.arg(format!("tidegate_keep_{}", tier.library.version)).arg(2).arg(&keys.answers).arg(&keys.ends);
        keep.arg(keys.name(place)).arg(sealed).arg(life).arg(tier.client_bytes);
        Some(keep)
    };
    let Some(answer) = keep(&entry.label.key, form::write(entry)) else { return Vec::new() };
    tier.counts.kept.fetch_add(1, Ordering::Relaxed);
    let varies = (!entry.vary.is_empty()).then(|| keep(&primary, form::write_varies(&entry.vary))).flatten();
    std::iter::once(answer).chain(varies).collect()
}

/// Tell what changed here, and take up what others told.
async fn hear(
    tier: &Tier,
    cache: &Weak<Cache>,
    line: &mut MultiplexedConnection,
    heard: &mut String,
) -> Result<(), Trouble> {
    // Nothing is told before there are keys.
    let Some(keys) = tier.keys_of(None) else { return Ok(()) };
    let telling: Vec<Change> = locked(&tier.changes).drain(..).collect();
    let told = exchange(tier, &keys, line, heard, &telling).await;
    let answered = match told {
        Ok(answered) => answered,
        Err(trouble) => {
            let mut changes = locked(&tier.changes);
            for change in telling.into_iter().rev() {
                if changes.len() < CHANGES_MAX {
                    changes.push_front(change);
                }
            }
            return Err(trouble);
        }
    };
    let Some(cache) = cache.upgrade() else { return Ok(()) };
    let mut answered = answered.into_iter();
    let number = |said: Vec<u8>| String::from_utf8(said).unwrap_or_default();
    let first = number(answered.next().unwrap_or_default());
    if !heard.is_empty() && order(&first) > order(heard) {
        // Some that were not heard are not known any more.
        cache.all_changed(Instant::now());
    }
    if first.is_empty() {
        heard.clear();
    }
    while let (Some(said), Some(sealed)) = (answered.next(), answered.next()) {
        *heard = number(said);
        let told = keys.open(CHANGE, &sealed).and_then(|plain| serde_json::from_slice::<Told>(&plain).ok());
        match told {
            Some(told) if told.run == tier.run => {}
            Some(told) => cache.heard(told.change),
            None => {
                tier.counts.refused.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    Ok(())
}

async fn exchange(
    tier: &Tier,
    keys: &Keys,
    line: &mut MultiplexedConnection,
    heard: &str,
    telling: &[Change],
) -> Result<Vec<Vec<u8>>, Trouble> {
    let mut hear = redis::cmd("FCALL");
    hear.arg(format!("tidegate_hear_{}", tier.library.version)).arg(1);
    hear.arg(format!("{}:v1:changes", tier.config.prefix)).arg(heard);
    for change in telling {
        let told = Told { run: tier.run.clone(), change: change.clone() };
        let sealed = serde_json::to_vec(&told).ok().and_then(|plain| keys.seal(CHANGE, plain));
        if let Some(sealed) = sealed {
            hear.arg(sealed);
        }
    }
    let answer = hear.query_async::<Vec<Vec<u8>>>(line);
    Ok(tokio::time::timeout(ANSWER, answer).await.map_err(|_| Trouble::late())??)
}

/// The order of a stream's numbers, `MILLISECONDS-COUNT`.
fn order(number: &str) -> (u64, u64) {
    let (time, count) = number.split_once('-').unwrap_or((number, "0"));
    (time.parse().unwrap_or(0), count.parse().unwrap_or(0))
}

pub fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Tier {
    fn unqueue(&self, out: &Out) {
        if let Out::Keep { entry, .. } = out {
            self.queued.fetch_sub(entry.body.len() as u64, Ordering::AcqRel);
        }
    }
}
