//! Where calls wait for a provider's quotas: by class, and within a class one client after another.
//!
//! Clients take turns by deficit round robin (Shreedhar and Varghese, 1996): in its turn a client may spend
//! as much as the dearest call costs, so that one with many calls, or with dear ones, gets no more than the
//! others. A more urgent class goes first, but a twentieth of what goes is for each of those below it. Whoever
//! stands before the others and needs what is exhausted keeps it for himself: nobody overtakes him to it.
//! Where there is no more room, whoever has the most waiting makes some for those who have less.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::model::{Nanos, When};
use crate::class::Class;

/// What of a quota goes to each class below the one that is served, so that none starves.
const FLOOR: f64 = 0.05;

/// What a call takes: the number of each pot, and how much of it.
pub type Share = (usize, u64);

#[derive(Debug, Default)]
pub struct Room {
    lines: [Line; Class::ALL.len()],
    /// What is owed to each class out of the floor.
    owed: [f64; Class::ALL.len()],
    len: usize,
    last: u64,
}

/// One class: its clients, the one whose turn it is first.
#[derive(Debug, Default)]
struct Line {
    turns: VecDeque<Turn>,
}

#[derive(Debug)]
struct Turn {
    client: Arc<str>,
    /// What it may still spend; added to when its turn begins.
    deficit: u64,
    begun: bool,
    /// One for each set of pots that its calls need: a call waits only behind those that need the same.
    lanes: Vec<Lane>,
}

#[derive(Debug)]
struct Lane {
    waiters: VecDeque<Waiter>,
}

/// A call that waits. Its door is told when it was let in.
#[derive(Debug)]
pub struct Waiter {
    pub id: u64,
    pub shares: Box<[Share]>,
    pub door: oneshot::Sender<Nanos>,
}

impl Waiter {
    fn cost(&self) -> u64 {
        cost(&self.shares)
    }

    fn needs_the_same(&self, shares: &[Share]) -> bool {
        self.shares.iter().map(|share| share.0).eq(shares.iter().map(|share| share.0))
    }
}

/// What a call counts for in its client's turn: the most that it takes of anything.
fn cost(shares: &[Share]) -> u64 {
    shares.iter().map(|share| share.1).max().unwrap_or(0)
}

impl Room {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Wait behind those of the same client and class that need the same; returns the place's number.
    pub fn enter(
        &mut self,
        class: Class,
        client: &Arc<str>,
        shares: Box<[Share]>,
        door: oneshot::Sender<Nanos>,
    ) -> u64 {
        self.last += 1;
        self.len += 1;
        let id = self.last;
        let turns = &mut self.lines[class as usize].turns;
        let place = turns.iter().position(|turn| turn.client == *client).unwrap_or_else(|| {
            turns.push_back(Turn { client: Arc::clone(client), deficit: 0, begun: false, lanes: Vec::new() });
            turns.len() - 1
        });
        let lanes = &mut turns[place].lanes;
        let same = |lane: &Lane| lane.waiters.front().is_some_and(|first| first.needs_the_same(&shares));
        let lane = lanes.iter().position(same).unwrap_or_else(|| {
            lanes.push(Lane { waiters: VecDeque::new() });
            lanes.len() - 1
        });
        lanes[lane].waiters.push_back(Waiter { id, shares, door });
        id
    }

    /// Give up a place: its consumer has left, or its time is up.
    pub fn leave(&mut self, class: Class, client: &str, id: u64) -> Option<Waiter> {
        let turns = &mut self.lines[class as usize].turns;
        let place = turns.iter().position(|turn| *turn.client == *client)?;
        let turn = &mut turns[place];
        let found = turn.lanes.iter_mut().find_map(|lane| {
            // Numbers grow along a lane.
            let at = lane.waiters.binary_search_by_key(&id, |waiter| waiter.id).ok()?;
            lane.waiters.remove(at)
        })?;
        turn.lanes.retain(|lane| !lane.waiters.is_empty());
        if turn.lanes.is_empty() {
            turns.remove(place);
        }
        self.forget(class);
        Some(found)
    }

    /// Make room for a client's call: the newest of whoever has more waiting than this client would have goes,
    /// of those who are no more urgent.
    pub fn make_room(&mut self, class: Class, client: &str) -> Option<(Class, Waiter)> {
        let own = self.lines[class as usize].turns.iter().find(|turn| *turn.client == *client);
        let own = own.map_or(0, Turn::len);
        let turns = Class::ALL
            .into_iter()
            .filter(|other| *other >= class)
            .flat_map(|class| self.lines[class as usize].turns.iter().map(move |turn| (class, turn)));
        let most = turns.filter(|(_, turn)| turn.len() > own + 1);
        let (class, turn) = most.max_by_key(|(class, turn)| (*class, turn.len()))?;
        let newest = turn.lanes.iter().filter_map(|lane| lane.waiters.back()).map(|last| last.id).max()?;
        let client = Arc::clone(&turn.client);
        Some((class, self.leave(class, &client, newest)?))
    }

    /// Let the next call in, if any can go. `take` tells when a call could go, and takes its share if that is now.
    pub fn admit(&mut self, turn: u64, mut take: impl FnMut(&[Share]) -> When) -> Option<(Class, Waiter)> {
        for (class, due) in self.order() {
            let Some(waiter) = self.lines[class as usize].next(turn, &mut take) else { continue };
            #[expect(clippy::cast_precision_loss, reason = "costs are small beside 2^52")]
            let cost = waiter.cost() as f64;
            if due {
                self.owed[class as usize] -= cost;
            }
            for below in Class::ALL.into_iter().filter(|below| *below > class) {
                if !self.lines[below as usize].turns.is_empty() {
                    // Who waits for something else saves up one turn at most.
                    #[expect(clippy::cast_precision_loss, reason = "costs are small beside 2^52")]
                    let most = turn.max(1) as f64;
                    let owed = &mut self.owed[below as usize];
                    *owed = (*owed + cost * FLOOR).min(most);
                }
            }
            self.forget(class);
            return Some((class, waiter));
        }
        None
    }

    /// How many clients of a class wait, and what one of them waits for of one pot.
    pub fn waiting(&self, class: Class, client: &str, pot: usize) -> (u64, u64) {
        let turns = &self.lines[class as usize].turns;
        let own = turns.iter().find(|turn| *turn.client == *client).map_or(0, |turn| {
            let waiters = turn.lanes.iter().flat_map(|lane| &lane.waiters);
            waiters
                .flat_map(|waiter| &waiter.shares)
                .filter(|share| share.0 == pot)
                .map(|share| share.1)
                .sum()
        });
        (turns.len() as u64, own)
    }

    /// The classes in the order in which they may go, those first to whom it is owed.
    fn order(&self) -> impl Iterator<Item = (Class, bool)> + use<> {
        let due = Class::ALL.map(|class| {
            let line = &self.lines[class as usize];
            #[expect(clippy::cast_precision_loss, reason = "costs are small beside 2^52")]
            line.next_cost().is_some_and(|cost| self.owed[class as usize] >= cost as f64)
        });
        let first =
            Class::ALL.into_iter().filter(move |class| due[*class as usize]).map(|class| (class, true));
        let then =
            Class::ALL.into_iter().filter(move |class| !due[*class as usize]).map(|class| (class, false));
        first.chain(then)
    }

    fn forget(&mut self, class: Class) {
        self.len -= 1;
        if self.lines[class as usize].turns.is_empty() {
            self.owed[class as usize] = 0.0;
        }
    }
}

impl Line {
    fn next_cost(&self) -> Option<u64> {
        let turn = self.turns.front()?;
        turn.lanes
            .iter()
            .filter_map(|lane| lane.waiters.front())
            .min_by_key(|first| first.id)
            .map(Waiter::cost)
    }

    fn next(&mut self, quantum: u64, take: &mut impl FnMut(&[Share]) -> When) -> Option<Waiter> {
        for _ in 0..self.turns.len() {
            let turn = self.turns.front_mut()?;
            if !turn.begun {
                turn.begun = true;
                turn.deficit += quantum;
            }
            let mut waiter = turn.next(take);
            // What it cannot afford does not wait behind what it can, and for which there is no quota.
            if waiter.is_none() && turn.is_held_back(quantum) {
                turn.deficit = quantum;
                waiter = turn.next(take);
            }
            if let Some(waiter) = &waiter {
                turn.deficit = turn.deficit.saturating_sub(waiter.cost());
            }
            // Who cannot go for want of quota keeps what it may spend until there is some.
            let is_over = !turn
                .lanes
                .iter()
                .any(|lane| lane.waiters.front().is_some_and(|first| first.cost() <= turn.deficit));
            if is_over {
                turn.begun = false;
            }
            if turn.lanes.is_empty() {
                self.turns.pop_front();
            } else if is_over || waiter.is_none() {
                self.turns.rotate_left(1);
            }
            if waiter.is_some() {
                return waiter;
            }
        }
        None
    }
}

impl Turn {
    fn len(&self) -> usize {
        self.lanes.iter().map(|lane| lane.waiters.len()).sum()
    }

    fn is_held_back(&self, quantum: u64) -> bool {
        let mut first = self.lanes.iter().filter_map(|lane| lane.waiters.front()).map(Waiter::cost);
        self.deficit < quantum
            && first.clone().any(|cost| cost <= self.deficit)
            && first.any(|cost| cost > self.deficit)
    }

    /// The oldest that it can afford and that can go.
    fn next(&mut self, take: &mut impl FnMut(&[Share]) -> When) -> Option<Waiter> {
        // Few lanes, and nearly always one.
        self.lanes.sort_by_key(|lane| lane.waiters.front().map(|first| first.id));
        let deficit = self.deficit;
        let place = self.lanes.iter().position(|lane| {
            lane.waiters
                .front()
                .is_some_and(|first| first.cost() <= deficit && take(&first.shares) == When::Now)
        })?;
        let waiter = self.lanes[place].waiters.pop_front();
        if self.lanes[place].waiters.is_empty() {
            self.lanes.remove(place);
        }
        waiter
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A room in virtual time: who was let in how often, as quota comes in.
    struct Play {
        room: Room,
        clients: Vec<Arc<str>>,
        doors: Vec<(usize, Class, u64, oneshot::Receiver<Nanos>)>,
        served: Vec<u64>,
    }

    impl Play {
        fn new(clients: usize) -> Self {
            let clients: Vec<Arc<str>> = (0..clients).map(|number| number.to_string().into()).collect();
            Self { room: Room::default(), served: vec![0; clients.len()], clients, doors: Vec::new() }
        }

        fn enter(&mut self, client: usize, class: Class, cost: u64) -> u64 {
            let (door, opened) = oneshot::channel();
            let id = self.room.enter(class, &self.clients[client], Box::new([(0, cost)]), door);
            self.doors.push((client, class, cost, opened));
            id
        }

        /// Let in what there is quota for; who stands first and needs more keeps the rest of it.
        fn pour(&mut self, quota: &mut u64, turn: u64) -> Vec<(usize, Class)> {
            let mut let_in = Vec::new();
            let mut kept = false;
            while let Some((_, waiter)) = self.room.admit(turn, |shares| {
                if kept || shares[0].1 > *quota {
                    kept = true;
                    return When::Released;
                }
                *quota -= shares[0].1;
                When::Now
            }) {
                let _ = waiter.door.send(0);
                self.doors.retain_mut(|(client, class, cost, opened)| {
                    if opened.try_recv().is_err() {
                        return true;
                    }
                    self.served[*client] += *cost;
                    let_in.push((*client, *class));
                    false
                });
            }
            let_in
        }
    }

    fn jain(served: &[u64]) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let served: Vec<f64> = served.iter().map(|one| *one as f64).collect();
        let (sum, squares): (f64, f64) = (served.iter().sum(), served.iter().map(|one| one * one).sum());
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let clients = served.len() as f64;
        sum * sum / (clients * squares)
    }

    #[test]
    fn a_client_with_ten_times_the_calls_gets_no_more_than_the_others() {
        // 20 units a tick; four clients ask for 5 each, one for 200.
        let mut play = Play::new(5);
        for _ in 0..100 {
            for call in 0..200 {
                play.enter(0, Class::Normal, 1);
                if call < 5 {
                    (1..5).for_each(|client| {
                        play.enter(client, Class::Normal, 1);
                    });
                }
            }
            let mut quota = 20;
            play.pour(&mut quota, 1);
            assert_eq!(quota, 0);
        }
        assert!(jain(&play.served) >= 0.98, "{:?}", play.served);
    }

    #[test]
    fn dear_calls_get_no_more_than_cheap_ones_and_are_not_starved() {
        let mut play = Play::new(2);
        let mut quota = 0;
        for _ in 0..2_000 {
            play.enter(0, Class::Normal, 10);
            (0..10).for_each(|_| {
                play.enter(1, Class::Normal, 1);
            });
            // What comes in is less than a dear call costs.
            quota += 3;
            play.pour(&mut quota, 10);
        }
        assert!(jain(&play.served) >= 0.99, "{:?}", play.served);
    }

    #[test]
    fn what_is_urgent_goes_first_and_a_twentieth_is_for_each_of_the_rest() {
        let mut play = Play::new(3);
        for (client, class) in Class::ALL.into_iter().enumerate() {
            (0..1_000).for_each(|_| {
                play.enter(client, class, 1);
            });
        }
        for _ in 0..400 {
            play.pour(&mut 1, 1);
        }
        assert_eq!(play.served.iter().sum::<u64>(), 400);
        assert!((17..=20).contains(&play.served[1]), "{:?}", play.served);
        assert!((17..=20).contains(&play.served[2]), "{:?}", play.served);
    }

    #[test]
    fn who_leaves_gives_the_place_to_the_next() {
        let mut play = Play::new(1);
        let places: Vec<u64> = (0..3).map(|_| play.enter(0, Class::Normal, 1)).collect();
        let left = play.room.leave(Class::Normal, "0", places[0]).expect("the first");
        assert_eq!(left.id, places[0]);
        assert!(play.room.leave(Class::Normal, "0", places[0]).is_none());
        assert!(play.room.leave(Class::Batch, "0", places[1]).is_none());
        assert_eq!(play.room.len(), 2);
        play.pour(&mut 5, 1);
        assert!(play.room.is_empty());
    }

    #[test]
    fn nobody_waits_behind_a_call_that_needs_something_else() {
        let mut room = Room::default();
        let client: Arc<str> = "acme".into();
        let (dry, other) = (oneshot::channel(), oneshot::channel());
        room.enter(Class::Normal, &client, Box::new([(0, 1)]), dry.0);
        room.enter(Class::Normal, &client, Box::new([(1, 1)]), other.0);
        let (_, waiter) = room
            .admit(1, |shares| if shares[0].0 == 0 { When::Released } else { When::Now })
            .expect("the other one goes");
        assert_eq!(*waiter.shares, [(1, 1)]);
    }

    #[test]
    fn a_dear_call_does_not_wait_behind_a_cheap_one_that_needs_what_is_exhausted() {
        let mut room = Room::default();
        let client: Arc<str> = "acme".into();
        let enter = |room: &mut Room, share: Share| {
            let (door, opened) = oneshot::channel();
            room.enter(Class::Normal, &client, Box::new([share]), door);
            opened
        };
        let flows = |shares: &[Share]| if shares[0].0 == 1 { When::Now } else { When::Released };
        // A first one has spent most of the turn.
        let _spent = enter(&mut room, (1, 9));
        let _dry = enter(&mut room, (0, 1));
        assert!(room.admit(10, flows).is_some());
        let _dear = enter(&mut room, (1, 10));
        let (_, waiter) = room.admit(10, flows).expect("its quota is there");
        assert_eq!(*waiter.shares, [(1, 10)]);
    }

    #[test]
    fn whoever_has_the_most_waiting_makes_room_and_nobody_is_pushed_out_by_who_has_as_many() {
        let mut play = Play::new(3);
        let batch: Vec<u64> = (0..4).map(|_| play.enter(0, Class::Batch, 1)).collect();
        let normal: Vec<u64> = (0..3).map(|_| play.enter(1, Class::Normal, 1)).collect();
        let pushed_out = |play: &mut Play, class, client| {
            play.room.make_room(class, client).map(|(class, waiter)| (class, waiter.id))
        };
        assert_eq!(pushed_out(&mut play, Class::Normal, "2"), Some((Class::Batch, batch[3])));
        assert_eq!(pushed_out(&mut play, Class::Batch, "2"), Some((Class::Batch, batch[2])));
        // Two of each are left of the least urgent: they stay before whoever has two already.
        play.enter(2, Class::Normal, 1);
        play.enter(2, Class::Normal, 1);
        assert_eq!(pushed_out(&mut play, Class::Normal, "2"), None);
        assert_eq!(pushed_out(&mut play, Class::Normal, "3"), Some((Class::Batch, batch[1])));
        assert_eq!(pushed_out(&mut play, Class::Normal, "3"), Some((Class::Normal, normal[2])));
    }

    #[test]
    fn a_call_dearer_than_a_turn_goes_after_some_turns() {
        let mut play = Play::new(2);
        play.enter(0, Class::Normal, 5);
        play.enter(1, Class::Normal, 1);
        for _ in 0..6 {
            play.pour(&mut 100, 1);
        }
        assert_eq!(play.served, [5, 1]);
    }
}
