//! The keys of persons that this engine knows, and those it asks for.
//!
//! They are kept by the vault, one for each person of a client; the engine keeps a bounded number of them for a
//! while, and asks for the others. A key that is new is on disk before it is answered, so no token leaves that a
//! crash could make noise. Whatever changes what a snapshot depends on has all forgotten: an erased person's key is
//! gone from here within a moment, and where the store cannot be reached, within [`KEPT`].

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::person::{Id, PersonKey};
use crate::subject::Index;

/// For how long a key serves without being asked for again.
pub const KEPT: Duration = Duration::from_secs(600);
/// How long a call waits for one.
const PATIENCE: Duration = Duration::from_secs(5);
/// Keys in memory; what is used least goes.
const KEYS_MAX: usize = 20_000;
/// Calls that wait; more are refused.
const WAITING_MAX: usize = 1_024;
/// Of how many tokens' persons one question is.
const IDS_ASKED_MAX: usize = 256;
/// Of how many persons tokens in one answer become values again.
pub const ANSWER_PERSONS_MAX: usize = 4_096;

/// Keys by id; None: there is no such key, or no more.
pub type Known = HashMap<Id, Option<Arc<PersonKey>>>;
/// What Python answers; None where it cannot say.
pub type Answer = Option<Vec<(Id, Zeroizing<Vec<u8>>)>>;

/// One question for Python.
pub struct Asked {
    pub id: u64,
    pub client: Arc<str>,
    pub whom: Whom,
    deadline: Instant,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whom {
    /// A person, whose key is made where there is none.
    Person(Index),
    /// Those whose tokens were found.
    Ids(Vec<Id>),
}

type Kept<T> = (Instant, T);

pub struct Persons {
    by_index: Cache<(Arc<str>, Index), Kept<Arc<PersonKey>>>,
    by_id: Cache<(Arc<str>, Id), Kept<Option<Arc<PersonKey>>>>,
    /// How often all was forgotten: an answer from before is not kept.
    forgotten: AtomicU64,
    waiting: Mutex<Waiting>,
    any: Condvar,
}

#[derive(Default)]
struct Waiting {
    asked: VecDeque<Asked>,
    answers: HashMap<u64, oneshot::Sender<Answer>>,
    last: u64,
}

impl Default for Persons {
    fn default() -> Self {
        Self {
            by_index: Cache::new(KEYS_MAX),
            by_id: Cache::new(KEYS_MAX),
            forgotten: AtomicU64::default(),
            waiting: Mutex::default(),
            any: Condvar::default(),
        }
    }
}

impl Persons {
    /// A person's key; None where it cannot be had.
    pub async fn of(&self, client: &Arc<str>, index: &Index) -> Option<Arc<PersonKey>> {
        let place = (Arc::clone(client), *index);
        if let Some(key) = fresh(self.by_index.get(&place)) {
            return Some(key);
        }
        let before = self.forgotten.load(Ordering::Acquire);
        let answered = self.ask(client, Whom::Person(*index)).await?;
        let [(id, secret)] = <[_; 1]>::try_from(answered).ok()?;
        let key = Arc::new(PersonKey::new(id, &secret)?);
        self.keep(before, || {
            self.by_index.insert(place, (Instant::now(), Arc::clone(&key)));
            self.by_id.insert((Arc::clone(client), id), (Instant::now(), Some(Arc::clone(&key))));
        });
        Some(key)
    }

    /// What is known here of the key of this id.
    pub fn known(&self, client: &Arc<str>, id: &Id) -> Option<Option<Arc<PersonKey>>> {
        fresh(self.by_id.get(&(Arc::clone(client), *id)))
    }

    /// The keys of these ids, as far as they can be had.
    pub async fn of_ids(&self, client: &Arc<str>, wanted: &HashSet<Id>) -> Known {
        let mut found = Known::new();
        let wanted: Vec<Id> = wanted.iter().copied().take(ANSWER_PERSONS_MAX).collect();
        for ids in wanted.chunks(IDS_ASKED_MAX) {
            let before = self.forgotten.load(Ordering::Acquire);
            let Some(answered) = self.ask(client, Whom::Ids(ids.to_vec())).await else { break };
            let mut keys: HashMap<Id, Zeroizing<Vec<u8>>> = answered.into_iter().collect();
            for id in ids {
                let key = keys.remove(id).and_then(|secret| PersonKey::new(*id, &secret)).map(Arc::new);
                self.keep(before, || {
                    self.by_id.insert((Arc::clone(client), *id), (Instant::now(), key.clone()));
                });
                found.insert(*id, key);
            }
        }
        found
    }

    /// Forget all that is known; it is asked for again.
    pub fn forget(&self) {
        self.forgotten.fetch_add(1, Ordering::AcqRel);
        self.by_index.clear();
        self.by_id.clear();
    }

    /// Wait for questions, and take some.
    pub fn take(&self, most: usize, patience: Duration) -> Vec<Asked> {
        let waited =
            self.any.wait_timeout_while(self.waiting(), patience, |waiting| waiting.asked.is_empty());
        let (mut waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let number = waiting.asked.len().min(most);
        let now = Instant::now();
        waiting.asked.drain(..number).filter(|asked| now < asked.deadline).collect()
    }

    /// An answer that nobody waits for any more is forgotten.
    pub fn answer(&self, id: u64, answer: Answer) {
        if let Some(sender) = self.waiting().answers.remove(&id) {
            let _ = sender.send(answer);
        }
    }

    async fn ask(&self, client: &Arc<str>, whom: Whom) -> Answer {
        let deadline = Instant::now() + PATIENCE;
        let (sender, receiver) = oneshot::channel();
        let id = {
            let mut waiting = self.waiting();
            if waiting.answers.len() >= WAITING_MAX {
                return None;
            }
            waiting.last += 1;
            let id = waiting.last;
            waiting.answers.insert(id, sender);
            waiting.asked.push_back(Asked { id, client: Arc::clone(client), whom, deadline });
            id
        };
        self.any.notify_one();
        // Whoever goes away, or is late, leaves nothing behind.
        let _leaving = Leaving { persons: self, id };
        tokio::time::timeout_at(deadline.into(), receiver).await.ok()?.ok()?
    }

    /// Keep what was learned, unless all was forgotten since the question.
    fn keep(&self, before: u64, keep: impl FnOnce()) {
        keep();
        if self.forgotten.load(Ordering::Acquire) != before {
            self.by_index.clear();
            self.by_id.clear();
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fresh<T>(kept: Option<Kept<T>>) -> Option<T> {
    kept.filter(|(since, _)| since.elapsed() < KEPT).map(|(_, known)| known)
}

struct Leaving<'p> {
    persons: &'p Persons,
    id: u64,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        let mut waiting = self.persons.waiting();
        waiting.answers.remove(&self.id);
        waiting.asked.retain(|asked| asked.id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: Index = [1; 32];

    /// Answer each question that comes, until told to stop by a client called `stop`.
    fn answering(
        persons: &Arc<Persons>,
        mut answer: impl FnMut(&Asked) -> Answer + Send + 'static,
    ) -> std::thread::JoinHandle<usize> {
        let persons = Arc::clone(persons);
        std::thread::spawn(move || {
            for number in 0.. {
                let asked = loop {
                    if let Some(asked) = persons.take(1, Duration::from_secs(1)).pop() {
                        break asked;
                    }
                };
                if &*asked.client == "stop" {
                    persons.answer(asked.id, None);
                    return number;
                }
                persons.answer(asked.id, answer(&asked));
            }
            0
        })
    }

    async fn stopped(persons: &Persons, thread: std::thread::JoinHandle<usize>) -> usize {
        assert!(persons.of(&"stop".into(), &ADA).await.is_none());
        assert!(persons.waiting().answers.is_empty() && persons.waiting().asked.is_empty());
        thread.join().expect("joined")
    }

    fn secret(byte: u8) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(vec![byte; 32])
    }

    #[tokio::test]
    async fn a_key_is_asked_for_once_and_again_when_all_was_forgotten() {
        let (persons, client) = (Arc::new(Persons::default()), "acme".into());
        let thread = answering(&persons, |asked| {
            assert_eq!((&*asked.client, &asked.whom), ("acme", &Whom::Person(ADA)));
            Some(vec![([7; 16], secret(1))])
        });
        for _ in 0..3 {
            assert_eq!(persons.of(&client, &ADA).await.expect("a key").id, [7; 16]);
        }
        assert!(persons.known(&client, &[7; 16]).expect("known").is_some());
        assert!(persons.known(&"globex".into(), &[7; 16]).is_none());
        persons.forget();
        assert!(persons.known(&client, &[7; 16]).is_none());
        assert!(persons.of(&client, &ADA).await.is_some());
        assert_eq!(stopped(&persons, thread).await, 2);
    }

    #[tokio::test]
    async fn an_answer_from_before_all_was_forgotten_is_not_kept() {
        let (persons, client) = (Arc::new(Persons::default()), "acme".into());
        let theirs = Arc::clone(&persons);
        let thread = answering(&persons, move |_| {
            theirs.forget();
            Some(vec![([7; 16], secret(1))])
        });
        assert!(persons.of(&client, &ADA).await.is_some());
        assert!(persons.known(&client, &[7; 16]).is_none());
        stopped(&persons, thread).await;
    }

    #[tokio::test]
    async fn an_id_without_a_key_is_known_to_have_none() {
        let (persons, client) = (Arc::new(Persons::default()), "acme".into());
        let thread = answering(&persons, |asked| match &asked.whom {
            Whom::Ids(ids) => Some(ids.iter().filter(|id| id[0] == 1).map(|id| (*id, secret(1))).collect()),
            Whom::Person(_) => None,
        });
        let found = persons.of_ids(&client, &HashSet::from([[1; 16], [2; 16]])).await;
        assert!(found[&[1; 16]].is_some() && found[&[2; 16]].is_none());
        assert!(persons.known(&client, &[2; 16]).expect("known").is_none());
        assert!(persons.of(&client, &ADA).await.is_none());
        stopped(&persons, thread).await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_not_answered_goes_on_without_a_key_and_leaves_nothing_behind() {
        let persons = Persons::default();
        assert!(persons.of(&"acme".into(), &ADA).await.is_none());
        assert!(persons.take(9, Duration::ZERO).is_empty());
        assert!(persons.waiting().answers.is_empty());
    }

    #[tokio::test]
    async fn what_is_no_key_is_none() {
        let (persons, client) = (Arc::new(Persons::default()), "acme".into());
        let thread = answering(&persons, |_| Some(vec![([7; 16], Zeroizing::new(vec![1; 31]))]));
        assert!(persons.of(&client, &ADA).await.is_none());
        stopped(&persons, thread).await;
    }
}
