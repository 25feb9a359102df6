//! An hour of calls against a provider that counts strictly, in virtual time: 600 in any minute, each call
//! up to 200 ms on its way. One JSON object: what it refused, and what share of what it allows was used.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::Write as _;
use std::time::Duration;

use tidegate_wire::reserve::model::{Log, Model, Nanos, Now, When};

const QUOTA: usize = 600;
const SECOND: Nanos = 1_000_000_000;
const WINDOW: Nanos = 60 * SECOND;
const JITTER: Nanos = SECOND / 5;
const HOUR: Nanos = 3_600 * SECOND;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut model = Model::Log(Log::new(QUOTA as u64, Duration::from_nanos(WINDOW)));
    let mut provider: VecDeque<Nanos> = VecDeque::new();
    // What is on its way: when something happens to it, when it is answered, and whether that is now.
    let mut under_way: BinaryHeap<Reverse<(Nanos, Nanos, bool)>> = BinaryHeap::new();
    let (mut now, mut sent, mut refused, mut chance) = (0, 0_u32, 0_u32, 1_u64);
    let mut late = move || {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        1 + (chance >> 33) % JITTER
    };
    while now < HOUR {
        let moment = Now { at: now, unix: Duration::from_nanos(now) };
        let next = under_way.peek().map(|Reverse((at, ..))| *at);
        if next.is_some_and(|at| at <= now) {
            let Some(Reverse((at, answer, is_answer))) = under_way.pop() else { break };
            if is_answer {
                model.answered(moment, now, 1, 1);
                continue;
            }
            while provider.front().is_some_and(|first| first + WINDOW <= at) {
                provider.pop_front();
            }
            provider.push_back(at);
            refused += u32::from(provider.len() > QUOTA);
            under_way.push(Reverse((answer, answer, true)));
            continue;
        }
        now = match model.when(moment, 1) {
            When::Now => {
                model.take(moment, 1);
                sent += 1;
                let arrival = now + late();
                under_way.push(Reverse((arrival, arrival + late(), false)));
                now
            }
            When::At(at) => next.map_or(at, |next| next.min(at)),
            _ => next.unwrap_or(HOUR),
        };
    }
    let allowed = f64::from(u32::try_from(QUOTA)?) * 60.0;
    let said = serde_json::json!({ "refused": refused, "used": f64::from(sent) / allowed });
    writeln!(std::io::stdout(), "{said}")?;
    Ok(())
}
