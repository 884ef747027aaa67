//! The Bot API through a proxy: the configured one, and those of the environment.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::bot::Bot;
use crate::support::within;

/// Carries everything to one server, whatever was asked for. Refuses to open ways to others.
pub(super) struct Proxy {
    pub(super) url: String,
    /// The first line of each connection.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    pub(super) fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (log, server) = (log.clone(), server.clone());
                // An error is that of somebody who left.
                std::thread::spawn(move || stream.and_then(|stream| carry(stream, &server, &log)));
            }
        });
        Self { url, asked }
    }

    pub(super) fn asked(&self, beginning: &str) -> bool {
        self.asked.lock().unwrap().iter().any(|line| line.starts_with(beginning))
    }
}

fn carry(mut client: TcpStream, server: &str, log: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut begin = Vec::new();
    while !begin.contains(&b'\n') {
        let mut byte = [0; 512];
        let length = client.read(&mut byte)?;
        if length == 0 {
            return Ok(());
        }
        begin.extend_from_slice(&byte[..length]);
    }
    let line = String::from_utf8_lossy(&begin).lines().next().unwrap_or_default().to_owned();
    let opens = line.starts_with("CONNECT ");
    log.lock().unwrap().push(line);
    if opens {
        return client.write_all(b"HTTP/1.1 502 No Way\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    }
    let mut there = TcpStream::connect(server)?;
    there.write_all(&begin)?;
    let (mut back, mut to) = (there.try_clone()?, client.try_clone()?);
    std::thread::spawn(move || {
        drop(io::copy(&mut back, &mut to));
        drop(to.shutdown(Shutdown::Write));
    });
    io::copy(&mut client, &mut there)?;
    there.shutdown(Shutdown::Write)
}

/// Has the bot's server under a name that only a proxy knows.
pub(super) fn rename(bot: &Bot, more: &str) -> String {
    let file = bot.work.folder().join("config.toml");
    let server = bot.telegram.api_base_url();
    let text = std::fs::read_to_string(&file).unwrap().replace(&server, "http://telegram.invalid");
    std::fs::write(file, text + more).unwrap();
    server.strip_prefix("http://").unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bot_is_served_through_the_configured_proxy() {
    let bot = Bot::new().await;
    let server = rename(&bot, "");
    let proxy = Proxy::to(server);
    rename(&bot, &format!("proxy = \"{}\"\n", proxy.url));
    let host = bot.host().await;
    bot.exchange("read welcome.md", "Welcome to Stellaclaw").await;
    assert!(proxy.asked("POST http://telegram.invalid/bot"));
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bot_is_served_through_the_proxy_of_the_environment() {
    let mut bot = Bot::new().await;
    let proxy = Proxy::to(rename(&bot, ""));
    bot.work.set("ALL_PROXY", &proxy.url);
    let host = bot.host().await;
    bot.exchange("read welcome.md", "Welcome to Stellaclaw").await;
    assert!(proxy.asked("POST http://telegram.invalid/bot"));
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_encrypted_goes_through_https_proxy_and_a_way_that_stays_closed_is_told() {
    let mut bot = Bot::new().await;
    let proxy = Proxy::to(rename(&bot, ""));
    let file = bot.work.folder().join("config.toml");
    let text = std::fs::read_to_string(&file).unwrap().replace("http://telegram.invalid", "https://telegram.invalid");
    std::fs::write(file, text).unwrap();
    bot.work.set("HTTPS_PROXY", &proxy.url);
    let host = bot.host().await;
    let told = async {
        loop {
            let ran = bot.work.run(&["status", "--exit-code"], "").await;
            if ran.output.contains("telegram: Telegram cannot be reached") {
                assert!(ran.code == Some(1) && !ran.output.contains(bot.telegram.token()), "{ran:?}");
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    within("the health check to see it", told).await;
    assert!(proxy.asked("CONNECT telegram.invalid:443"));
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_proxy_names_is_reached_without_one() {
    let mut bot = Bot::new().await;
    // An address that leads to this machine and is none of those that are known to.
    let server = bot.telegram.api_base_url();
    let file = bot.work.folder().join("config.toml");
    let text = std::fs::read_to_string(&file).unwrap().replace(&server, &server.replace("127.0.0.1", "0.0.0.0"));
    std::fs::write(file, text).unwrap();
    let proxy = Proxy::to(server.strip_prefix("http://").unwrap().to_owned());
    bot.work.set("ALL_PROXY", &proxy.url);
    bot.work.set("NO_PROXY", "example.com,0.0.0.0");
    let host = bot.host().await;
    bot.exchange("read welcome.md", "Welcome to Stellaclaw").await;
    assert!(!proxy.asked(""), "the proxy was asked");
    host.stop().await;
    let without = bot.work.command(&["doctor", "--online"]).env_remove("NO_PROXY").output().unwrap();
    assert!(proxy.asked("POST http://0.0.0.0:"), "{without:?}");
}
