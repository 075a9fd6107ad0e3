//! A small service for the tests of the binary, on the standard library alone. It answers at PORT with its NAME
//! and the head it saw; its habits come as variables and paths, listed at [`answer`].

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a service prints")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

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
    let (status, body) = answer(&String::from_utf8_lossy(&head));
    write!(
        stream,
        "HTTP/1.1 {status} Told\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// `/call/VARIABLE` is what the address in that variable answers, `/slow/MS` comes late, `/env/VARIABLE` is a
/// variable's value, `/pid` the process, `/exit` ends it; everything else tells the name and the head.
fn answer(head: &str) -> (u16, String) {
    let path = head.split(' ').nth(1).unwrap_or("/").split('?').next().unwrap_or("/");
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match parts[..] {
        ["call", variable] => match std::env::var(variable) {
            Err(_) => (404, format!("no {variable}")),
            Ok(url) => match fetch(&url) {
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

fn fetch(url: &str) -> std::io::Result<String> {
    let host = url.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(host)?;
    write!(stream, "GET /called HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text.split_once("\r\n\r\n").map_or(text.clone(), |(_, body)| body.to_owned()))
}
