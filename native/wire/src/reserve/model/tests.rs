//! Each model against a provider that counts strictly: in virtual time, with answers that dawdle.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;

const SECOND: Nanos = 1_000_000_000;
const MS: Nanos = 1_000_000;

fn at(nanos: Nanos) -> Now {
    Now { at: nanos, unix: Duration::from_nanos(1_790_000_000 * SECOND + nanos) }
}

/// A generator of our own, so that a run can be told again by its seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound.max(1)
    }
}

/// Calls as fast as the model lets them go, each counted by the provider somewhere on its way: what it
/// counted, and how many calls there were.
fn play(
    model: &mut Model,
    span: Nanos,
    jitter: Nanos,
    seed: u64,
    mut provider: impl FnMut(Nanos) -> bool,
) -> (u64, u64) {
    let mut chance = Chance(seed);
    let (mut now, mut sent, mut refused) = (0, 0, 0);
    let mut arriving: BinaryHeap<Reverse<(Nanos, Nanos)>> = BinaryHeap::new();
    let mut answering: BinaryHeap<Reverse<Nanos>> = BinaryHeap::new();
    while now < span {
        let arrival = arriving.peek().map(|Reverse((arrival, _))| *arrival);
        let answer = answering.peek().map(|Reverse(answer)| *answer);
        if arrival.is_some_and(|arrival| arrival <= now) {
            let Some(Reverse((arrival, answer))) = arriving.pop() else { break };
            refused += u64::from(!provider(arrival));
            answering.push(Reverse(answer));
            continue;
        }
        if answer.is_some_and(|answer| answer <= now) {
            answering.pop();
            model.answered(at(now), now, 1, 1);
            model.ended(1);
            continue;
        }
        match model.when(at(now), 1) {
            When::Now => {
                model.take(at(now), 1);
                sent += 1;
                let arrival = now + chance.below(jitter) + 1;
                arriving.push(Reverse((arrival, arrival + chance.below(jitter) + 1)));
            }
            when => {
                let next = if let When::At(next) = when { next } else { Nanos::MAX };
                now = [Some(next), arrival, answer].into_iter().flatten().min().unwrap_or(span).max(now + 1);
            }
        }
    }
    (sent, refused)
}

/// Refuses what comes beyond `quota` in any window.
fn strict_log(quota: usize, window: Nanos) -> impl FnMut(Nanos) -> bool {
    let mut log: VecDeque<Nanos> = VecDeque::new();
    move |at| {
        while log.front().is_some_and(|first| first + window <= at) {
            log.pop_front();
        }
        log.push_back(at);
        log.len() <= quota
    }
}

#[test]
fn an_hour_of_600_a_minute_meets_no_refusal_and_uses_what_there_is() {
    let mut model = Model::Log(Log::new(600, Duration::from_secs(60)));
    let (sent, refused) = play(&mut model, 3_600 * SECOND, 200 * MS, 1, strict_log(600, 60 * SECOND));
    assert_eq!(refused, 0);
    assert!(sent >= 36_000 * 95 / 100, "{sent} of 36,000");
}

#[test]
fn a_call_on_its_way_for_long_still_counts_when_it_may_come_late() {
    let mut model = Log::new(1, Duration::from_secs(1));
    model.take(at(0), 1);
    assert_eq!(model.when(at(30 * SECOND), 1), When::Released);
    model.answered(at(30 * SECOND), 1, 1);
    let When::At(end) = model.when(at(30 * SECOND + 1), 1) else { panic!("it counts") };
    assert!((31 * SECOND..=31 * SECOND + SECOND / 1_000).contains(&end), "{end}");
}

proptest! {
    #[test]
    fn a_log_is_never_over(quota in 1u64..200, window_ms in 50u64..5_000, jitter_ms in 1u64..3_000, seed: u64) {
        let window = window_ms * MS;
        let mut model = Model::Log(Log::new(quota, Duration::from_nanos(window)));
        let strict = strict_log(usize::try_from(quota).expect("small"), window);
        let (sent, refused) = play(&mut model, 20 * window, jitter_ms * MS, seed, strict);
        prop_assert_eq!(refused, 0);
        prop_assert!(sent >= quota);
    }

    #[test]
    fn a_rate_with_a_burst_is_never_over_any_window(
        quota in 20u64..2_000, share in 1u64..10, window_ms in 500u64..5_000, seed: u64,
    ) {
        let window = window_ms * MS;
        // 3 % of the quota stay unused for calls that bunch up on the way.
        let kept = quota * 97 / 100;
        let mut model = Model::Gcra(Gcra::new(kept, Duration::from_nanos(window), quota / (share * 10)));
        let strict = strict_log(usize::try_from(quota).expect("small"), window);
        let (_, refused) = play(&mut model, 20 * window, window / 100, seed, strict);
        prop_assert_eq!(refused, 0);
    }

    #[test]
    fn a_bucket_is_never_over(capacity in 10u64..200, restored in 1u64..20, seed: u64) {
        let mut model = Model::Gcra(Gcra::bucket(capacity * 97 / 100, restored, Duration::from_secs(1)));
        let (mut level, mut last) = (0.0_f64, 0);
        // Calls may come so much later than we think before the bucket holds more than is kept free.
        let jitter = (30 * capacity * MS / restored).max(1);
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let (rate, capacity) = (restored as f64, capacity as f64);
        let (_, refused) = play(&mut model, 120 * SECOND, jitter, seed, |at| {
            #[expect(clippy::cast_precision_loss, reason = "nanoseconds of two minutes")]
            let passed = (at - last) as f64 / SECOND as f64;
            (level, last) = ((level - passed * rate).max(0.0) + 1.0, at);
            level <= capacity + 1e-6
        });
        prop_assert_eq!(refused, 0);
    }

    #[test]
    fn a_window_that_the_provider_has_named_is_never_over(
        quota in 1u64..300, window_s in 3u64..60, phase_ms in 0u64..3_000, seed: u64,
    ) {
        let window = window_s * SECOND;
        let mut model = Model::Window(Window::new(quota, Duration::from_nanos(window), Anchor::Reset));
        let phase = phase_ms * MS;
        model.resets(at(0), 0, Duration::from_nanos(window - phase % window));
        let (mut which, mut counted) = (u64::MAX, 0);
        let (sent, refused) = play(&mut model, 10 * window, 100 * MS, seed, |at| {
            let now = (at + phase) / window;
            counted = if which == now { counted + 1 } else { 1 };
            which = now;
            counted <= quota
        });
        prop_assert!(sent >= quota);
        prop_assert_eq!(refused, 0);
    }

    #[test]
    fn so_many_at_once_are_never_more(most in 1u64..50, jitter_ms in 1u64..500, seed: u64) {
        let mut model = Model::Concurrency(Concurrency::new(most, false));
        let mut chance = Chance(seed);
        let mut open = 0;
        for step in 0..2_000 {
            let now = at(step * jitter_ms * MS);
            if chance.below(2) == 0 && model.when(now, 1) == When::Now {
                model.take(now, 1);
                open += 1;
            } else if open > 0 {
                model.answered(now, now.at, 1, 1);
                model.ended(1);
                open -= 1;
            }
            prop_assert!(open <= most);
            prop_assert_eq!(model.left(now), most - open);
        }
    }

    #[test]
    fn what_is_given_back_is_there_again(which in 0usize..5, costs in prop::collection::vec(1u64..5, 1..20)) {
        let mut model = match which {
            0 => Model::Log(Log::new(100, Duration::from_secs(60))),
            1 => Model::Gcra(Gcra::bucket(100, 1, Duration::from_secs(60))),
            2 => Model::Window(Window::new(100, Duration::from_secs(60), Anchor::Reset)),
            3 => Model::Concurrency(Concurrency::new(100, false)),
            _ => Model::Calendar(Calendar::new(100, Period::Day, TimeZone::UTC)),
        };
        let now = at(0);
        for cost in &costs {
            model.take(now, *cost);
        }
        prop_assert_eq!(model.left(now), 100 - costs.iter().sum::<u64>());
        for cost in &costs {
            model.give_back(now, now.at, *cost);
        }
        prop_assert_eq!(model.left(now), 100);
    }
}

#[test]
fn what_costs_less_than_was_thought_leaves_the_rest() {
    let mut bucket = Model::Gcra(Gcra::bucket(1_000, 50, Duration::from_secs(1)));
    bucket.take(at(0), 600);
    assert_eq!(bucket.when(at(0), 600), When::At(4 * SECOND));
    bucket.answered(at(0), 0, 600, 12);
    assert_eq!(bucket.left(at(0)), 988);
    assert_eq!(bucket.when(at(0), 2_000), When::Never);
}

#[test]
fn the_end_of_a_window_that_is_named_only_moves_away() {
    let mut window = Window::new(2, Duration::from_secs(60), Anchor::Reset);
    window.take(at(0), 2);
    window.answered(at(SECOND), 2, 2);
    window.ends(at(SECOND), 0, Duration::from_secs(20));
    assert_eq!(window.when(at(SECOND), 1), When::At(22 * SECOND));
    window.ends(at(2 * SECOND), SECOND, Duration::from_secs(5));
    window.ends(at(2 * SECOND), SECOND, Duration::ZERO);
    assert_eq!(window.when(at(2 * SECOND), 1), When::At(22 * SECOND));
    assert_eq!(window.when(at(22 * SECOND), 1), When::Now);
}

#[test]
fn a_late_answer_does_not_end_a_window_that_began_after_its_call_left() {
    let mut window = Window::new(2, Duration::from_secs(60), Anchor::Reset);
    window.take(at(0), 1);
    window.ends(at(SECOND), 0, Duration::from_secs(9));
    // Named to end at 11 s; at 12 s a new one begins, and the first call's answer speaks of the old one's end.
    window.take(at(12 * SECOND), 2);
    window.answered(at(13 * SECOND), 2, 2);
    window.ends(at(14 * SECOND), 0, Duration::from_secs(1));
    assert_eq!(window.left(at(17 * SECOND)), 0);
    window.ends(at(17 * SECOND), 12 * SECOND, Duration::from_secs(50));
    assert_eq!(window.when(at(17 * SECOND), 1), When::At(68 * SECOND));
}

#[test]
fn what_a_bucket_has_restored_is_not_given_back_a_second_time() {
    let mut bucket = Model::Gcra(Gcra::bucket(40, 2, Duration::from_secs(1)));
    bucket.take(at(0), 40);
    let later = at(5 * SECOND);
    assert_eq!(bucket.left(later), 10);
    bucket.take(later, 10);
    // The forty never left. Ten of them have come back already.
    bucket.give_back(later, 0, 40);
    assert_eq!(bucket.left(later), 30);
}

#[test]
fn windows_by_the_clock_end_with_it() {
    let mut window = Window::new(1, Duration::from_secs(3_600), Anchor::Clock);
    let now = Now { at: 5 * SECOND, unix: Duration::from_secs(7 * 3_600 - 10) };
    window.take(now, 1);
    window.answered(now, 1, 1);
    assert_eq!(window.when(now, 1), When::At(16 * SECOND));
}

#[test]
fn an_adaptive_limit_goes_down_by_a_tenth_and_up_by_one_when_half_is_used() {
    let mut model = Concurrency::new(20, true);
    model.dropped();
    assert_eq!(model.limit(), 18);
    model.went_well(Duration::from_millis(5));
    assert_eq!(model.limit(), 18);
    model.take(at(0), 10);
    model.went_well(Duration::from_millis(5));
    model.went_well(Duration::from_millis(5));
    model.went_well(Duration::from_millis(5));
    assert_eq!(model.limit(), 20);
    (0..100).for_each(|_| model.dropped());
    assert_eq!(model.limit(), 1);
    model.ended(10);
    assert_eq!(model.when(at(0), 3), When::Now, "one call alone always goes");
}

fn period_end(period: Period, zone: &str, moment: &str) -> String {
    let zone = TimeZone::get(zone).expect("zone");
    let moment: jiff::Timestamp = moment.parse().expect("moment");
    let now = Now { at: 0, unix: Duration::from_secs(moment.as_second().try_into().expect("after 1970")) };
    let mut calendar = Calendar::new(1, period, zone);
    calendar.take(now, 1);
    calendar.answered(now, 1, 1);
    let When::At(at) = calendar.when(now, 1) else { panic!("there is some left") };
    let end = jiff::Timestamp::from_second((now.unix.as_secs() + at / SECOND).try_into().expect("a time"));
    end.expect("a time").to_string()
}

#[test]
fn days_and_months_have_the_length_they_have() {
    for (period, zone, moment, end) in [
        (Period::Day, "UTC", "2026-11-27T08:00:00Z", "2026-11-28T00:00:00Z"),
        // 23 hours, 25 hours
        (Period::Day, "Europe/Berlin", "2026-03-28T23:30:00Z", "2026-03-29T22:00:00Z"),
        (Period::Day, "Europe/Berlin", "2026-10-24T22:30:00Z", "2026-10-25T23:00:00Z"),
        (Period::Day, "America/Los_Angeles", "2026-11-27T07:59:59Z", "2026-11-27T08:00:00Z"),
        // a day that begins at one o'clock
        (Period::Day, "America/Sao_Paulo", "2018-11-03T12:00:00Z", "2018-11-04T03:00:00Z"),
        (Period::Month, "UTC", "2026-02-10T00:00:00Z", "2026-03-01T00:00:00Z"),
        (Period::Month, "UTC", "2028-02-29T23:59:59Z", "2028-03-01T00:00:00Z"),
        (Period::Month, "Asia/Kolkata", "2026-12-31T18:29:59Z", "2026-12-31T18:30:00Z"),
        (Period::Month, "America/New_York", "2026-11-01T04:30:00Z", "2026-12-01T05:00:00Z"),
    ] {
        assert_eq!(period_end(period, zone, moment), end, "{zone} {moment}");
    }
}

#[test]
fn a_clock_that_is_set_back_gives_nothing_a_second_time() {
    let mut calendar = Calendar::new(2, Period::Day, TimeZone::UTC);
    let (today, yesterday) = (at(0), Now { at: SECOND, unix: Duration::from_secs(1_790_000_000 - 86_400) });
    calendar.take(today, 2);
    calendar.answered(today, 2, 2);
    assert_eq!(calendar.left(yesterday), 0);
    let tomorrow = today.after(Duration::from_secs(86_400));
    assert_eq!(calendar.left(tomorrow), 2);
}
