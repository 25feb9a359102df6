use http::HeaderValue;

use super::*;

const NOW: u64 = 1_800_000_000;
const DAY: i64 = 86_400;

fn asked(more: &str) -> Asked {
    serde_json::from_str(&format!(r#"{{"max_age_s": 2592000, "sells": true{more}}}"#)).expect("a rule")
}

fn judged(lines: &[&str], gpc: &[&str]) -> Consent {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(HEADER, HeaderValue::from_str(line).expect("a value"));
    }
    for value in gpc {
        headers.append(GPC, HeaderValue::from_str(value).expect("a value"));
    }
    asked("").judge(&headers, NOW)
}

fn why(line: &str) -> Why {
    match judged(&[line], &[]) {
        Consent::None(why) => why,
        Consent::Granted { .. } => panic!("granted: {line}"),
    }
}

fn granted(at: i64) -> String {
    format!("decision=granted, at=@{at}")
}

#[test]
fn a_decision_with_its_moment_is_a_consent() {
    let now = i64::try_from(NOW).expect("small");
    for line in
        [granted(now), format!("at={now},decision=granted"), format!("decision=granted, gpc=?0, at=@{now}")]
    {
        let granted = Consent::Granted { at: now, by: "decision" };
        assert_eq!(judged(&[&line], &[]), granted, "{line}");
        assert_eq!(judged(&[&line], &["0"]), granted, "{line}");
    }
}

#[test]
fn it_holds_to_its_last_second_and_from_a_minute_before_its_own() {
    let now = i64::try_from(NOW).expect("small");
    assert!(judged(&[&granted(now - 30 * DAY)], &[]).is_granted());
    assert_eq!(why(&granted(now - 30 * DAY - 1)), Why::Stale);
    assert!(judged(&[&granted(now + 60)], &[]).is_granted());
    assert_eq!(why(&granted(now + 61)), Why::Future);
    assert_eq!(why(&granted(999_999_999_999_999)), Why::Future);
    assert_eq!(why(&granted(-999_999_999_999_999)), Why::Stale);
}

#[test]
fn no_policy_lets_one_be_older_than_thirteen_months() {
    let lax: Asked = serde_json::from_str(&format!(r#"{{"max_age_s": {}}}"#, u64::MAX)).expect("a rule");
    let mut headers = HeaderMap::new();
    let now = i64::try_from(NOW).expect("small");
    headers.insert(HEADER, granted(now - 395 * DAY).parse().expect("a value"));
    assert!(lax.judge(&headers, NOW).is_granted());
    headers.insert(HEADER, granted(now - 395 * DAY - 1).parse().expect("a value"));
    assert_eq!(lax.judge(&headers, NOW), Consent::None(Why::Stale));
}

#[test]
fn what_is_not_said_whole_is_none() {
    assert_eq!(judged(&[], &[]), Consent::None(Why::Absent));
    assert_eq!(why("decision=granted"), Why::Undated);
    assert_eq!(why("at=@1800000000"), Why::Undecided);
    assert_eq!(why(""), Why::Undecided);
    assert_eq!(why("gpp=\"DBAA\", at=@1800000000"), Why::Undecided);
    assert_eq!(why("decision=denied, at=@1800000000"), Why::Denied);
    assert_eq!(why("decision=denied"), Why::Denied);
}

#[test]
fn whoever_objects_has_given_none_however_they_object() {
    let yes = granted(1_800_000_000);
    assert_eq!(judged(&[&format!("{yes}, gpc")], &[]), Consent::None(Why::Contradicting));
    assert_eq!(judged(&[&format!("{yes}, gpc=?1")], &[]), Consent::None(Why::Contradicting));
    for values in [&["1"][..], &["0", "1"], &["1", "0"], &["true"], &[""]] {
        assert_eq!(judged(&[&yes], values), Consent::None(Why::Contradicting), "{values:?}");
    }
    assert_eq!(judged(&[&format!("{yes}, gpc=?0")], &["1"]), Consent::None(Why::Contradicting));
    assert_eq!(judged(&[], &["1"]), Consent::None(Why::OptedOut));
    let not_sold: Asked = serde_json::from_str(r#"{"max_age_s": 60}"#).expect("a rule");
    let mut headers = HeaderMap::new();
    headers.insert(HEADER, format!("{yes}, gpc=?1").parse().expect("a value"));
    assert!(not_sold.judge(&headers, NOW).is_granted());
}

#[test]
fn what_two_readers_could_read_differently_is_none() {
    let yes = granted(1_800_000_000);
    assert!(matches!(judged(&[&yes, &yes], &[]), Consent::None(Why::Malformed(_))));
    assert!(matches!(judged(&["decision=denied", &yes], &[]), Consent::None(Why::Malformed(_))));
    let long = format!("{yes}, tcf=\"{}\"", "C".repeat(VALUE_MAX));
    for line in [
        "decision=denied, decision=granted, at=@1800000000",
        "decision=granted, at=@1800000000, at=@1",
        "decision=granted, at=@1800000000, gpc, gpc=?0",
        "decision=\"granted\", at=@1800000000",
        "decision=Granted, at=@1800000000",
        "decision=yes, at=@1800000000",
        "decision, at=@1800000000",
        "decision=(granted), at=@1800000000",
        "decision=granted;by=me, at=@1800000000",
        "decision=granted, at=@1800000000;x",
        "decision=granted, at=1800000000.5",
        "decision=granted, at=\"2027-01-15\"",
        "decision=granted, at=@1800000000, gpc=0",
        "decision=granted, at=@1800000000, gpc=false",
        "decision=granted, at=@1800000000, tcf=CPx",
        "decision=granted, at=@1800000000, gpp=?1",
        "decision=granted, at=@1800000000, more=1",
        "decision=granted, at=@1800000000,",
        "decision=granted at=@1800000000",
        "decision=granted; at=@1800000000",
        "Decision=granted, at=@1800000000",
        "decision=granted,, at=@1800000000",
        "decision=granted, at=@18000000000000000",
        "decision=granted, at=@1800000000, tcf=\"CPx\"",
        "decision=granted, at=@1800000000, tcf=\"\"",
        "decision=granted, at=@1800000000, gpp=\"DBABLA\"",
        "decision=granted, at=@1800000000, gpp=\"DBABMA~CPx\"",
        long.as_str(),
    ] {
        assert!(matches!(why(line), Why::Malformed(_)), "{line}: {:?}", why(line));
    }
}

#[test]
fn neither_record_nor_refusal_has_what_was_sent() {
    let marked = "Czanzibar";
    let line = format!("decision=granted, at=@1800000000, tcf=\"{marked}\", zanzibar=1");
    let none = judged(&[&line], &[]);
    assert_eq!(none.to_string(), "none: malformed");
    let refusal = none.require(&"protection[0]".into(), "advertising").expect_err("there is none");
    assert_eq!((refusal.code, refusal.rule.as_deref()), (Code::NoConsent, Some("protection[0]")));
    assert!(!format!("{refusal:?}").contains("zanzibar"));
    let yes = judged(&[&format!("{}, gpp=\"DBABLA~BVQqAAAAAAJY.QA\"", granted(1_800_000_000))], &[]);
    assert_eq!(yes.to_string(), "granted at 2027-01-15T08:00:00Z, by decision and gpp");
    assert!(yes.require(&"protection[0]".into(), "advertising").is_ok());
}

#[test]
fn strings_take_a_decision_back_and_never_its_place() {
    use super::tcf::tests::{ALL, granted as string};
    let now = i64::try_from(NOW).expect("small");
    let asked = asked(r#", "tcf": {"purposes": [1, 3, 4, 7], "vendor": 755}"#);
    let judged = |more: &str| {
        let mut headers = HeaderMap::new();
        let line = format!("{}{more}", granted(now));
        headers.insert(HEADER, line.parse().expect("a value"));
        asked.judge(&headers, NOW)
    };
    let with = |updated, purposes| format!(", tcf=\"{}\"", string(updated, purposes));
    let recent = string(now - DAY, ALL);
    assert_eq!(judged(&with(now - DAY, ALL)), Consent::Granted { at: now, by: "decision and tcf" });
    let both = format!(", gpp=\"DBACNYA~{recent}~1YNN\", tcf=\"{recent}\"");
    assert_eq!(judged(&both), Consent::Granted { at: now, by: "decision, tcf and gpp" });
    let in_gpp = format!(", gpp=\"DBABMA~{recent}\"");
    assert_eq!(judged(&in_gpp), Consent::Granted { at: now, by: "decision, tcf and gpp" });
    for (more, why) in [
        (String::new(), Why::NotCovered),
        (", gpp=\"DBABLA~BVQqAAAAAAJY.QA\"".to_owned(), Why::NotCovered),
        (with(now - DAY, ALL & !(1 << 23)), Why::NotCovered),
        (with(now - DAY, ALL & !(1 << 17)), Why::NotCovered),
        (with(now - 31 * DAY, ALL), Why::Stale),
        (with(now + 3_600, ALL), Why::Future),
        (format!("{}, gpp=\"DBABLA~BVQpAAAAAAJY.QA\"", with(now - DAY, ALL)), Why::Contradicting),
        (format!("{}, gpp=\"DBABLA~BVQqAAAAAAJY.YA\"", with(now - DAY, ALL)), Why::Contradicting),
        (format!("{}, gpp=\"DBABMA~{}\"", with(now - DAY, ALL), string(now - DAY, 0)), Why::NotCovered),
    ] {
        assert_eq!(judged(&more), Consent::None(why), "{more}");
    }
    let mut headers = HeaderMap::new();
    headers.insert(HEADER, format!("tcf=\"{recent}\", at=@{now}").parse().expect("a value"));
    assert_eq!(asked.judge(&headers, NOW), Consent::None(Why::Undecided));
}
