//! As much of HTTP/1.1 as the clients of the stand-ins need: requests with a known length, and
//! connections that stay open.

use std::{
    collections::HashMap,
    io::{self, BufRead, BufReader, Read, Write},
};

/// A request.
#[derive(Debug, Clone)]
pub struct HttpRequest {
    /// The method, such as `POST`.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The headers; the names are in lower case.
    pub headers: HashMap<String, String>,
    /// The body as it was sent.
    pub body: Vec<u8>,
}

/// A response.
#[derive(Debug, Clone)]
pub struct HttpResponse {
    /// The status.
    pub status: u16,
    /// The headers, except for the length.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// The largest body that is taken, in bytes: more than Lambda's largest event.
const MAX_BODY_BYTES: u64 = 16 << 20;

/// Reads the next request; `None` if the client has closed the connection before.
///
/// # Errors
/// The connection breaks, or what arrives is not a request of this kind.
pub fn read_request(stream: &mut (impl BufRead + Write)) -> Result<Option<HttpRequest>, io::Error> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (Some(method), Some(path)) = (words.next(), words.next()) else {
        return Err(invalid("a request line"));
    };
    let headers = read_headers(stream)?;
    if headers
        .get("expect")
        .is_some_and(|value| value == "100-continue")
    {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        stream.flush()?;
    }
    let body = read_body(stream, &headers)?;
    Ok(Some(HttpRequest {
        method: method.to_owned(),
        path: path.to_owned(),
        headers,
        body,
    }))
}

fn read_headers(stream: &mut impl BufRead) -> Result<HashMap<String, String>, io::Error> {
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err(invalid("the end of the headers"));
        }
        match line.trim_end().split_once(':') {
            Some((name, value)) => {
                headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
            }
            None if line.trim_end().is_empty() => return Ok(headers),
            None => return Err(invalid("a header")),
        }
    }
}

fn read_body(
    stream: &mut impl BufRead,
    headers: &HashMap<String, String>,
) -> Result<Vec<u8>, io::Error> {
    let encoding = headers.get("transfer-encoding").map(String::as_str);
    if encoding == Some("chunked") {
        return read_chunks(stream);
    }
    let length = headers.get("content-length").map_or("0", String::as_str);
    let length = length.parse().map_err(|_| invalid("a length"))?;
    let mut body = Vec::new();
    stream
        .take(u64::min(length, MAX_BODY_BYTES))
        .read_to_end(&mut body)?;
    if body.len() as u64 == length {
        Ok(body)
    } else {
        Err(invalid("the whole body"))
    }
}

fn read_chunks(stream: &mut impl BufRead) -> Result<Vec<u8>, io::Error> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let size = line.trim_end().split(';').next().unwrap_or_default();
        let size = u64::from_str_radix(size, 16).map_err(|_| invalid("the size of a chunk"))?;
        stream.take(size).read_to_end(&mut body)?;
        line.clear();
        stream.read_line(&mut line)?;
        if size == 0 {
            return Ok(body);
        }
    }
}

/// Writes a response in one piece.
///
/// # Errors
/// The connection breaks.
pub fn write_response(stream: &mut impl Write, response: &HttpResponse) -> Result<(), io::Error> {
    let mut text = format!("HTTP/1.1 {} OK\r\n", response.status);
    for (name, value) in &response.headers {
        text += &format!("{name}: {value}\r\n");
    }
    text += &format!("content-length: {}\r\n\r\n", response.body.len());
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(&response.body);
    stream.write_all(&bytes)?;
    stream.flush()
}

fn invalid(expected: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("expected {expected}"))
}

/// Reads with a buffer and writes past it.
#[derive(Debug)]
pub struct BufferedStream<S: Read>(BufReader<S>);

impl<S: Read> BufferedStream<S> {
    /// Reads from the stream with a buffer.
    pub fn new(stream: S) -> Self {
        Self(BufReader::new(stream))
    }
}

impl<S: Read> Read for BufferedStream<S> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, io::Error> {
        self.0.read(buffer)
    }
}

impl<S: Read> BufRead for BufferedStream<S> {
    fn fill_buf(&mut self) -> Result<&[u8], io::Error> {
        self.0.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.0.consume(amount);
    }
}

impl<S: Read + Write> Write for BufferedStream<S> {
    fn write(&mut self, buffer: &[u8]) -> Result<usize, io::Error> {
        self.0.get_mut().write(buffer)
    }

    fn flush(&mut self) -> Result<(), io::Error> {
        self.0.get_mut().flush()
    }
}
