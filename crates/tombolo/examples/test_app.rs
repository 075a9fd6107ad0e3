//! A small service for the tests of the binary, on the standard library alone. It answers at PORT with its NAME
//! and the head it saw; its habits come as variables and paths, listed at [`answer`].

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a service prints")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Most bytes of a head; requests of tests are small.
const HEAD_BYTES_MAX: usize = 16 << 10;

fn main() {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let name = variable("NAME");
    if std::env::var_os("CRASH_AT_START").is_some() {
        eprintln!("{name} reads its settings");
        eprintln!("fatal: no database at db.invalid");
        std::process::exit(3);
    }
    let listener = TcpListener::bind(format!("127.0.0.1:{}", variable("PORT"))).expect("PORT is free");
    println!("{name} {} listens", variable("VERSION"));
    for stream in listener.incoming().flatten() {
        std::thread::spawn(move || {
            // A client that leaves is no matter of ours.
            let _ = serve(stream);
        });
    }
}

fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut head = Vec::new();
    let mut chunk = [0; 1024];
    while !head.windows(4).any(|four| four == b"\r\n\r\n") && head.len() < HEAD_BYTES_MAX {
        match stream.read(&mut chunk)? {
            0 => return Ok(()),
            read => head.extend_from_slice(&chunk[..read]),
        }
    }
    let head = String::from_utf8_lossy(&head);
    let (status, body) = observed(&head);
    write!(
        stream,
        "HTTP/1.1 {status} Told\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// Answers, within a span that is reported to Zipkin at REPORT where that is set; calls are spans below it. Without it
/// calls go on with the trace that came.
fn observed(head: &str) -> (u16, String) {
    let told = head.lines().find_map(|line| line.strip_prefix("traceparent: ")).unwrap_or_default();
    let (Ok(zipkin), [_, trace, parent, _]) =
        (std::env::var("REPORT"), &told.split('-').collect::<Vec<_>>()[..])
    else {
        return answer(head, told);
    };
    let [served, called] = [0, 1].map(|nth| format!("{:016x}", (micros() << 1) + nth));
    let begun = micros();
    let answered = answer(head, &format!("00-{trace}-{called}-01"));
    let name = std::env::var("NAME").unwrap_or_default();
    let mut spans = vec![span(trace, parent, &served, "SERVER", &name, begun)];
    if head.contains(" /call/") {
        spans.push(span(trace, &served, &called, "CLIENT", &name, begun));
    }
    let body = format!("[{}]", spans.join(","));
    let head = "POST /api/v2/spans HTTP/1.1\r\nContent-Type: application/json\r\nConnection: close";
    // Without a span of ours the trace has a gap, and that is all.
    let _ = TcpStream::connect(&zipkin).and_then(|mut stream| {
        write!(stream, "{head}\r\nHost: {zipkin}\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
        stream.read_to_string(&mut String::new())
    });
    answered
}

fn micros() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_micros() as u64)
}

fn span(trace: &str, parent: &str, id: &str, kind: &str, name: &str, begun: u64) -> String {
    let took = (micros() - begun).max(1);
    format!(
        r#"{{"traceId":"{trace}","parentId":"{parent}","id":"{id}","kind":"{kind}","name":"own","timestamp":{begun},"duration":{took},"localEndpoint":{{"serviceName":"{name}"}}}}"#
    )
}

/// `/call/VARIABLE` is what the address in that variable answers, `/slow/MS` comes late, `/env/VARIABLE` is a
/// variable's value, `/pid` the process, `/exit` ends it; everything else tells the name and the head.
fn answer(head: &str, traceparent: &str) -> (u16, String) {
    let path = head.split(' ').nth(1).unwrap_or("/").split('?').next().unwrap_or("/");
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match parts[..] {
        ["call", variable] => match std::env::var(variable) {
            Err(_) => (404, format!("no {variable}")),
            Ok(url) => match fetch(&url, traceparent) {
                Ok(text) => (200, text),
                Err(error) => (502, format!("{url}: {error}")),
            },
        },
        ["slow", ms] => {
            println!("slow answer begins");
            println!("asked for /slow");
            std::thread::sleep(Duration::from_millis(ms.parse().unwrap_or(0)));
            (200, "late".to_owned())
        }
        ["env", variable] => (200, std::env::var(variable).unwrap_or_else(|_| "unset".to_owned())),
        ["pid"] => (200, std::process::id().to_string()),
        ["exit"] => {
            println!("told to exit");
            std::process::exit(4)
        }
        _ => (200, format!("I am {}\n{}", std::env::var("NAME").unwrap_or_default(), head.trim_end())),
    }
}

fn fetch(url: &str, traceparent: &str) -> std::io::Result<String> {
    let host = url.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(host)?;
    let trace =
        if traceparent.is_empty() { String::new() } else { format!("traceparent: {traceparent}\r\n") };
    write!(stream, "GET /called HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{trace}\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text.split_once("\r\n\r\n").map_or(text.clone(), |(_, body)| body.to_owned()))
}
