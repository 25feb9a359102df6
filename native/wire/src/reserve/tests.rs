//! The step without a wire: desks shared by threads, calls that wait, counts on disk.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use super::debits::{Debits, read_lines};
use super::desk::{Asked, Asking, Desk, Ending, Held, WaitsFor, Why};
use super::keeper::Keeper;
use super::rule::{Draw, Plan, RawQuota};
use super::signal::Signal;
use crate::class::Class;

fn plan(quotas: &str, costs: &[u64]) -> Plan {
    let raw: Vec<RawQuota> = serde_json::from_str(quotas).expect("quotas");
    let quotas = raw.into_iter().map(|raw| raw.compile().expect("a quota")).collect();
    let draws = costs.iter().enumerate().map(|(quota, cost)| Draw { quota, cost: *cost }).collect();
    Plan::new(quotas, vec![draws])
}

/// One quota in the room of which calls wait.
fn one(quota: &str) -> Plan {
    plan(&format!("[{quota}]"), &[1])
}

struct Place {
    folder: tempfile::TempDir,
    desk: Arc<Desk>,
    debits: Arc<Debits>,
    keeper: Arc<Keeper>,
}

impl Place {
    fn new() -> Self {
        Self::again(tempfile::tempdir().expect("a folder"))
    }

    fn again(folder: tempfile::TempDir) -> Self {
        let origin = Instant::now();
        let keeper = Arc::new(Keeper::new(origin));
        let debits = Arc::new(Debits::open(folder.path().join("debits")).expect("debits"));
        let desk =
            Desk::new("there".into(), origin, Arc::clone(&keeper), Some(Arc::clone(&debits)), None, None);
        Self { folder, desk, debits, keeper }
    }

    fn ask(&self, plan: &Plan, client: &str, class: Class, patience: Duration) -> Asked {
        let name: Arc<str> = client.into();
        let now = self.desk.now();
        let deadline = now.after(patience).at;
        let asking =
            Asking { client: &name, account: &name, operation: &"Get".into(), origin: 0, class, deadline };
        self.desk.ask(now, plan, plan.draws(0), &asking)
    }

    fn take(&self, plan: &Plan) -> Option<Held> {
        match self.ask(plan, "acme", Class::Normal, Duration::from_secs(60)) {
            Asked::Taken(taken, shares) => Some(Held::new(shares, taken)),
            Asked::Waits(mut place) => {
                self.desk.leave("acme", &mut place);
                None
            }
            Asked::Refused(_) => None,
        }
    }
}

const FIVE_AN_HOUR: &str =
    r#"{"name": "hourly", "model": "log", "amount": 5, "window_ms": 3600000, "costs": [[0, 1]]}"#;

#[test]
fn all_that_a_call_draws_on_is_taken_or_nothing() {
    let place = Place::new();
    let plan = plan(
        r#"[{"name": "many", "model": "log", "amount": 100, "window_ms": 60000, "costs": []},
            {"name": "few", "model": "concurrency", "amount": 2, "costs": []}]"#,
        &[10, 1],
    );
    let held: Vec<Held> = (0..2).map(|_| place.take(&plan).expect("room")).collect();
    assert!(place.take(&plan).is_none());
    let left = || {
        let live = serde_json::to_value(place.desk.live()).expect("JSON");
        let left = |number: usize| live[number]["left"].as_u64().expect("a number");
        (left(0), left(1))
    };
    assert_eq!(left(), (80, 0));
    place.desk.ended(&held[0], None, Ending::Unsent);
    assert_eq!(left(), (90, 1));
    place.desk.ended(&held[1], None, Ending::Answered);
    assert_eq!(left(), (90, 2));
}

#[test]
fn however_many_threads_ask_a_quota_is_never_overstepped() {
    for threads in [1, 4, 8] {
        let place = Place::new();
        let plan = one(r#"{"name": "q", "model": "log", "amount": 1000, "window_ms": 3600000, "costs": []}"#);
        let (taken, barrier) = (AtomicUsize::new(0), Barrier::new(threads));
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    barrier.wait();
                    for _ in 0..1_000 {
                        taken.fetch_add(usize::from(place.take(&plan).is_some()), Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(taken.load(Ordering::Relaxed), 1_000, "{threads} threads");
    }
}

#[test]
fn calls_that_wait_are_let_in_when_quota_comes_back() {
    let place = Place::new();
    let plan =
        one(r#"{"name": "q", "model": "gcra", "amount": 101, "burst": 1, "window_ms": 1000, "costs": [],
            "queue": {"wait_ms": 5000, "length": 100}}"#);
    let begun = Instant::now();
    let mut waiting = Vec::new();
    for _ in 0..21 {
        match place.ask(&plan, "acme", Class::Normal, Duration::from_secs(5)) {
            Asked::Taken(..) => {}
            Asked::Waits(place) => waiting.push(place),
            Asked::Refused(refused) => panic!("{refused:?}"),
        }
    }
    assert_eq!(waiting.len(), 20);
    for place in waiting {
        place.door.blocking_recv().expect("let in");
    }
    assert!(begun.elapsed() >= Duration::from_millis(195), "{:?}", begun.elapsed());
    place.keeper.close();
}

#[test]
fn a_wait_that_cannot_fit_is_refused_at_once() {
    let place = Place::new();
    let plan =
        one(r#"{"name": "q", "model": "gcra", "amount": 11, "burst": 1, "window_ms": 1000, "costs": [],
            "queue": {"wait_ms": 1000, "length": 1000}}"#);
    let mut refused = 0;
    for _ in 0..30 {
        if let Asked::Refused(why) = place.ask(&plan, "acme", Class::Normal, Duration::from_secs(60)) {
            assert_eq!(why.why, Why::TooLate);
            assert!(why.wait.is_some_and(|wait| wait > Duration::from_secs(1)), "{why:?}");
            refused += 1;
        }
    }
    assert!((17..=20).contains(&refused), "{refused}");
    let limits = place.ask(&plan, "acme", Class::Normal, Duration::ZERO);
    assert!(matches!(limits, Asked::Refused(_)));
}

#[test]
fn as_many_wait_as_may_and_no_more() {
    let place = Place::new();
    let plan = one(r#"{"name": "q", "model": "concurrency", "amount": 1, "costs": [],
            "queue": {"wait_ms": 1000, "length": 3}}"#);
    let held = place.take(&plan).expect("room");
    let asked: Vec<Asked> =
        (0..4).map(|_| place.ask(&plan, "acme", Class::Normal, Duration::from_secs(60))).collect();
    assert!(asked[..3].iter().all(|asked| matches!(asked, Asked::Waits(_))));
    assert!(matches!(&asked[3], Asked::Refused(refused) if refused.why == Why::RoomFull));
    place.desk.ended(&held, None, Ending::Answered);
    let Asked::Waits(first) = asked.into_iter().next().expect("the first") else { panic!("it waits") };
    first.door.blocking_recv().expect("let in");
}

#[test]
fn what_was_given_to_somebody_who_has_left_goes_to_the_next() {
    let place = Place::new();
    let plan = one(r#"{"name": "q", "model": "concurrency", "amount": 1, "costs": [],
            "queue": {"wait_ms": 60000, "length": 10}}"#);
    let held = place.take(&plan).expect("room");
    let mut asked = (0..3).map(|_| match place.ask(&plan, "acme", Class::Normal, Duration::from_secs(60)) {
        Asked::Waits(place) => place,
        other => panic!("{other:?}"),
    });
    let (gone, mut leaving, staying) =
        (asked.next().expect("one"), asked.next().expect("two"), asked.next().expect("three"));
    // One that is dropped without a word, as a cut future is; and one that leaves after it was let in.
    drop(gone.door);
    place.desk.ended(&held, None, Ending::Answered);
    place.desk.leave("acme", &mut leaving);
    staying.door.blocking_recv().expect("let in");
}

#[test]
fn a_refusal_by_the_provider_closes_until_it_said_and_reopens_at_half_the_rate() {
    let place = Place::new();
    let plan = one(r#"{"name": "q", "model": "log", "amount": 600, "window_ms": 60000, "costs": []}"#);
    let mut held = place.take(&plan).expect("room");
    let refused = Signal { retry_after: Some(Duration::from_secs(30)), throttled: true, ..Signal::default() };
    place.desk.answered(&mut held, &[refused], |_| None, |_| false);
    let asked = place.ask(&plan, "acme", Class::Normal, Duration::from_secs(60));
    let Asked::Refused(refused) = asked else { panic!("{asked:?}") };
    assert!(refused.closed);
    let wait = refused.wait.expect("a wait");
    assert!((Duration::from_millis(29_900)..=Duration::from_secs(33)).contains(&wait), "{wait:?}");
    // Another connection's quota is as it was.
    assert!(matches!(place.ask(&plan, "globex", Class::Normal, Duration::ZERO), Asked::Taken(..)));
}

#[test]
fn a_late_answer_never_raises_what_is_left() {
    let place = Place::new();
    let plan = one(FIVE_AN_HOUR);
    let mut held: Vec<Held> = (0..2).map(|_| place.take(&plan).expect("room")).collect();
    let left = |remaining| Signal {
        remaining: Some(remaining),
        reset: Some(Duration::from_secs(600)),
        ..Signal::default()
    };
    // Others use the same account: nothing is left when these two are answered.
    place.desk.answered(&mut held[1], &[left(1)], |_| None, |_| false);
    place.desk.answered(&mut held[0], &[left(4)], |_| None, |_| false);
    // One unit was still in flight when the provider said that one was left.
    assert!(place.take(&plan).is_none());
}

#[test]
fn percent_are_of_what_is_declared_and_change_nothing_of_it() {
    let place = Place::new();
    let plan = one(r#"{"name": "app", "model": "log", "amount": 200, "window_ms": 3600000, "costs": []}"#);
    let mut held = place.take(&plan).expect("room");
    let said = Signal {
        scope: Some("app".into()),
        limit: Some(100),
        remaining: Some(72),
        percent: true,
        ..Signal::default()
    };
    place.desk.answered(&mut held, &[said], |_| None, |_| false);
    let live = serde_json::to_value(place.desk.live()).expect("JSON");
    assert_eq!((&live[0]["limit"], &live[0]["left"]), (&200.into(), &144.into()));
}

#[test]
fn a_refusal_closes_the_quota_that_it_names_and_no_other() {
    let place = Place::new();
    let plan = plan(
        r#"[{"name": "day", "model": "log", "amount": 100, "window_ms": 86400000, "costs": []},
            {"name": "burst", "model": "log", "amount": 10, "window_ms": 1000, "costs": []}]"#,
        &[1, 1],
    );
    let closed = || {
        let live = serde_json::to_value(place.desk.live()).expect("JSON");
        [0, 1].map(|number| live[number]["closed_ms"].as_u64())
    };
    let refused = |scope: Option<&str>| Signal {
        scope: scope.map(Into::into),
        retry_after: Some(Duration::from_secs(5)),
        throttled: true,
        ..Signal::default()
    };
    let mut held = place.take(&plan).expect("room");
    place.desk.answered(&mut held, &[refused(Some("burst"))], |_| None, |_| false);
    assert!(matches!(closed(), [None, Some(1..)]), "{:?}", closed());
    // One that names none, or one that is not declared, may mean either.
    place.desk.answered(&mut held, &[refused(Some("minute"))], |_| None, |_| false);
    assert!(matches!(closed(), [Some(1..), Some(1..)]), "{:?}", closed());
}

#[test]
fn what_the_body_says_of_the_cost_settles_what_was_held_for_it() {
    let place = Place::new();
    let plan = plan(
        r#"[{"name": "points", "model": "log", "amount": 100, "window_ms": 3600000, "costs": []}]"#,
        &[40],
    );
    let used = || serde_json::to_value(place.desk.live()).expect("JSON")[0]["used"].clone();
    let mut held = place.take(&plan).expect("room");
    place.desk.answered(&mut held, &[], |_| None, |_| true);
    assert_eq!(used(), 40);
    let said = Signal { scope: Some("points".into()), cost: Some(3), ..Signal::default() };
    place.desk.answered(&mut held, &[said], |_| None, |_| true);
    place.desk.ended(&held, None, Ending::Answered);
    assert_eq!(used(), 3);
}

#[test]
fn an_adaptive_limit_does_not_grow_by_a_call_that_the_provider_refused() {
    let place = Place::new();
    let plan = one(r#"{"name": "q", "model": "concurrency", "amount": 10, "adaptive": true, "costs": []}"#);
    let held = place.take(&plan).expect("room");
    place.desk.dropped(&held);
    place.desk.ended(&held, None, Ending::Dropped);
    assert_eq!(serde_json::to_value(place.desk.live()).expect("JSON")[0]["limit"], 9);
}

#[test]
fn one_client_alone_does_not_fill_the_room() {
    let place = Place::new();
    let plan = one(r#"{"name": "q", "model": "concurrency", "amount": 1, "whose": "provider", "costs": [],
            "queue": {"wait_ms": 60000, "length": 4}}"#);
    let _held = place.take(&plan).expect("room");
    let waiting = |client: &str| match place.ask(&plan, client, Class::Normal, Duration::from_secs(60)) {
        Asked::Waits(place) => Some(place),
        _ => None,
    };
    let mut first: Vec<_> = (0..4).map(|_| waiting("busy").expect("room")).collect();
    assert!(waiting("busy").is_none());
    let _other = waiting("modest").expect("the busy one makes room");
    let closed = |place: &mut super::desk::Place| {
        matches!(place.door.try_recv(), Err(tokio::sync::oneshot::error::TryRecvError::Closed))
    };
    let gone: Vec<bool> = first.iter_mut().map(closed).collect();
    assert_eq!(gone, [false, false, false, true]);
    let _second = waiting("modest").expect("it has fewer still");
    assert!(waiting("modest").is_none(), "each has two");
}

#[test]
fn a_count_that_clients_share_is_not_told() {
    let place = Place::new();
    let shared = one(r#"{"name": "q", "model": "log", "amount": 1, "window_ms": 3600000,
            "whose": "provider", "costs": []}"#);
    let held = place.take(&shared).expect("room");
    assert!(place.desk.allowances(&held).is_empty());
    let asked = place.ask(&shared, "globex", Class::Normal, Duration::from_secs(60));
    let Asked::Refused(refused) = asked else { panic!("{asked:?}") };
    assert!(refused.limits.is_empty());
    assert_eq!(refused.violated, [Arc::<str>::from("q")]);
}

#[test]
fn counts_of_a_provider_that_is_not_declared_any_more_are_forgotten() {
    let place = Place::new();
    let hourly = one(FIVE_AN_HOUR);
    let held = place.take(&hourly).expect("room");
    place.desk.forget();
    assert_eq!(place.desk.live().len(), 1, "a call is still under way");
    place.desk.ended(&held, None, Ending::Answered);
    place.desk.forget();
    assert!(place.desk.live().is_empty());
}

#[test]
fn what_is_used_of_a_day_outlives_the_engine() {
    let day = one(r#"{"name": "day", "model": "calendar", "period": "day", "amount": 50, "costs": []}"#);
    let mut place = Place::new();
    for round in 0..5 {
        for _ in 0..10 {
            let asked = place.ask(&day, "acme", Class::Normal, Duration::from_secs(60));
            let (taken, shares) = match asked {
                Asked::Taken(taken, shares) => (taken, shares),
                Asked::Waits(waiting) => {
                    assert_eq!(waiting.waits_for, WaitsFor::Disk);
                    (waiting.door.blocking_recv().expect("on disk"), waiting.shares)
                }
                Asked::Refused(refused) => panic!("round {round}: {refused:?}"),
            };
            place.desk.ended(&Held::new(shares, taken), None, Ending::Answered);
        }
        // Every other engine ends as it should, the others at once.
        if round % 2 == 0 {
            place.debits.close(place.desk.exact()).expect("written");
        }
        let used: u64 = {
            let text = std::fs::read(place.folder.path().join("debits")).expect("the file");
            read_lines(&text).expect("whole lines").values().map(|count| count.used).sum()
        };
        assert_eq!(used, (round + 1) * 10);
        place = Place::again(place.folder);
    }
    let asked = place.ask(&day, "acme", Class::Normal, Duration::from_secs(60));
    assert!(matches!(&asked, Asked::Refused(refused) if refused.why == Why::Exhausted), "{asked:?}");
}

#[test]
fn a_line_that_was_cut_short_is_passed_over_and_a_damaged_one_is_told() {
    let line = r#"{"provider":"p","quota":"q","connection":"c","part":null,"begun":"2026-11-27","used":7}"#;
    let read =
        |text: &str| read_lines(text.as_bytes()).map(|known| known.values().map(|c| c.used).sum::<u64>());
    assert_eq!(read(&format!("{line}\n")), Ok(7));
    assert_eq!(read(&format!("{line}\n{}", &line[..40])), Ok(7));
    assert_eq!(read(&format!("{line}\n{}\n", line.replace('7', "3"))), Ok(7));
    assert_eq!(read(&format!("{line}\nx\n{line}\n")), Err(2));
    assert_eq!(read(""), Ok(0));
}

#[test]
fn a_quota_that_is_declared_anew_keeps_what_was_used() {
    let place = Place::new();
    let hourly = one(FIVE_AN_HOUR);
    for _ in 0..3 {
        let held = place.take(&hourly).expect("room");
        place.desk.ended(&held, None, Ending::Answered);
    }
    for (quota, left) in [
        (FIVE_AN_HOUR.replace("5,", "4,"), 1),
        (r#"{"name": "hourly", "model": "window", "anchor": "reset", "amount": 10, "window_ms": 3600000, "costs": []}"#.into(), 7),
    ] {
        let plan = one(&quota);
        place.desk.declare(&plan, |_| true);
        let live = serde_json::to_value(place.desk.live()).expect("JSON");
        assert_eq!(live[0]["left"], left, "{quota}");
    }
    place.desk.declare(&Plan::new(Vec::new(), Vec::new()), |_| true);
    assert!(place.desk.live().is_empty());
}
