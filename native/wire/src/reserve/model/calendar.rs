//! So much in each day or month of a place on Earth, where days have 23 to 25 hours and months 28 to 31 days.

use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::Deserialize;

use super::{Nanos, Now, When, nanos, until};
use crate::reserve::debits::Count;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    Day,
    Month,
}

#[derive(Debug)]
pub struct Calendar {
    quota: u64,
    period: Period,
    zone: TimeZone,
    used: u64,
    in_flight: u64,
    /// The first day of the period that is counted, and the end of it (Unix time).
    begun: Date,
    end: Duration,
}

impl Calendar {
    pub fn new(quota: u64, period: Period, zone: TimeZone) -> Self {
        Self { quota, period, zone, used: 0, in_flight: 0, begun: Date::ZERO, end: Duration::ZERO }
    }

    pub fn when(&mut self, now: Now, cost: u64) -> When {
        self.roll(now);
        if cost > self.quota {
            When::Never
        } else if self.used + self.in_flight + cost <= self.quota {
            When::Now
        } else if self.in_flight + cost > self.quota {
            When::Released
        } else {
            When::At(self.end_at(now))
        }
    }

    pub fn take(&mut self, now: Now, cost: u64) {
        self.roll(now);
        self.in_flight += cost;
    }

    pub fn give_back(&mut self, _now: Now, cost: u64) {
        self.in_flight = self.in_flight.saturating_sub(cost);
    }

    pub fn answered(&mut self, now: Now, estimated: u64, actual: u64) {
        self.roll(now);
        self.in_flight = self.in_flight.saturating_sub(estimated);
        self.used += actual;
    }

    pub fn left(&mut self, now: Now) -> u64 {
        self.roll(now);
        self.quota.saturating_sub(self.used + self.in_flight)
    }

    pub fn resets_at(&mut self, now: Now) -> Option<Nanos> {
        self.roll(now);
        Some(self.end_at(now))
    }

    pub fn most(&self) -> u64 {
        self.quota
    }

    pub fn line(&mut self, now: Now, amount: u64) -> Option<Duration> {
        self.roll(now);
        let over = (self.used + self.in_flight + amount).saturating_sub(self.quota);
        if over == 0 {
            return Some(Duration::ZERO);
        }
        // Nobody stands in a line until tomorrow: that it is longer than this is all that matters.
        Some(until(now.at, self.end_at(now)))
    }

    /// What counts in this period: what is answered, and what is in flight.
    pub fn count(&mut self, now: Now) -> Count {
        self.roll(now);
        Count { begun: self.begun, used: self.used + self.in_flight }
    }

    /// So much of this period was used before this engine began.
    pub fn used_before(&mut self, used: u64) {
        self.used = self.used.max(used);
    }

    fn end_at(&self, now: Now) -> Nanos {
        now.at.saturating_add(nanos(self.end.saturating_sub(now.unix)))
    }

    /// What was in flight when a period ended counts in the next one, too.
    fn roll(&mut self, now: Now) {
        if now.unix < self.end {
            return;
        }
        // A clock that was set back begins no period a second time: what is counted stays counted.
        let Some((begun, end)) = bounds(self.period, &self.zone, now.unix) else { return };
        (self.begun, self.end, self.used) = (begun, end, 0);
    }
}

/// The first day of the period that holds a moment, and the moment in which the next one begins.
fn bounds(period: Period, zone: &TimeZone, unix: Duration) -> Option<(Date, Duration)> {
    let moment = Timestamp::from_second(i64::try_from(unix.as_secs()).ok()?).ok()?;
    let date = moment.to_zoned_datetime(zone.clone()).date();
    let (begun, next) = match period {
        Period::Day => (date, date.tomorrow().ok()?),
        Period::Month => (date.first_of_month(), date.first_of_month().checked_add(1_i32.month()).ok()?),
    };
    // The first moment of a day, also where midnight is left out.
    let end = next.to_zoned_datetime(zone.clone()).ok()?.timestamp().as_second();
    Some((begun, Duration::from_secs(u64::try_from(end).ok()?)))
}
