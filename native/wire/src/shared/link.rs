//! The thread that speaks to the store: it connects, brings its functions along, and goes its rounds.
//!
//! Every wait has an end. Whatever is not as it must be ends the connection, and everyone is told that the
//! store is lost; then it tries again, less and less often.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, ErrorKind, RedisConnectionInfo, RedisError, ServerErrorKind, Value};
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;

use super::part::{Pool, Report, Told};
use super::{At, Config, Gone, Lent, Store, hex, locked};

/// For a connection, TLS and the password with it.
const CONNECT: Duration = Duration::from_secs(1);
/// For one round's answers.
const ANSWER: Duration = Duration::from_millis(500);
/// How often all is told that is not urgent. The store takes a node for silent after six of these.
const ROUND: Duration = Duration::from_millis(250);
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// How many pots are told in one breath.
const AT_ONCE: usize = 256;

const LIBRARY: &str = include_str!("library.lua");

/// Go on until the store is closed.
pub fn run(store: &Arc<Store>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return store.lost(format!("no runtime: {error}")),
    };
    runtime.block_on(async {
        let mut pause = BACK_OFF.0;
        while !store.is_closing() {
            let began = Instant::now();
            let Err(trouble) = converse(store).await else { return };
            store.lost(trouble.0);
            if began.elapsed() > BACK_OFF.1 {
                pause = BACK_OFF.0;
            }
            let ends = Instant::now() + pause;
            while !store.is_closing() && Instant::now() < ends {
                let _ = tokio::time::timeout_at(ends.into(), store.wake.notified()).await;
            }
            pause = (pause * 2).min(BACK_OFF.1);
        }
    });
}

/// Why the store is not to be had, for the operator: never a password.
pub struct Trouble(pub String);

impl Trouble {
    pub fn late() -> Self {
        Self("it does not answer in time".to_owned())
    }
}

impl From<RedisError> for Trouble {
    fn from(error: RedisError) -> Self {
        // What a server says is not repeated but for its code: it may be anybody's text.
        let what = match error.kind() {
            ErrorKind::AuthenticationFailed => "it does not take the user or password".to_owned(),
            ErrorKind::Parse => "what answers there does not speak the Redis protocol".to_owned(),
            ErrorKind::Server(ServerErrorKind::NoPerm) => {
                "its user lacks a permission: `+fcall +function|load +ping +del` on the keys".to_owned()
            }
            _ => match error.code() {
                Some("WRONGPASS" | "NOAUTH") => "it does not take the user or password".to_owned(),
                Some("NOPERM") => "its user lacks a permission".to_owned(),
                Some(code) if code.bytes().all(|byte| byte.is_ascii_uppercase()) && code.len() < 20 => {
                    format!("it answers `{code}`")
                }
                _ if error.is_timeout() => "it does not answer in time".to_owned(),
                _ if error.is_io_error() => "the connection broke".to_owned(),
                _ => "it answers what cannot be read".to_owned(),
            },
        };
        Self(what)
    }
}

fn late(_: tokio::time::error::Elapsed) -> Trouble {
    Trouble::late()
}

/// Whether nothing more is to be had by a connection.
pub fn is_broken(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_timeout()
        || error.is_unrecoverable_error()
        || error.kind() == ErrorKind::Parse
}

fn absurd() -> Trouble {
    Trouble("it answers what cannot be: somebody else writes to it".to_owned())
}

/// One connection, from beginning to end; Ok: the store is closed.
async fn converse(store: &Arc<Store>) -> Result<(), Trouble> {
    let mut link = tokio::time::timeout(CONNECT, Link::open(store)).await.map_err(late)??;
    let mut memory = Memory::default();
    let mut last = Instant::now();
    loop {
        let fresh = std::mem::take(&mut memory.news);
        let everything = last.elapsed() >= ROUND || !memory.is_told() || fresh;
        if everything {
            last = Instant::now();
        }
        link.round(store, &mut memory, everything).await?;
        if store.is_closing() {
            return link.leave(store, &memory).await;
        }
        if memory.is_told() && !memory.news {
            let until = last + ROUND;
            let _ = tokio::time::timeout_at(until.into(), store.wake.notified()).await;
        }
    }
}

/// What the store was found to be.
#[derive(Default)]
struct Memory {
    /// Since when it remembers (its clock).
    since: u64,
    /// For which of these it was told all that this node holds.
    claimed: u64,
    settled: bool,
    /// Whether it knows of everyone only now: all parts are to hear of that.
    news: bool,
    slot: u64,
}

impl Memory {
    fn is_told(&self) -> bool {
        self.since != 0 && self.claimed == self.since
    }
}

struct Link {
    connection: MultiplexedConnection,
    _driver: Driver,
    library: Library,
    member: String,
    share: String,
}

/// What drives a connection, which ends with it.
pub struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Functions that a gateway brings along. Their names end in a digest of their text, which has `@` there.
pub struct Library {
    pub version: String,
    code: String,
}

impl Library {
    pub fn new(text: &str) -> Self {
        let digest = digest::digest(&digest::SHA256, text.as_bytes());
        let version = hex(&digest.as_ref()[..8]);
        let code = format!("#!lua name=tidegate_{version}\n{}", text.replace('@', &version));
        Self { version, code }
    }

    /// See to it that the store has them; `trial` calls one of them and changes nothing.
    pub async fn bring(&self, connection: &mut MultiplexedConnection, trial: &Cmd) -> Result<(), RedisError> {
        match trial.query_async::<Value>(connection).await {
            Err(error) if format!("{error}").contains("Function not found") => {
                let load = redis::cmd("FUNCTION").arg("LOAD").arg("REPLACE").arg(&self.code).to_owned();
                load.query_async::<Value>(connection).await.map(drop)
            }
            answered => answered.map(drop),
        }
    }
}

/// Connect, and say who it is.
pub async fn connect(config: &Config) -> Result<(MultiplexedConnection, Driver), Trouble> {
    let mut info = RedisConnectionInfo::default().set_skip_set_lib_name();
    if let Some(user) = &config.user {
        info = info.set_username(user);
    }
    if let Some(password) = &config.password {
        info = info.set_password(password.as_str());
    }
    let broke = |what: &str| {
        let what = what.to_owned();
        move |error: std::io::Error| Trouble(format!("{what}: {}", error.kind()))
    };
    match &config.at {
        At::Unix(path) => {
            let stream = UnixStream::connect(path).await;
            speak(&info, stream.map_err(broke("its socket cannot be reached"))?).await
        }
        At::Tcp { host, port } => {
            let stream = TcpStream::connect((host.as_str(), *port)).await;
            let stream = stream.map_err(broke("it cannot be reached"))?;
            let _ = stream.set_nodelay(true);
            speak(&info, stream).await
        }
        At::Tls { host, port, ca_pem } => {
            let stream = TcpStream::connect((host.as_str(), *port)).await;
            let stream = stream.map_err(broke("it cannot be reached"))?;
            let _ = stream.set_nodelay(true);
            let name = ServerName::try_from(host.clone())
                .map_err(|_| Trouble("its host is no name that a certificate can have".to_owned()))?;
            let tls = tls(ca_pem.as_deref())?;
            let stream = tls.connect(name, stream).await.map_err(broke("TLS failed"))?;
            speak(&info, stream).await
        }
    }
}

impl Link {
    async fn open(store: &Store) -> Result<Self, Trouble> {
        let (connection, driver) = connect(&store.config).await?;
        let library = Library::new(LIBRARY);
        let mut link = Self {
            connection,
            _driver: driver,
            member: format!("tidegate_member_{}", library.version),
            share: format!("tidegate_share_{}", library.version),
            library,
        };
        let trial = link.member(store, &Memory::default(), false);
        match link.library.bring(&mut link.connection, &trial).await {
            Ok(()) => Ok(link),
            Err(error) if error.code() == Some("TAMPERED") => Err(link.begin_anew(store).await),
            Err(error) => Err(error.into()),
        }
    }

    fn member(&self, store: &Store, memory: &Memory, leaves: bool) -> Cmd {
        let mut cmd = redis::cmd("FCALL");
        cmd.arg(&self.member).arg(1).arg(members(store));
        cmd.arg(&store.node).arg(store.nodes()).arg(memory.claimed).arg(u8::from(leaves));
        cmd
    }

    fn share(&self, store: &Store, memory: &Memory, told: &Telling<'_>) -> Cmd {
        let mut cmd = redis::cmd("FCALL");
        let window = u64::try_from(told.pool.window.as_millis()).unwrap_or(u64::MAX >> 14);
        let interval = told.pool.interval.map_or(0, |interval| (interval / 1_000).max(1));
        cmd.arg(&self.share).arg(1).arg(told.key);
        cmd.arg(&store.node).arg(store.run).arg(store.sequence.fetch_add(1, Ordering::Relaxed));
        cmd.arg(memory.slot).arg(store.nodes()).arg(memory.since).arg(u8::from(memory.settled));
        cmd.arg(told.pool.quota).arg(window).arg(interval).arg(u8::from(told.keeps));
        let Report { have, need, want, spent, refunded } = told.report;
        cmd.arg(have)
            .arg(need)
            .arg(want)
            .arg(spent)
            .arg(refunded)
            .arg(u8::from(told.leaves))
            .arg(u8::from(told.known));
        cmd
    }

    /// Tell the store what is urgent, or everything, and take its answers.
    async fn round(&mut self, store: &Store, memory: &mut Memory, everything: bool) -> Result<(), Trouble> {
        let whole = memory.since != 0 && everything;
        let mut parts = store.all();
        parts.retain(|lent| lent.urgent.swap(false, Ordering::AcqRel) || everything);
        let gone = std::mem::take(&mut locked(&store.known).gone);
        let mut chunks = parts.chunks(AT_ONCE);
        let mut gone = gone.as_slice();
        loop {
            let chunk = chunks.next().unwrap_or_default();
            self.breath(store, memory, if memory.since == 0 { &[] } else { chunk }, gone).await?;
            gone = &[];
            if chunks.len() == 0 {
                break;
            }
        }
        if whole {
            memory.claimed = memory.since;
        }
        Ok(())
    }

    async fn breath(
        &mut self,
        store: &Store,
        memory: &mut Memory,
        parts: &[Arc<Lent>],
        gone: &[Gone],
    ) -> Result<(), Trouble> {
        let now = store.now();
        let mut pipe = redis::pipe();
        pipe.add_command(self.member(store, memory, false));
        let mut told: Vec<(&Arc<Lent>, Report, bool)> = Vec::with_capacity(parts.len());
        for lent in parts {
            if let Some(holder) = lent.holder.upgrade() {
                holder.refresh(lent);
            }
            let mut part = lent.part();
            let (pool, report) = (part.pool(), part.report(now));
            drop(part);
            let leaves = report.want == 0;
            if leaves && !lent.entered.load(Ordering::Relaxed) {
                continue;
            }
            let known = lent.entered.swap(!leaves, Ordering::Relaxed);
            let telling = Telling { key: &lent.key, keeps: lent.keeps, pool, report, leaves, known };
            pipe.add_command(self.share(store, memory, &telling));
            told.push((lent, report, leaves));
        }
        for Gone { key, keeps, pool, report } in gone {
            let (keeps, pool, report) = (*keeps, *pool, *report);
            let telling = Telling { key, keeps, pool, report, leaves: true, known: false };
            pipe.add_command(self.share(store, memory, &telling));
        }
        let answers = pipe.query_async::<Vec<Vec<i64>>>(&mut self.connection);
        let answers = match tokio::time::timeout(ANSWER, answers).await.map_err(late)? {
            Ok(answers) => answers,
            Err(error) if error.code() == Some("TAMPERED") => return Err(self.begin_anew(store).await),
            Err(error) => return Err(error.into()),
        };
        let mut answers = answers.into_iter();
        let here = answers.next().ok_or_else(absurd)?;
        let [since, settled, slot, present] = *here.as_slice() else { return Err(absurd()) };
        let number = |value: i64| u64::try_from(value).map_err(|_| absurd());
        let (since, slot, present) = (number(since)?, number(slot)?, number(present)?);
        if since == 0 || present == 0 {
            return Err(absurd());
        }
        if memory.since != since {
            // It remembers nothing from before: everyone is to tell it what he holds first.
            if memory.since != 0 {
                store.forgotten();
            }
            *memory = Memory { since, slot, ..Memory::default() };
            store.connected(slot, present, false);
            return Ok(());
        }
        memory.news |= settled == 1 && !memory.settled;
        (memory.settled, memory.slot) = (settled == 1, slot);
        store.connected(slot, present, memory.settled);
        let now = store.now();
        for ((lent, report, leaves), answer) in told.into_iter().zip(answers) {
            let [open, held, fair, slack, others] = *answer.as_slice() else { return Err(absurd()) };
            if open < 0 {
                continue;
            }
            let told = Told {
                open: open == 1,
                held: number(held)?,
                fair: (fair >= 0).then(|| number(fair)).transpose()?,
                slack: slack == 1,
                others: number(others)?,
            };
            let mut part = lent.part();
            if leaves {
                part.left_store(report);
            }
            if !part.told(now, slot, told) {
                return Err(absurd());
            }
            drop(part);
            lent.changed();
        }
        Ok(())
    }

    /// What stands at the store is no count of ours: what nodes hold is gathered from them anew.
    async fn begin_anew(&mut self, store: &Store) -> Trouble {
        let forget = redis::cmd("DEL").arg(members(store)).to_owned();
        let _ = tokio::time::timeout(ANSWER, forget.query_async::<Value>(&mut self.connection)).await;
        Trouble("its counts were tampered with, and are gathered anew from the gateways".to_owned())
    }

    /// Give all back.
    async fn leave(&mut self, store: &Store, memory: &Memory) -> Result<(), Trouble> {
        let now = store.now();
        let mut pipe = redis::pipe();
        for lent in store.all() {
            if let Some(holder) = lent.holder.upgrade() {
                holder.refresh(&lent);
            }
            if !lent.entered.swap(false, Ordering::Relaxed) {
                continue;
            }
            let mut part = lent.part();
            let (pool, report) = (part.pool(), part.report(now));
            let report = Report { have: part.counts(), ..report };
            drop(part);
            let telling =
                Telling { key: &lent.key, keeps: lent.keeps, pool, report, leaves: true, known: false };
            pipe.add_command(self.share(store, memory, &telling));
        }
        pipe.add_command(self.member(store, memory, true));
        let _ = tokio::time::timeout(ANSWER, pipe.query_async::<Value>(&mut self.connection)).await;
        Ok(())
    }
}

/// What is told of one pot.
struct Telling<'t> {
    key: &'t str,
    keeps: bool,
    pool: Pool,
    report: Report,
    leaves: bool,
    /// The store was told of it before.
    known: bool,
}

fn members(store: &Store) -> String {
    format!("{}:v1:members", store.config.prefix)
}

async fn speak<S>(info: &RedisConnectionInfo, stream: S) -> Result<(MultiplexedConnection, Driver), Trouble>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // The password is a part of this, so that it is bounded with it.
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(CONNECT));
    let (connection, driver) = MultiplexedConnection::new_with_config(info, stream, config).await?;
    Ok((connection, Driver(tokio::spawn(driver))))
}

fn tls(ca_pem: Option<&str>) -> Result<tokio_rustls::TlsConnector, Trouble> {
    let wrong = || Trouble("its authority's certificates cannot be read".to_owned());
    let mut roots = RootCertStore::empty();
    match ca_pem {
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let certificate = certificate.map_err(|_| wrong())?;
                roots.add(certificate).map_err(|_| wrong())?;
            }
        }
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
    }
    let crypto = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(crypto)
        .with_safe_default_protocol_versions()
        .map_err(|_| wrong())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config).into())
}
