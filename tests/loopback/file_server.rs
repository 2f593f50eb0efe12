//! A small HTTP server of files by range, which misbehaves as a test says.

use std::{
    collections::HashMap,
    net::Ipv4Addr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::{AbortHandle, JoinSet},
};

/// What was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Of the request line, escapes resolved.
    pub(crate) path: String,
    /// First and last byte.
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// How many requests came before it.
    pub(crate) number: usize,
}

/// How it is answered.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// As it should be.
    Range,
    /// So, once it may be: each permit is for one answer.
    Held(Arc<Semaphore>),
    /// With other bytes.
    Lies,
    /// With the whole file (200).
    Whole,
    /// With this head, and no body.
    Head(String),
}

/// The server; it ends with the test.
pub(crate) struct FileServer {
    url: String,
    requests: Arc<Mutex<Vec<Request>>>,
    task: AbortHandle,
}

impl Drop for FileServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Shared<A> {
    files: HashMap<String, Arc<[u8]>>,
    requests: Arc<Mutex<Vec<Request>>>,
    answer: A,
}

impl FileServer {
    /// Serves `files` by their path; a request for another one is answered by 404.
    pub(crate) async fn start(
        files: HashMap<String, Arc<[u8]>>,
        answer: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::new(Shared { files, requests: requests.clone(), answer });
        let serving = async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, shared.clone()));
            }
        };
        FileServer { url, requests, task: tokio::spawn(serving).abort_handle() }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no panic").clone()
    }
}

async fn serve<A: Fn(&Request) -> Answer>(stream: TcpStream, shared: Arc<Shared<A>>) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if !matches!(stream.read_line(&mut head).await, Ok(1..)) {
                return;
            }
        }
        let request = shared.request(&head);
        let mut answer = (shared.answer)(&request);
        if let Answer::Held(until) = &answer {
            until.acquire().await.expect("never closed").forget();
            answer = Answer::Range;
        }
        let reply = shared.reply(&request, answer);
        // Whoever has what it wants may be gone.
        if stream.get_mut().write_all(&reply).await.is_err() {
            return;
        }
    }
}

impl<A: Fn(&Request) -> Answer> Shared<A> {
    fn request(&self, head: &str) -> Request {
        let path = head.split(' ').nth(1).expect("a path");
        let path = percent(path);
        let range = head.to_ascii_lowercase();
        let range = range.lines().find_map(|line| line.strip_prefix("range: bytes="));
        let (first, last) = range.and_then(|r| r.split_once('-')).expect("a range");
        let (first, last) = (first.parse().expect("a number"), last.parse().expect("a number"));
        let mut requests = self.requests.lock().expect("no panic");
        let request = Request { path, first, last, number: requests.len() };
        requests.push(request.clone());
        request
    }

    fn reply(&self, request: &Request, answer: Answer) -> Vec<u8> {
        let Request { first, last, .. } = *request;
        let empty = |status: &str| format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        let Some(file) = self.files.get(&request.path) else {
            return empty("404 Not Found").into_bytes();
        };
        let part = || file[first as usize..=last as usize].to_vec();
        let (status, body) = match answer {
            Answer::Range | Answer::Held(_) => ("206 Partial Content", part()),
            Answer::Lies => ("206 Partial Content", part().iter().map(|byte| !byte).collect()),
            Answer::Whole => ("200 OK", file.to_vec()),
            Answer::Head(head) => return empty(&head).into_bytes(),
        };
        let (length, total) = (body.len(), file.len());
        let range = format!("Content-Range: bytes {first}-{last}/{total}\r\n");
        let range = if status.starts_with("206") { range } else { String::new() };
        let head = format!("HTTP/1.1 {status}\r\n{range}Content-Length: {length}\r\n\r\n");
        [head.into_bytes(), body].concat()
    }
}

fn percent(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digits = [bytes.next(), bytes.next()].map(|b| b.expect("two digits"));
        let digits = std::str::from_utf8(&digits).expect("digits").to_owned();
        out.push(u8::from_str_radix(&digits, 16).expect("digits"));
    }
    String::from_utf8(out).expect("text")
}
