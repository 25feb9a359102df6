//! The command line: `--name value` pairs, all named in `main.rs`.

use std::io;
use std::net::SocketAddr;
use std::str::FromStr;

pub struct Options {
    pub target: SocketAddr,
    pub request: Vec<u8>,
    pub rate: f64,
    pub calls: u64,
    pub warmup: u64,
    pub connections: usize,
    pub seed: u64,
}

impl Options {
    pub fn from_args() -> io::Result<Self> {
        let mut given = Given::default();
        let mut args = std::env::args().skip(1);
        while let Some(name) = args.next() {
            let value = args
                .next()
                .ok_or_else(|| wrong(&format!("`{name}` needs a value")))?;
            given.set(&name, value)?;
        }
        let target: SocketAddr = parse("--target", &given.target)?;
        Ok(Self {
            target,
            request: given.request(target),
            rate: parse("--rate", &given.rate)?,
            calls: parse("--calls", &given.calls)?,
            warmup: parse("--warmup", &given.warmup)?,
            connections: parse("--connections", &given.connections)?,
            seed: parse("--seed", &given.seed)?,
        })
    }
}

struct Given {
    target: String,
    path: String,
    headers: Vec<String>,
    body: Option<Vec<u8>>,
    rate: String,
    calls: String,
    warmup: String,
    connections: String,
    seed: String,
}

impl Default for Given {
    fn default() -> Self {
        Self {
            target: String::new(),
            path: "/".into(),
            headers: Vec::new(),
            body: None,
            rate: String::new(),
            calls: String::new(),
            warmup: "0".into(),
            connections: "64".into(),
            seed: "1".into(),
        }
    }
}

impl Given {
    fn set(&mut self, name: &str, value: String) -> io::Result<()> {
        match name {
            "--target" => self.target = value,
            "--path" => self.path = value,
            "--header" => self.headers.push(value),
            "--body" => self.body = Some(std::fs::read(&value)?),
            "--rate" => self.rate = value,
            "--calls" => self.calls = value,
            "--warmup" => self.warmup = value,
            "--connections" => self.connections = value,
            "--seed" => self.seed = value,
            _ => return Err(wrong(&format!("unknown option `{name}`"))),
        }
        Ok(())
    }

    fn request(&self, target: SocketAddr) -> Vec<u8> {
        let method = if self.body.is_some() { "POST" } else { "GET" };
        let mut request = format!("{method} {} HTTP/1.1\r\nHost: {target}\r\n", self.path);
        for header in &self.headers {
            request.push_str(header);
            request.push_str("\r\n");
        }
        if let Some(body) = &self.body {
            request.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        request.push_str("\r\n");
        let mut request = request.into_bytes();
        request.extend_from_slice(self.body.as_deref().unwrap_or_default());
        request
    }
}

fn parse<T: FromStr>(name: &str, text: &str) -> io::Result<T> {
    text.parse()
        .map_err(|_| wrong(&format!("`{name}` cannot be `{text}`")))
}

fn wrong(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}
