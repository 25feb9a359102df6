//! What is kept on disk comes back for whom it is, as it was, and not after it has changed.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::{HeaderMap, Method};
use zeroize::Zeroizing;

use crate::cache::Cache;
use crate::cache::disk::Settings;
use crate::cache::purge::Which;
use crate::cache::status::Way;
use crate::cache::store::Bounds;
use crate::cache::tests::{Caller, headers, snapshot, whose};
use crate::snapshot::Snapshot;

const RULES: &str = "{\"mode\":\"principal\"}";
const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=600"), ("cache-groups", "\"menu\"")];
const DISK: u64 = 1 << 20;

struct Place {
    folder: tempfile::TempDir,
    snapshot: Snapshot,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("folder"), snapshot: snapshot(RULES) }
    }

    /// An engine that starts here, with the keys of these clients.
    fn start(&self, clients: &[usize]) -> Arc<Cache> {
        let disk = Settings { folder: self.folder.path().join("cache"), bytes: DISK };
        let bounds = Bounds { answer_bytes: 64 << 10, disk: Some(disk), ..Bounds::default() };
        let cache = Cache::start(bounds, None).expect("the folder can be written");
        lend(&cache, clients);
        cache
    }

    fn wait_until_free(&self) {
        let lock = fs::File::open(self.folder.path().join("cache/lock")).expect("lock");
        lock.lock().expect("locked");
    }

    fn files(&self) -> Vec<PathBuf> {
        let folders = fs::read_dir(self.folder.path().join("cache")).expect("folder");
        let folders = folders.map(|entry| entry.expect("entry").path()).filter(|path| path.is_dir());
        folders
            .flat_map(|folder| fs::read_dir(folder).expect("folder").map(|file| file.expect("file").path()))
            .collect()
    }

    async fn get(&self, cache: &Arc<Cache>, client: usize, path: &str, body: &str) -> (String, Way) {
        self.call(cache, client, &Method::GET, path, &HeaderMap::new(), FRESH, body).await
    }

    #[allow(clippy::too_many_arguments)] // all of a call
    async fn call(
        &self,
        cache: &Arc<Cache>,
        client: usize,
        method: &Method,
        path: &str,
        fields: &HeaderMap,
        said: &[(&'static str, &str)],
        body: &str,
    ) -> (String, Way) {
        let origin = "https://p.test".parse().expect("origin");
        let caller = Caller { cache, provider: self.snapshot.provider(0), origin: &origin };
        let (body, way) =
            caller.call(whose(client, 0, client), method, (path, None), fields, said, body.into()).await;
        settled(cache);
        (String::from_utf8(body.to_vec()).expect("text"), way)
    }
}

fn lend(cache: &Cache, clients: &[usize]) {
    let key = |client: &usize| {
        let byte = u8::try_from(*client).expect("few");
        (Some(format!("client-{client}").into()), Zeroizing::new(vec![byte + 1; 32]))
    };
    let mut keys: HashMap<Option<Arc<str>>, _> = clients.iter().map(key).collect();
    keys.insert(None, Zeroizing::new(vec![200; 32]));
    cache.put_keys(&keys);
    settled(cache);
}

/// All that was handed on until now is done.
fn settled(cache: &Cache) {
    let nobodys = Which { client: Some("nobody".into()), ..Which::default() };
    cache.disk.as_ref().expect("a disk").purge(&nobodys);
}

fn forget_memory(cache: &Cache) {
    cache.store.purge(|_| true);
}

/// Of the one answer that is there.
fn key_in_memory(cache: &Cache) -> String {
    let key = RefCell::new(String::new());
    cache.store.purge(|entry| {
        key.replace(entry.label.key.hex());
        false
    });
    key.into_inner()
}

fn close(cache: &Cache) {
    cache.disk.as_ref().expect("a disk").close();
}

#[tokio::test]
async fn what_memory_has_no_room_for_comes_back_from_disk() {
    let place = Place::new();
    let cache = place.start(&[1, 2]);
    assert_eq!(place.get(&cache, 1, "/a", "first").await.1, Way::Miss);
    forget_memory(&cache);
    assert_eq!(place.get(&cache, 1, "/a", "never").await, ("first".into(), Way::Hit));
    assert_eq!(place.get(&cache, 2, "/a", "another's").await.1, Way::Miss);
    let held = cache.stats().disk.expect("a disk");
    assert_eq!((held.answers, held.bytes_max), (2, DISK));
}

#[tokio::test]
async fn an_answer_is_found_again_after_an_orderly_end_and_is_as_old_as_it_is() {
    let place = Place::new();
    let cache = place.start(&[1]);
    let aged = &[("cache-control", "max-age=600"), ("age", "100"), ("etag", "\"v1\"")];
    place.call(&cache, 1, &Method::GET, "/a", &HeaderMap::new(), aged, "body").await;
    close(&cache);
    drop(cache);
    let cache = place.start(&[1]);
    assert_eq!(place.get(&cache, 1, "/a", "never").await, ("body".into(), Way::Hit));
    let found = cache.store.purge(|entry| {
        let age = entry.age(std::time::Instant::now()).as_secs();
        (100..110).contains(&age) && entry.etag().is_some_and(|tag| tag == "\"v1\"")
    });
    assert_eq!(found, 1);
}

#[tokio::test]
async fn after_an_end_that_was_none_nothing_is_found() {
    let place = Place::new();
    let cache = place.start(&[1]);
    place.get(&cache, 1, "/a", "first").await;
    // The engine is gone without a word; its lock goes when its threads have noticed.
    drop(cache);
    place.wait_until_free();
    let cache = place.start(&[1]);
    assert_eq!(place.get(&cache, 1, "/a", "second").await, ("second".into(), Way::Miss));
}

#[tokio::test]
async fn each_variant_stands_for_itself() {
    let place = Place::new();
    let cache = place.start(&[1]);
    let said = &[("cache-control", "max-age=600"), ("vary", "accept-language")];
    let (german, english) = (headers(&[("accept-language", "de")]), headers(&[("accept-language", "en")]));
    for (fields, body) in [(&german, "gut"), (&english, "good")] {
        place.call(&cache, 1, &Method::GET, "/a", fields, said, body).await;
    }
    close(&cache);
    drop(cache);
    let cache = place.start(&[1]);
    for (fields, body) in [(&english, "good"), (&german, "gut")] {
        let answer = place.call(&cache, 1, &Method::GET, "/a", fields, said, "never").await;
        assert_eq!(answer, (body.into(), Way::Hit));
    }
    let french = headers(&[("accept-language", "fr")]);
    assert_eq!(place.call(&cache, 1, &Method::GET, "/a", &french, said, "bon").await.1, Way::Miss);
}

/// Change the files between two calls; the second finds nothing, and what is not believed is gone.
async fn finds_nothing_after(change: impl Fn(&[PathBuf])) {
    let place = Place::new();
    let cache = place.start(&[1]);
    for (path, body) in [("/a", "first"), ("/b", "other")] {
        place.get(&cache, 1, path, body).await;
    }
    let files = place.files();
    assert_eq!(files.len(), 2);
    change(&files);
    forget_memory(&cache);
    for (path, body) in [("/a", "second"), ("/b", "another")] {
        assert_eq!(place.get(&cache, 1, path, body).await, (body.into(), Way::Miss), "{path}");
    }
    forget_memory(&cache);
    assert_eq!(place.get(&cache, 1, "/a", "never").await, ("second".into(), Way::Hit));
}

#[tokio::test]
async fn a_file_with_another_byte_in_it_is_not_there() {
    let change = |path: &PathBuf, at: usize| {
        let mut bytes = fs::read(path).expect("file");
        let at = at % bytes.len();
        bytes[at] ^= 1;
        fs::write(path, bytes).expect("written");
    };
    for at in [0, 5, 20, 60, 90, 150, usize::MAX] {
        finds_nothing_after(|files| files.iter().for_each(|path| change(path, at))).await;
    }
}

#[tokio::test]
async fn a_file_that_is_cut_empty_longer_or_gone_is_not_there() {
    let cut = |path: &PathBuf, length: usize| {
        let mut bytes = fs::read(path).expect("file");
        bytes.resize(bytes.len().saturating_add_signed(isize::try_from(length).expect("small") - 100), 0);
        fs::write(path, bytes).expect("written");
    };
    for length in [0, 99, 101, 5_000] {
        finds_nothing_after(|files| files.iter().for_each(|path| cut(path, length))).await;
    }
    finds_nothing_after(|files| files.iter().for_each(|path| fs::write(path, b"").expect("written"))).await;
    finds_nothing_after(|files| files.iter().for_each(|path| fs::remove_file(path).expect("gone"))).await;
}

#[tokio::test]
async fn two_files_that_changed_places_are_not_there() {
    finds_nothing_after(|files| {
        let aside = files[0].with_extension("aside");
        fs::rename(&files[0], &aside).expect("moved");
        fs::rename(&files[1], &files[0]).expect("moved");
        fs::rename(&aside, &files[1]).expect("moved");
    })
    .await;
}

#[tokio::test]
async fn what_was_moved_cut_or_changed_while_nobody_looked_is_not_there() {
    let place = Place::new();
    let cache = place.start(&[1]);
    for path in ["/a", "/b", "/c", "/d"] {
        place.get(&cache, 1, path, "first").await;
    }
    close(&cache);
    drop(cache);
    let files = place.files();
    let swap = fs::read(&files[0]).expect("file");
    fs::write(&files[1], swap).expect("written");
    fs::write(&files[0], b"short").expect("written");
    let mut last = fs::read(&files[2]).expect("file");
    last.iter_mut().rev().take(1).for_each(|byte| *byte ^= 128);
    fs::write(&files[2], last).expect("written");
    let somebodys = files[3].with_file_name("not a place");
    fs::write(&somebodys, b"x").expect("written");
    fs::write(files[3].with_extension("part"), fs::read(&files[3]).expect("file")).expect("written");
    let cache = place.start(&[1]);
    let mut hits = 0;
    for path in ["/a", "/b", "/c", "/d"] {
        hits += u32::from(place.get(&cache, 1, path, "second").await.1 == Way::Hit);
    }
    assert_eq!(hits, 1, "the one that nobody touched");
    assert!(somebodys.exists(), "what is no answer is let alone");
}

#[tokio::test]
async fn nothing_on_disk_can_be_read_or_guessed() {
    let place = Place::new();
    let cache = place.start(&[1]);
    place.get(&cache, 1, "/someone", "a secret of somebody").await;
    let files = place.files();
    let bytes = fs::read(&files[0]).expect("file");
    for clear in ["secret", "client-1", "someone", "p.test", "menu", "max-age"] {
        assert!(!bytes.windows(clear.len()).any(|part| part == clear.as_bytes()), "{clear}");
    }
    let key = key_in_memory(&cache);
    assert!(key.len() == 64 && files.iter().all(|file| !file.ends_with(&key)));
    assert!(mode(&files[0]) == 0o600 && mode(files[0].parent().expect("folder")) == 0o700);
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).expect("metadata").permissions().mode() & 0o777
}

#[tokio::test]
async fn a_client_that_is_shredded_has_nothing_on_disk() {
    let place = Place::new();
    let cache = place.start(&[1, 2]);
    for client in [1, 2] {
        place.get(&cache, client, "/a", "first").await;
    }
    let stolen: HashMap<PathBuf, Vec<u8>> =
        place.files().into_iter().map(|path| (path.clone(), fs::read(path).expect("file"))).collect();
    lend(&cache, &[2]);
    forget_memory(&cache);
    assert_eq!(place.files().len(), 1);
    assert_eq!(place.get(&cache, 1, "/a", "second").await.1, Way::Miss, "and it is kept in memory alone");
    assert_eq!(place.files().len(), 1);
    assert_eq!(place.get(&cache, 2, "/a", "never").await.1, Way::Hit);
    close(&cache);
    drop(cache);
    // A copy from before: the key that it wants does not come again.
    for (path, bytes) in &stolen {
        fs::write(path, bytes).expect("written");
    }
    let cache = place.start(&[2]);
    assert_eq!(place.get(&cache, 1, "/a", "third").await.1, Way::Miss);
    assert_eq!(place.get(&cache, 2, "/a", "never").await.1, Way::Hit);
}

#[tokio::test]
async fn a_purge_takes_out_what_is_named_and_nothing_else() {
    let purges = [
        Which { client: Some("client-1".into()), ..Which::default() },
        Which { client: Some("client-1".into()), provider: Some("p".into()), ..Which::default() },
        Which { operation: Some("get".into()), client: Some("client-1".into()), ..Which::default() },
        Which { group: Some("menu".into()), client: Some("client-1".into()), ..Which::default() },
    ];
    for which in purges {
        let place = Place::new();
        let cache = place.start(&[1, 2]);
        for client in [1, 2] {
            place.get(&cache, client, "/a", "first").await;
        }
        assert_eq!(
            cache.purge(&Which {
                client: which.client.clone(),
                group: Some("other".into()),
                ..Which::default()
            }),
            Some(0)
        );
        assert_eq!(cache.purge(&which), Some(1), "{which:?}");
        assert_eq!(place.get(&cache, 1, "/a", "second").await.1, Way::Miss, "{which:?}");
        forget_memory(&cache);
        assert_eq!(place.get(&cache, 2, "/a", "never").await.1, Way::Hit, "{which:?}");
        forget_memory(&cache);
        assert_eq!(cache.purge(&Which { all: true, ..Which::default() }), Some(2));
        assert_eq!(place.files().len(), 0);
    }
}

#[tokio::test]
async fn a_purge_by_key_finds_it_on_disk() {
    let place = Place::new();
    let cache = place.start(&[1]);
    place.get(&cache, 1, "/a", "first").await;
    let key = key_in_memory(&cache);
    forget_memory(&cache);
    for (named, gone) in [("00".repeat(32), 0), ("no key".into(), 0), (key, 1), ("é".repeat(32), 0)] {
        assert_eq!(cache.purge(&Which { key: Some(named), ..Which::default() }), Some(gone));
    }
}

#[tokio::test]
async fn what_has_changed_does_not_come_back_from_disk_or_after_a_restart() {
    let place = Place::new();
    let cache = place.start(&[1]);
    place.get(&cache, 1, "/a", "before").await;
    place.call(&cache, 1, &Method::POST, "/a", &HeaderMap::new(), &[], "changed").await;
    assert_eq!(place.files().len(), 0);
    close(&cache);
    drop(cache);
    let cache = place.start(&[1]);
    assert_eq!(place.get(&cache, 1, "/a", "after").await, ("after".into(), Way::Miss));
    cache.forget_connection("con-1-0");
    settled(&cache);
    assert_eq!(place.files().len(), 0, "its credential was refused");
}

#[tokio::test]
async fn the_disk_holds_no_more_than_it_may_and_keeps_what_is_asked_for() {
    let place = Place::new();
    let cache = place.start(&[1]);
    let body = "x".repeat(40_000);
    place.get(&cache, 1, "/wanted", &body).await;
    for number in 0..60 {
        place.get(&cache, 1, &format!("/{number}"), &body).await;
        forget_memory(&cache);
        assert_eq!(place.get(&cache, 1, "/wanted", "never").await.1, Way::Hit, "{number}");
        forget_memory(&cache);
        let on_disk: u64 = place.files().iter().map(|file| fs::metadata(file).expect("file").len()).sum();
        let held = cache.stats().disk.expect("a disk");
        assert!(on_disk == held.bytes && on_disk <= DISK, "{on_disk} of {}", held.bytes);
    }
    assert!(cache.stats().disk.expect("a disk").answers > 20);
    assert_eq!(place.get(&cache, 1, "/0", "again").await.1, Way::Miss, "it was asked for longest ago");
}

#[test]
fn two_engines_never_share_a_folder() {
    let place = Place::new();
    let _cache = place.start(&[1]);
    let disk = Settings { folder: place.folder.path().join("cache"), bytes: DISK };
    assert!(Cache::start(Bounds { disk: Some(disk), ..Bounds::default() }, None).is_err());
}
