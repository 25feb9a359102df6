//! The wire path as a Python module: conversions and lifetimes, nothing else. `_wire.pyi` mirrors it.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, UNIX_EPOCH};

use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use tidegate_wire::engine::{self, Engine as Wire};
use tidegate_wire::error::PROBLEMS;
use tidegate_wire::hooks::Answered;
use tidegate_wire::protect::person::ID_BYTES;
use tidegate_wire::protect::persons::Whom;
use tidegate_wire::subject::{self, identifier::Named};
use zeroize::Zeroizing;

/// Every call allocates a little, many times: this takes less time and memory over it than malloc.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

create_exception!(_wire, EngineError, PyException, "The engine refused what it was given.");
create_exception!(_wire, FetchError, PyException, "A call of Tidegate's own failed: (code, detail).");

fn refused(error: impl std::fmt::Display) -> PyErr {
    EngineError::new_err(error.to_string())
}

/// Secrets as Python gives them; wiped when they are let go.
fn secret_fields(fields: HashMap<String, Vec<u8>>) -> HashMap<Box<str>, Zeroizing<Vec<u8>>> {
    fields.into_iter().map(|(name, value)| (name.into_boxed_str(), Zeroizing::new(value))).collect()
}

/// Status, headers and body of an answer.
type Fetched<'py> = (u16, Vec<(String, String)>, Bound<'py, PyBytes>);

/// A call to be signed: its number, method and URL, header fields, body, and the credential's fields.
type HookCall<'py> = (
    u64,
    String,
    String,
    Vec<(String, Bound<'py, PyBytes>)>,
    Bound<'py, PyBytes>,
    Vec<(String, Bound<'py, PyBytes>)>,
);

/// Persons' keys that are asked for: the question's number, the client, and the person's index or keys' ids.
type PersonAsk<'py> = (u64, String, Option<Bound<'py, PyBytes>>, Vec<Bound<'py, PyBytes>>);

/// Listeners, workers and spool. Dropping it without `shutdown` ends it at once.
#[pyclass(frozen, module = "tidegate.engine._wire")]
struct Engine(Wire);

#[pymethods]
impl Engine {
    #[new]
    fn new(config: &str, token_key: &[u8]) -> PyResult<Self> {
        Wire::start(config, token_key).map(Self).map_err(refused)
    }

    fn addresses(&self) -> Vec<(String, String)> {
        self.0.addresses().iter().map(|(name, address)| (name.clone(), address.to_string())).collect()
    }

    fn renew_tls(&self, python: Python<'_>, listener: &str, tls: &str) -> PyResult<()> {
        python.detach(|| self.0.renew_tls(listener, tls)).map_err(refused)
    }

    fn publish(&self, python: Python<'_>, snapshot: &[u8]) -> PyResult<u64> {
        python.detach(|| self.0.publish(snapshot)).map_err(refused)
    }

    #[allow(clippy::needless_pass_by_value, clippy::too_many_arguments)] // the shape of Python's arguments
    fn lease(
        &self,
        connection: &str,
        version: u32,
        serial: u64,
        origins: Vec<String>,
        fields: HashMap<String, Vec<u8>>,
        until: f64,
    ) -> PyResult<()> {
        self.0.lease(connection, version, serial, &origins, secret_fields(fields), until).map_err(refused)
    }

    fn release(&self, connection: &str, ended: bool) {
        self.0.release(connection, ended);
    }

    fn put_keys(&self, issuer: &str, keys: &[u8]) -> PyResult<()> {
        self.0.put_keys(issuer, keys).map_err(refused)
    }

    fn wanted_keys(&self) -> Vec<String> {
        self.0.wanted_keys().iter().map(ToString::to_string).collect()
    }

    fn refused_tokens(&self, python: Python<'_>, timeout_ms: u64) -> Vec<(String, u64)> {
        let refused = python.detach(|| self.0.refused_tokens(Duration::from_millis(timeout_ms)));
        refused.into_iter().map(|(connection, serial)| (connection.into(), serial)).collect()
    }

    fn take_hook_call<'py>(&self, python: Python<'py>, hook: &str, timeout_ms: u64) -> Option<HookCall<'py>> {
        let asked = python.detach(|| self.0.take_hook_call(hook, Duration::from_millis(timeout_ms)))?;
        let given = |pairs: &[(String, Zeroizing<Vec<u8>>)]| {
            pairs.iter().map(|(name, value)| (name.clone(), PyBytes::new(python, value))).collect()
        };
        let body = PyBytes::new(python, &asked.body);
        let (headers, fields) = (given(&asked.headers), given(&asked.fields));
        Some((asked.id, asked.method.clone(), asked.url.to_string(), headers, body, fields))
    }

    fn answer_hook_call(&self, call: u64, headers: Vec<(String, Vec<u8>)>, query: Vec<(String, String)>) {
        let headers = headers.into_iter().map(|(name, value)| (name, Zeroizing::new(value))).collect();
        let query = query.into_iter().map(|(name, value)| (name, Zeroizing::new(value))).collect();
        self.0.answer_hook_call(call, Answered::Signed { headers, query });
    }

    fn fail_hook_call(&self, call: u64, detail: String) {
        self.0.answer_hook_call(call, Answered::Failed(detail));
    }

    fn events<'py>(
        &self,
        python: Python<'py>,
        max_events: usize,
        timeout_ms: u64,
    ) -> PyResult<(u64, Vec<Bound<'py, PyBytes>>)> {
        let (cursor, lines) = python
            .detach(|| self.0.events(max_events, Duration::from_millis(timeout_ms)))
            .map_err(refused)?;
        Ok((cursor, lines.iter().map(|line| PyBytes::new(python, line)).collect()))
    }

    fn acknowledge(&self, python: Python<'_>, cursor: u64) -> PyResult<()> {
        python.detach(|| self.0.acknowledge(cursor)).map_err(refused)
    }

    fn gaps(&self) -> Vec<(u64, u64, &'static str)> {
        self.0.take_gap().map(|gap| (gap.after_ms, gap.events_max, gap.reason)).into_iter().collect()
    }

    #[allow(clippy::needless_pass_by_value, clippy::too_many_arguments)] // the shape of Python's arguments
    fn fetch<'py>(
        &self,
        python: Python<'py>,
        method: &str,
        url: &str,
        headers: Vec<(String, String)>,
        body: Vec<u8>,
        secrets: HashMap<String, Vec<u8>>,
        options: &str,
    ) -> PyResult<Fetched<'py>> {
        let fetched = python
            .detach(|| self.0.fetch(method, url, &headers, body, secret_fields(secrets), options))
            .map_err(|error| FetchError::new_err((error.code, error.detail)))?;
        Ok((fetched.status, fetched.headers, PyBytes::new(python, &fetched.body)))
    }

    fn limits(&self) -> String {
        self.0.limits()
    }

    fn put_cache_keys(&self, keys: HashMap<Option<String>, Vec<u8>>) {
        self.0.put_cache_keys(keys.into_iter().map(|(client, key)| (client, Zeroizing::new(key))).collect());
    }

    fn put_subject_keys(&self, keys: HashMap<String, Vec<u8>>) {
        self.0
            .put_subject_keys(keys.into_iter().map(|(client, key)| (client, Zeroizing::new(key))).collect());
    }

    fn put_protection_roots(&self, clients: HashMap<String, Vec<(u32, Vec<u8>)>>) -> PyResult<()> {
        let wiped = |roots: Vec<(u32, Vec<u8>)>| {
            roots.into_iter().map(|(number, root)| (number, Zeroizing::new(root))).collect()
        };
        let clients = clients.into_iter().map(|(client, roots)| (client, wiped(roots))).collect();
        self.0.put_protection_roots(clients).map_err(refused)
    }

    fn take_person_asks<'py>(
        &self,
        python: Python<'py>,
        most: usize,
        timeout_ms: u64,
    ) -> Vec<PersonAsk<'py>> {
        let asked = python.detach(|| self.0.take_person_asks(most, Duration::from_millis(timeout_ms)));
        let told = asked.into_iter().map(|ask| {
            let (index, ids) = match ask.whom {
                Whom::Person(index) => (Some(PyBytes::new(python, &index)), Vec::new()),
                Whom::Ids(ids) => (None, ids.iter().map(|id| PyBytes::new(python, id)).collect()),
            };
            (ask.id, ask.client.to_string(), index, ids)
        });
        told.collect()
    }

    fn answer_person_ask(&self, ask: u64, keys: Option<Vec<([u8; ID_BYTES], Vec<u8>)>>) {
        let wiped = |keys: Vec<([u8; ID_BYTES], Vec<u8>)>| {
            keys.into_iter().map(|(id, secret)| (id, Zeroizing::new(secret))).collect()
        };
        self.0.answer_person_ask(ask, keys.map(wiped));
    }

    fn forget_person_keys(&self) {
        self.0.forget_person_keys();
    }

    fn cache_stats(&self) -> PyResult<String> {
        self.0.cache_stats().map_err(refused)
    }

    fn cache_purge(&self, python: Python<'_>, which: &str) -> PyResult<u64> {
        python.detach(|| self.0.cache_purge(which)).map_err(refused)
    }

    fn shared(&self) -> String {
        self.0.shared()
    }

    fn stats(&self) -> BTreeMap<&'static str, u64> {
        self.0.stats().into_iter().collect()
    }

    fn set_ready(&self, ready: bool) {
        self.0.set_ready(ready);
    }

    fn shutdown(&self, python: Python<'_>, grace_ms: u64) -> bool {
        python.detach(|| self.0.shutdown(Duration::from_millis(grace_ms)))
    }
}

#[pyfunction]
fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

#[pyfunction]
fn problems() -> Vec<(&'static str, u16, &'static str)> {
    PROBLEMS.iter().map(|problem| (problem.code, problem.status, problem.title)).collect()
}

#[pyfunction]
fn misfit(python: Python<'_>, schema: &str, document: &[u8]) -> PyResult<Option<String>> {
    python.detach(|| tidegate_wire::schema::misfit(schema, document)).map_err(refused)
}

#[pyfunction]
fn explain(python: Python<'_>, snapshot: &[u8], question: &str) -> PyResult<String> {
    python.detach(|| tidegate_wire::explain::explain(snapshot, question)).map_err(refused)
}

#[pyfunction]
fn simulate(python: Python<'_>, snapshot: &[u8], play: &str) -> PyResult<String> {
    python.detach(|| tidegate_wire::simulate::simulate(snapshot, play)).map_err(refused)
}

#[pyfunction]
fn try_sample(python: Python<'_>, snapshot: &[u8], sample: &str) -> PyResult<String> {
    python.detach(|| tidegate_wire::protect::sample::try_sample(snapshot, sample)).map_err(refused)
}

#[pyfunction]
#[allow(clippy::needless_pass_by_value)] // the shape that Python's arguments come in
fn read_signals(
    dialect: &str,
    status: u16,
    headers: Vec<(String, String)>,
    body: Option<&[u8]>,
    now_ms: u64,
) -> PyResult<String> {
    let now = UNIX_EPOCH + Duration::from_millis(now_ms);
    tidegate_wire::dialect::heard_as_json(dialect, status, &headers, body, now).map_err(refused)
}

#[pyfunction]
fn subject_index<'py>(
    python: Python<'py>,
    key: Vec<u8>,
    kind: &str,
    identifier: &str,
) -> PyResult<Bound<'py, PyBytes>> {
    let key = Zeroizing::new(key);
    let key = subject::Key::new(&key).ok_or_else(|| refused("the key has fewer than 32 bytes"))?;
    let named = Named::new(kind, identifier).map_err(refused)?;
    Ok(PyBytes::new(python, &key.index(&named)))
}

#[pyfunction]
fn classify_address(text: &str) -> Option<String> {
    engine::classify_address(text)
}

#[pymodule]
mod _wire {
    #[pymodule_export]
    use super::{
        Engine, EngineError, FetchError, classify_address, explain, misfit, problems, read_signals, simulate,
        subject_index, try_sample, version,
    };
}
