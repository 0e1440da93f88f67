//! Waits on this machine for the browser that Login with Amazon sends back.
//!
//! Browsers open connections in advance, ask for icons, and reload old tabs. Only a request that
//! the command takes for the answer ends the wait.

use std::{io, net::Ipv4Addr, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::advice::InputError;

/// The path of the return URL, which Amazon's own tools use as well.
const CALLBACK_PATH: &str = "/cb";

/// The longest request that is read. Browsers send less.
const MAX_REQUEST_BYTES: usize = 32 * 1024;

/// How long one connection may take.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// How many connections are served at the same time.
const MAX_CONNECTIONS: usize = 32;

/// What a request to the return URL means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CallbackVerdict<T> {
    /// It is the answer.
    Answer(T),
    /// It is not, for the reason that the page shows.
    Ignored(&'static str),
}

/// Listens on the loopback interface.
#[derive(Debug)]
pub(super) struct CallbackListener(TcpListener);

/// The return URL of a port, exactly as it is registered at Login with Amazon.
pub(super) fn return_url(port: u16) -> String {
    format!("http://{}:{port}{CALLBACK_PATH}", Ipv4Addr::LOCALHOST)
}

impl CallbackListener {
    /// Starts to listen.
    pub(super) async fn bind(port: u16) -> Result<Self, InputError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
        listener.map(Self).map_err(|error| bind_error(port, error))
    }

    /// Waits for the answer.
    pub(super) async fn answer<T>(&self, judge: impl Fn(&str) -> CallbackVerdict<T>) -> T {
        let mut connections = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(served) = connections.next(), if !connections.is_empty() => {
                    if let Some(answer) = served {
                        return answer;
                    }
                }
                accepted = self.0.accept(), if connections.len() < MAX_CONNECTIONS => {
                    // A connection that was closed before it was accepted does not matter.
                    if let Ok((stream, _)) = accepted {
                        connections.push(serve(stream, &judge));
                    }
                }
            }
        }
    }
}

fn bind_error(port: u16, error: io::Error) -> InputError {
    let problem = match error.kind() {
        io::ErrorKind::AddrInUse => format!("port {port} of this machine is in use"),
        _ => format!("cannot listen on port {port} of this machine"),
    };
    let advice = format!(
        "End the program that listens there (perhaps another aspctl login), or choose another \
         port with --port and enter its return URL, such as {}, under Allowed Return URLs. With \
         --no-browser nothing listens",
        return_url(port.wrapping_add(1).max(1024))
    );
    InputError::new("--port", problem, advice).because(error)
}

/// Serves one request. Returns the answer if it is one, after its page was sent.
async fn serve<T>(stream: TcpStream, judge: impl Fn(&str) -> CallbackVerdict<T>) -> Option<T> {
    let mut stream = stream;
    let head = timeout(CONNECTION_TIMEOUT, read_head(&mut stream)).await;
    let target = request_target(&head.ok()??)?;
    let (page, answer) = match callback_query(&target) {
        Some(query) => match judge(query) {
            CallbackVerdict::Answer(answer) => (page("200 OK", ANSWERED), Some(answer)),
            CallbackVerdict::Ignored(reason) => (page("400 Bad Request", reason), None),
        },
        None => (page("404 Not Found", "There is nothing here."), None),
    };
    // The answer counts even if the browser does not wait for its page.
    drop(timeout(CONNECTION_TIMEOUT, send_page(&mut stream, &page)).await);
    answer
}

/// The page after the answer. It does not say how the login ended, because that is not known yet.
const ANSWERED: &str = "Login with Amazon has answered. Continue in the terminal; this page can be \
    closed.";

/// Reads a request up to the end of its headers. `None` if it ends before, or is too long.
async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        let read = stream.read(&mut buffer).await.ok()?;
        if read == 0 || head.len() > MAX_REQUEST_BYTES {
            return None;
        }
        head.extend_from_slice(buffer.get(..read)?);
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}

/// The target of a GET request.
fn request_target(head: &str) -> Option<String> {
    let mut words = head.lines().next()?.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    (method == "GET").then(|| target.to_owned())
}

/// The query of a request to the return URL; empty if it has none.
fn callback_query(target: &str) -> Option<&str> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    (path == CALLBACK_PATH).then_some(query)
}

/// A response. It quotes nothing of the request, and tells the browser to keep nothing.
fn page(status: &str, text: &str) -> String {
    let body = format!(
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>aspctl login</title>\
         </head><body><p>{text}</p></body></html>\n"
    );
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\n\
         Content-Security-Policy: default-src 'none'\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

async fn send_page(stream: &mut TcpStream, page: &str) -> io::Result<()> {
    stream.write_all(page.as_bytes()).await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends requests one after another, each on a connection of its own; the responses.
    async fn send(port: u16, requests: &[&str]) -> Vec<String> {
        let mut responses = Vec::new();
        for request in requests {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
                .await
                .unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut response = String::new();
            // A connection without a response may be reset.
            drop(stream.read_to_string(&mut response).await);
            responses.push(response);
        }
        responses
    }

    fn judge(query: &str) -> CallbackVerdict<String> {
        match query.strip_prefix("code=") {
            Some(code) => CallbackVerdict::Answer(code.to_owned()),
            None => CallbackVerdict::Ignored("No code."),
        }
    }

    #[tokio::test]
    async fn only_the_answer_ends_the_wait() {
        let listener = CallbackListener::bind(0).await.unwrap();
        let port = listener.0.local_addr().unwrap().port();
        // Opened in advance, and never used.
        let idle = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .await
            .unwrap();
        let requests = [
            "GET /favicon.ico HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /cb HTTP/1.1\r\n\r\n",
            "POST /cb?code=1 HTTP/1.1\r\n\r\n",
            "GET /cb/?code=2 HTTP/1.1\r\n\r\n",
            "\r\n\r\n",
            "GET /cb?code=3 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        ];
        let (answer, responses) = tokio::join!(listener.answer(judge), send(port, &requests));
        drop(idle);
        assert_eq!(answer, "3");
        let statuses: Vec<_> = responses
            .iter()
            .map(|response| response.get(9..12).unwrap_or(""))
            .collect();
        assert_eq!(statuses, ["404", "400", "", "404", "", "200"]);
        assert!(responses[1].contains("No code."));
        assert!(responses[5].contains("Continue in the terminal"));
        assert!(!responses[5].contains('3') || !responses[5].contains("code"));
    }

    #[tokio::test]
    async fn a_port_in_use_is_explained() {
        let listener = CallbackListener::bind(0).await.unwrap();
        let port = listener.0.local_addr().unwrap().port();
        let error = CallbackListener::bind(port).await.unwrap_err();
        let text = error.explain().to_string();
        assert!(
            text.contains(&format!("port {port} of this machine is in use")),
            "{text}"
        );
        assert!(text.contains("--no-browser"), "{text}");
    }

    #[test]
    fn the_return_url_is_the_one_of_amazons_tools() {
        assert_eq!(return_url(9090), "http://127.0.0.1:9090/cb");
    }
}
