//! A web server that says what the test says, byte by byte, and remembers what it was asked.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A request as it came, and the way back.
pub struct Visit {
    pub request: String,
    stream: TcpStream,
    closing: Arc<AtomicBool>,
}

/// The server, until it is dropped. One request per connection.
pub struct Web {
    pub port: u16,
    seen: Arc<Mutex<Vec<String>>>,
    closing: Arc<AtomicBool>,
}

impl Web {
    /// Answers every request with `answer`. An error is the client's that left.
    pub fn start(answer: impl Fn(&mut Visit) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = five_digits();
        let port = listener.local_addr().unwrap().port();
        let (seen, closing) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (log, closed, answer) = (seen.clone(), closing.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if closed.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(mut stream) = stream else { continue };
                let (log, answer, closing) = (log.clone(), answer.clone(), closed.clone());
                std::thread::spawn(move || {
                    drop(stream.set_nodelay(true));
                    let request = read(&mut stream).unwrap_or_default();
                    log.lock().unwrap().push(request.clone());
                    let _: io::Result<()> = answer(&mut Visit { request, stream, closing });
                });
            }
        });
        Self { port, seen, closing }
    }

    /// What it was asked so far.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

impl Visit {
    /// The path and query.
    pub fn target(&self) -> &str {
        self.request.split(' ').nth(1).unwrap_or_default()
    }

    /// A header, by its name in small letters.
    pub fn header(&self, name: &str) -> Option<String> {
        let (head, _) = self.request.split_once("\r\n\r\n")?;
        let mut lines = head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
    }

    pub fn say(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Says something, and so late that it arrives by itself.
    pub fn say_apart(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.say(bytes)?;
        std::thread::sleep(Duration::from_millis(3));
        Ok(())
    }

    /// A whole answer.
    pub fn answer(&mut self, head: &str, body: &[u8]) -> io::Result<()> {
        let length = body.len();
        self.say(format!("HTTP/1.1 200 Fine\r\n{head}content-length: {length}\r\nconnection: close\r\n\r\n"))?;
        self.say(body)
    }

    pub fn redirect(&mut self, status: &str, to: &str) -> io::Result<()> {
        self.say(format!("HTTP/1.1 {status} Elsewhere\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"))
    }

    /// The same again and again, until the client leaves.
    pub fn say_forever(&mut self, bytes: &[u8], pause: Duration) -> io::Result<()> {
        while !self.closing.load(Ordering::Relaxed) {
            self.say(bytes)?;
            std::thread::sleep(pause);
        }
        Ok(())
    }

    /// Says nothing more until the client leaves.
    pub fn wait(&mut self) -> io::Result<()> {
        self.stream.read(&mut [0]).map(drop)
    }
}

/// A manifest has room for a port of five digits.
fn five_digits() -> TcpListener {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        if listener.local_addr().unwrap().port() >= 10_000 {
            return listener;
        }
    }
}

/// The head, and the body that its length promises.
fn read(stream: &mut TcpStream) -> io::Result<String> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let lengths = head.lines().filter_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
            if bytes.len() >= head.len() + 4 + lengths.max().unwrap_or(0_usize) {
                return Ok(text);
            }
        }
        match stream.read(&mut chunk)? {
            0 => return Ok(text),
            length => bytes.extend_from_slice(&chunk[..length]),
        }
    }
}
