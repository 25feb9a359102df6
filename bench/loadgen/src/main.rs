//! Open-loop load over HTTP/1.1: calls start when the schedule says, whether or not earlier ones are back.
//!
//! Latency runs from the *intended* start, so a stall is charged to every call that it held up; a
//! generator that waits for answers (wrk, ab) would send less just then and not see it. One thread, one
//! epoll, one timerfd: a timerfd has no timer slack, so calls leave within some microseconds of their
//! time. How late they really left is measured and printed beside the result.
//!
//! ```text
//! loadgen --target 127.0.0.1:8080 --path /x --header 'Name: value' --rate 10000 --calls 50000
//!         --connections 64 --warmup 5000 --seed 1
//! ```
//! prints one line of JSON.

mod connection;
mod options;
mod schedule;
mod summary;

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustix::fd::OwnedFd;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::connection::{Connection, Progress};
use crate::options::Options;
use crate::schedule::Schedule;
use crate::summary::Summary;

/// The epoll tag of the timer; connections are tagged by their place.
const TIMER: u64 = u64::MAX;

fn main() {
    let outcome = Options::from_args().and_then(|options| run(&options));
    match outcome {
        Ok((summary, took)) => println!("{}", summary.into_json(took)),
        Err(error) => {
            eprintln!("loadgen: {error}");
            std::process::exit(1);
        }
    }
}

fn run(options: &Options) -> io::Result<(Summary, Duration)> {
    let mut generator = Generator::new(options)?;
    let mut events = Vec::with_capacity(options.connections + 1);
    while !generator.finished() {
        generator.start_due_calls()?;
        generator.arm_timer()?;
        events.clear();
        epoll::wait(
            &generator.epoll,
            rustix::buffer::spare_capacity(&mut events),
            None,
        )?;
        for event in &events {
            match event.data.u64() {
                TIMER => {}
                place => generator.read(usize::try_from(place).expect("a place fits"))?,
            }
        }
    }
    let took = generator.began.elapsed();
    Ok((generator.summary, took))
}

struct Generator<'a> {
    options: &'a Options,
    epoll: OwnedFd,
    timer: OwnedFd,
    began: Instant,
    schedule: Schedule,
    connections: Vec<Connection>,
    idle: Vec<usize>,
    /// Calls whose time has come while no connection was free: their clock runs.
    waiting: VecDeque<Duration>,
    summary: Summary,
}

impl<'a> Generator<'a> {
    fn new(options: &'a Options) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
        let edge = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&epoll, &timer, epoll::EventData::new_u64(TIMER), edge)?;
        let mut connections = Vec::with_capacity(options.connections);
        for place in 0..options.connections {
            let connection = Connection::open(options.target)?;
            watch(&epoll, &connection, place)?;
            connections.push(connection);
        }
        Ok(Self {
            options,
            epoll,
            timer,
            began: Instant::now(),
            schedule: Schedule::new(options.rate, options.calls + options.warmup, options.seed),
            idle: (0..options.connections).rev().collect(),
            connections,
            waiting: VecDeque::with_capacity(1024),
            summary: Summary::new(options.warmup, options.calls),
        })
    }

    fn finished(&self) -> bool {
        self.schedule.is_over()
            && self.waiting.is_empty()
            && self.idle.len() == self.connections.len()
    }

    fn start_due_calls(&mut self) -> io::Result<()> {
        while let Some(intended) = self.schedule.due(self.began.elapsed()) {
            self.summary
                .due(self.began.elapsed().saturating_sub(intended));
            match self.idle.pop() {
                Some(place) => self.start(place, intended)?,
                None => self.waiting.push_back(intended),
            }
        }
        Ok(())
    }

    fn start(&mut self, place: usize, intended: Duration) -> io::Result<()> {
        if self.connections[place]
            .send(&self.options.request, intended)
            .is_err()
        {
            self.fail(place)?;
        }
        Ok(())
    }

    fn read(&mut self, place: usize) -> io::Result<()> {
        match self.connections[place].read() {
            Progress::Partial => Ok(()),
            Progress::Answered { intended, status } => {
                let latency = self.began.elapsed().saturating_sub(intended);
                self.summary.answered(latency, status);
                self.next_on(place)
            }
            Progress::Closed { in_flight: false } => self.reopen(place),
            Progress::Closed { in_flight: true } => self.fail(place),
        }
    }

    fn fail(&mut self, place: usize) -> io::Result<()> {
        self.summary.failed();
        self.reopen(place)?;
        self.next_on(place)
    }

    fn next_on(&mut self, place: usize) -> io::Result<()> {
        if let Some(intended) = self.waiting.pop_front() {
            return self.start(place, intended);
        }
        self.idle.push(place);
        Ok(())
    }

    fn reopen(&mut self, place: usize) -> io::Result<()> {
        self.connections[place] = Connection::open(self.options.target)?;
        watch(&self.epoll, &self.connections[place], place)
    }

    fn arm_timer(&self) -> io::Result<()> {
        let Some(next) = self.schedule.next() else {
            return Ok(());
        };
        let wait = next
            .saturating_sub(self.began.elapsed())
            .max(Duration::from_nanos(1));
        let zero = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let value = Timespec::try_from(wait).map_err(io::Error::other)?;
        let once = Itimerspec {
            it_interval: zero,
            it_value: value,
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }
}

fn watch(epoll: &OwnedFd, connection: &Connection, place: usize) -> io::Result<()> {
    let flags = epoll::EventFlags::IN | epoll::EventFlags::RDHUP;
    epoll::add(
        epoll,
        connection.stream(),
        epoll::EventData::new_u64(place as u64),
        flags,
    )?;
    Ok(())
}
