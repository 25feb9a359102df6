//! Turn tokens in a stream of events back into values, also where one is told piece by piece.
//!
//! What models of language write comes as events with a few letters each. An event whose text ends with what could be
//! the beginning of a token waits, until those that follow it tell the rest at the same place, or something else. Any
//! other event goes at once, and whatever is not restored goes as it came. A stream does not wait for keys of persons: its
//! tokens are mostly those of the call itself, whose keys are at hand.

use std::collections::VecDeque;
use std::mem::take;
use std::sync::Arc;

use super::events::{self, Blocks};
use super::persons::Persons;
use super::restore::{Location, Restoring, at, get};
use super::token;
use crate::json::Node;

/// Of one event, and of all that wait: in bytes.
pub const HELD_BYTES_MAX: usize = 256 << 10;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A stream that is restored as it passes.
#[derive(Debug)]
pub struct Held {
    restoring: Restoring,
    blocks: Blocks,
    /// What has come of the block that is read.
    block: Vec<u8>,
    /// It is larger than one that is looked into, and goes as it comes.
    is_oversized: bool,
    is_begun: bool,
    /// Events that wait, in their order.
    waiting: VecDeque<Event>,
    waiting_bytes: usize,
    runs: Vec<Run>,
}

#[derive(Debug)]
struct Event {
    block: Vec<u8>,
    root: Node<'static>,
    is_changed: bool,
}

/// What could become a token: at one place, from an offset in one event that waits to the end of the newest.
#[derive(Debug)]
struct Run {
    location: Location,
    first: usize,
    offset: usize,
    told: String,
}

impl Held {
    pub fn new(restoring: Restoring) -> Self {
        Self {
            restoring,
            blocks: Blocks::default(),
            block: Vec::new(),
            is_oversized: false,
            is_begun: false,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            runs: Vec::new(),
        }
    }

    /// What may go on after this has come.
    pub fn push(&mut self, bytes: &[u8], persons: &Persons) -> Vec<u8> {
        let (mut out, mut bytes) = (Vec::new(), bytes);
        while let Some(end) = self.blocks.end(bytes) {
            self.block.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end..];
            let block = take(&mut self.block);
            self.whole(&block, persons, &mut out);
        }
        self.block.extend_from_slice(bytes);
        if self.is_oversized || self.block.len() > HELD_BYTES_MAX {
            self.is_oversized = true;
            self.let_go(&mut out);
            out.append(&mut self.block);
        }
        out
    }

    /// What is left at the end of the stream.
    pub fn end(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        self.let_go(&mut out);
        out.append(&mut self.block);
        out
    }

    fn whole(&mut self, block: &[u8], persons: &Persons, out: &mut Vec<u8>) {
        let is_first = !std::mem::replace(&mut self.is_begun, true);
        let is_oversized = take(&mut self.is_oversized) || block.len() > HELD_BYTES_MAX;
        let said = if is_first { block.strip_prefix(BYTE_ORDER_MARK).unwrap_or(block) } else { block };
        // The rest of a line end that came in two pieces.
        if block == b"\n"
            && let Some(event) = self.waiting.back_mut().filter(|event| event.block.ends_with(b"\r"))
        {
            event.block.push(b'\n');
            self.waiting_bytes += 1;
            return;
        }
        // A reader hears nothing of it, and so it may go first.
        if events::is_silent(said) && !is_oversized {
            return out.extend_from_slice(block);
        }
        let data = events::data(said).filter(|_| !is_oversized);
        if let Some(root) = data.and_then(|data| Node::read(&data).map(Node::into_owned).ok()) {
            // The mark is of the stream, not of its first line.
            out.extend_from_slice(&block[..block.len() - said.len()]);
            self.event(Event { block: said.to_vec(), root, is_changed: false }, persons);
            self.release(out);
        } else {
            self.let_go(out);
            out.extend_from_slice(block);
        }
    }

    fn event(&mut self, mut event: Event, persons: &Persons) {
        event.is_changed = self.restoring.restore_at_once(&mut event.root, persons);
        let mut places = self.restoring.places(&event.root);
        self.waiting_bytes += event.block.len();
        self.waiting.push_back(event);
        let newest = self.waiting.len() - 1;
        for run in take(&mut self.runs) {
            let fields = places.get(&run.location);
            let goes_on = fields.and_then(|fields| self.carry(run, newest, fields, persons));
            self.runs.extend(goes_on);
        }
        for run in &self.runs {
            places.remove(&run.location);
        }
        for location in places.into_keys() {
            let text = self.text(newest, &location);
            if let Some(offset) = token::tail(text) {
                let told = text[offset..].to_owned();
                self.runs.push(Run { location, first: newest, offset, told });
            }
        }
        if self.waiting_bytes > HELD_BYTES_MAX {
            self.runs.clear();
        }
    }

    /// A run with what the newest event tells; None where it has come to its end.
    fn carry(&mut self, mut run: Run, newest: usize, fields: &[Arc<str>], persons: &Persons) -> Option<Run> {
        run.told.push_str(self.text(newest, &run.location));
        loop {
            let reach = token::reach(&run.told);
            if let Some(value) = self.restoring.opened(&run.told[..reach], fields, persons) {
                self.put(&run, newest, run.told.len() - reach, &value);
                return None;
            }
            if reach == run.told.len() {
                return Some(run);
            }
            // No token begins there; one may begin after it.
            let skipped = 1 + token::tail(&run.told[1..])?;
            run.told.drain(..skipped);
            run.offset += skipped;
            while let Some(before) = run.offset.checked_sub(self.text(run.first, &run.location).len()) {
                run.offset = before;
                run.first += 1;
            }
        }
    }

    /// Put a value in the event in which its token begins; `left` bytes of the newest's text come after it.
    fn put(&mut self, run: &Run, newest: usize, left: usize, value: &str) {
        let after = self.text(newest, &run.location);
        let after = after[after.len() - left..].to_owned();
        for number in run.first..=newest {
            let mut fresh = String::new();
            if number == run.first {
                fresh.push_str(&self.text(number, &run.location)[..run.offset]);
                fresh.push_str(value);
            }
            if number == newest {
                fresh.push_str(&after);
            }
            let event = &mut self.waiting[number];
            if let Some(Node::Text(text)) = at(&mut event.root, &run.location) {
                *text = fresh.into();
                event.is_changed = true;
            }
        }
    }

    /// What an event that waits tells at a place.
    fn text(&self, number: usize, location: &Location) -> &str {
        match get(&self.waiting[number].root, location) {
            Some(Node::Text(text)) => text,
            _ => "",
        }
    }

    /// Let go what comes before all that could become a token.
    fn release(&mut self, out: &mut Vec<u8>) {
        let goes = self.runs.iter().map(|run| run.first).min().unwrap_or(self.waiting.len());
        for event in self.waiting.drain(..goes) {
            self.waiting_bytes -= event.block.len();
            if event.is_changed {
                out.extend_from_slice(&events::with_data(&event.block, &event.root.written()));
            } else {
                out.extend_from_slice(&event.block);
            }
        }
        for run in &mut self.runs {
            run.first -= goes;
        }
    }

    fn let_go(&mut self, out: &mut Vec<u8>) {
        self.runs.clear();
        self.release(out);
    }
}

#[cfg(test)]
mod tests;
