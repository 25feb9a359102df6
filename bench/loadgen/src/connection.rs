//! One keep-alive connection with at most one call in flight.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Answers here are small; one that does not fit is a mistake in the set-up.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

pub struct Connection {
    stream: TcpStream,
    in_flight: Option<Duration>,
    buffer: Vec<u8>,
    filled: usize,
}

pub enum Progress {
    Partial,
    Answered { intended: Duration, status: u16 },
    Closed { in_flight: bool },
}

impl Connection {
    pub fn open(target: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(target)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            in_flight: None,
            buffer: vec![0; ANSWER_BYTES_MAX],
            filled: 0,
        })
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Send a whole call. What is larger than the socket's buffer is waited for: the gateway reads it on a core of
    /// its own.
    pub fn send(&mut self, mut request: &[u8], intended: Duration) -> io::Result<()> {
        self.in_flight = Some(intended);
        while !request.is_empty() {
            match self.stream.write(request) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => request = &request[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub fn read(&mut self) -> Progress {
        match self.stream.read(&mut self.buffer[self.filled..]) {
            Ok(0) => self.closed(),
            Ok(count) => {
                self.filled += count;
                self.parse()
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Progress::Partial,
            Err(_) => self.closed(),
        }
    }

    fn parse(&mut self) -> Progress {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut answer = httparse::Response::new(&mut headers);
        let head_bytes = match answer.parse(&self.buffer[..self.filled]) {
            Ok(httparse::Status::Complete(bytes)) => bytes,
            Ok(httparse::Status::Partial) => return Progress::Partial,
            Err(_) => return self.closed(),
        };
        let (Some(status), Some(body_bytes)) = (answer.code, content_length(answer.headers)) else {
            return self.closed();
        };
        if self.filled < head_bytes + body_bytes {
            return Progress::Partial;
        }
        self.filled = 0;
        match self.in_flight.take() {
            Some(intended) => Progress::Answered { intended, status },
            None => Progress::Closed { in_flight: false },
        }
    }

    fn closed(&self) -> Progress {
        Progress::Closed {
            in_flight: self.in_flight.is_some(),
        }
    }
}

/// Every answer here is framed by its length; chunked ones would hide how much work was done.
fn content_length(headers: &[httparse::Header<'_>]) -> Option<usize> {
    let header = headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))?;
    std::str::from_utf8(header.value).ok()?.trim().parse().ok()
}
