//! The engine through real sockets: a raw client, a plane served by workers, and applications that answer byte
//! for byte what a test wants.

#![expect(clippy::unwrap_used, reason = "what is not as set up must fail the test")]

use base::{Chance, Clock, Source};
use proxy::predicates::PredicateEnv;
use proxy::{Builder, Definitions, Lasting, Plane, Served, Services, Settings, Workers};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use wire::{Drain, Drainer, Edge, Limits};

/// A request as an application saw it: head and body.
#[derive(Clone, Debug, Default)]
struct Seen {
    head: String,
    body: String,
}

impl Seen {
    fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let find = |line: &&str| line.split_once(": ").is_some_and(|(key, _)| key.eq_ignore_ascii_case(name));
        self.head.lines().find(find).and_then(|line| line.split_once(": ")).map(|(_, value)| value)
    }
}

type Script = Arc<dyn Fn(usize, &Seen, &mut TcpStream) -> bool + Send + Sync>;

/// An application on a free port. Its script answers request number n and says whether the connection stays.
struct App {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl App {
    fn new(script: impl Fn(usize, &Seen, &mut TcpStream) -> bool + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (script, log): (Script, _) = (Arc::new(script), seen.clone());
        let count = Arc::new(AtomicUsize::new(0));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(mut stream), script, log, count) =
                    (stream, script.clone(), log.clone(), count.clone())
                else {
                    continue;
                };
                std::thread::spawn(move || {
                    let mut reader = BufReader::new(stream.try_clone().unwrap());
                    while let Some(request) = read_message(&mut reader) {
                        log.lock().unwrap().push(request.clone());
                        let number = count.fetch_add(1, Ordering::SeqCst);
                        if !script(number, &request, &mut stream) {
                            let _ = stream.shutdown(std::net::Shutdown::Both);
                            return;
                        }
                    }
                });
            }
        });
        Self { address, seen }
    }

    /// Answers 200 with this text.
    fn saying(text: &'static str) -> Self {
        Self::new(move |_, _, stream| answer(stream, "200 OK", text))
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

fn answer(stream: &mut TcpStream, status: &str, body: &str) -> bool {
    let length = body.len();
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nX-App: yes\r\n\r\n{body}").is_ok()
}

/// Reads a request or a response; `None` at the end of the connection.
fn read_message(reader: &mut BufReader<TcpStream>) -> Option<Seen> {
    let mut seen = Seen::default();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        seen.head.push_str(&line.replace("\r\n", "\n"));
    }
    if seen.header("transfer-encoding") == Some("chunked") {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let size = usize::from_str_radix(line.trim(), 16).ok()?;
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk).ok()?;
            if size == 0 {
                break;
            }
            seen.body.push_str(std::str::from_utf8(&chunk[..size]).ok()?);
        }
    } else if let Some(length) = seen.header("content-length").map(str::to_owned) {
        let mut body = vec![0; length.parse().ok()?];
        reader.read_exact(&mut body).ok()?;
        seen.body = String::from_utf8(body).ok()?;
    }
    Some(seen)
}

/// A plane that serves.
struct World {
    plane: Arc<Plane>,
    address: SocketAddr,
    runtime: tokio::runtime::Runtime,
    drainer: Drainer,
    served: Option<Served>,
    _workers: Workers,
}

impl World {
    fn new(routes: &str) -> Self {
        Self::with(routes, Settings::default(), &[], None)
    }

    fn with(routes: &str, settings: Settings, services: &[&str], edge: Option<Edge>) -> Self {
        let clock = Clock::system();
        let builder = Builder {
            chance: Chance::seeded(1),
            lasting: Lasting::new(clock.clone()),
            clock,
            services: Arc::new(Services::default()),
            metrics: Arc::new(telemetry::Metrics::new(1)),
            predicates: PredicateEnv::default(),
            lookup: proxy::lookup::Options::default(),
            folder: PathBuf::new(),
            forward: None,
            handles: proxy::Handles::default(),
        };
        builder.services.declare(services.iter().copied());
        let plane = Plane::new(settings, builder, None);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let workers = Workers::start(1).unwrap();
        let (drainer, drain): (Drainer, Drain) = Drainer::new();
        let listeners = wire::bind_each("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let address = listeners[0].local_addr().unwrap();
        let limits = Limits::default();
        let serve = workers.serve(&plane, listeners, None, edge, &limits, &drain);
        let served = Some(runtime.block_on(serve).unwrap());
        let world = Self { plane, address, runtime, drainer, served, _workers: workers };
        world.put(routes);
        world
    }

    fn put(&self, routes: &str) {
        let source = Source::new("test.eskip", routes);
        let parsed = eskip::parse(&source).into_result().unwrap();
        let table = self.plane.builder().build(&Definitions::from_source(&source, parsed));
        let wrong: Vec<_> = table.invalid.iter().map(|invalid| invalid.diagnostic.render(false)).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        self.plane.put(table);
    }

    fn client(&self) -> BufReader<TcpStream> {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        BufReader::new(stream)
    }

    /// Sends a request and reads its answer.
    fn ask(&self, request: &str) -> Seen {
        send(&mut self.client(), request)
    }

    fn get(&self, path: &str) -> Seen {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"))
    }

    fn status(&self, path: &str) -> String {
        self.get(path).line().split(' ').nth(1).unwrap_or_default().to_owned()
    }
}

fn send(client: &mut BufReader<TcpStream>, request: &str) -> Seen {
    client.get_mut().write_all(request.as_bytes()).unwrap();
    read_message(client).expect("an answer")
}

/// Waits until something holds.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_request_reaches_the_backend_as_it_was_but_for_what_ends_at_a_hop() {
    let app = App::saying("hello");
    let world = World::new(&format!("a: * -> \"{}\"", app.url()));
    let got = world.ask(
        "POST /a%20b?x=1&y HTTP/1.1\r\nHost: shop.example\r\nX-Mine: 1\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n\
         Tombolo-Caller: nobody\r\nContent-Length: 3\r\n\r\nabc",
    );
    assert_eq!((got.line(), got.body.as_str()), ("HTTP/1.1 200 OK", "hello"));
    assert_eq!(
        (got.header("x-app"), got.header("server"), got.header("proxy-status")),
        (Some("yes"), Some("Tombolo"), None)
    );
    let seen = &app.seen()[0];
    assert_eq!((seen.line(), seen.body.as_str()), ("POST /a%20b?x=1&y HTTP/1.1", "abc"));
    assert_eq!(seen.header("host"), Some(&*app.address.to_string()), "the backend's own");
    assert_eq!(
        (seen.header("x-mine"), seen.header("x-hop"), seen.header("tombolo-caller")),
        (Some("1"), None, None)
    );
    assert!(seen.header("traceparent").is_some_and(|trace| trace.starts_with("00-")));
}

#[test]
fn a_chunked_body_an_absolute_target_and_a_head_are_understood() {
    let app = App::new(|_, seen, stream| {
        if seen.line().starts_with("HEAD") {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n").is_ok()
        } else {
            answer(stream, "200 OK", &seen.body)
        }
    });
    let world = World::new(&format!("a: Host(/^shop[.]example$/) -> \"{}\"", app.url()));
    let mut client = world.client();
    let got = send(
        &mut client,
        "POST http://shop.example/in?q HTTP/1.1\r\nHost: other\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    );
    assert_eq!(got.body, "abcde");
    assert_eq!(app.seen()[0].line(), "POST /in?q HTTP/1.1");
    client.get_mut().write_all(b"HEAD / HTTP/1.1\r\nHost: shop.example\r\n\r\n").unwrap();
    let mut line = String::new();
    client.read_line(&mut line).unwrap();
    assert_eq!(line, "HTTP/1.1 200 OK\r\n");
    assert_eq!(
        world.ask("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n").line(),
        "HTTP/1.1 405 Method Not Allowed"
    );
}

#[test]
fn an_answer_of_ours_says_why() {
    let world = World::new(
        "gone: Path(\"/gone\") -> \"http://127.0.0.1:1\"; teapot: Path(\"/t\") -> status(418) -> <shunt>;
         limited: Path(\"/l\") -> ratelimit(1, \"1m\") -> status(200) -> <shunt>",
    );
    let why = |path: &str| {
        let got = world.get(path);
        format!(
            "{} | {}",
            got.line(),
            got.header("proxy-status").unwrap_or("-").split("; details").next().unwrap()
        )
    };
    assert_eq!(why("/x"), "HTTP/1.1 404 Not Found | tombolo; error=no_route");
    assert_eq!(why("/gone"), "HTTP/1.1 502 Bad Gateway | tombolo; error=connection_refused; route=\"gone\"");
    assert_eq!(why("/t"), "HTTP/1.1 418 I'm a teapot | tombolo; cause=shunt; route=\"teapot\"");
    assert_eq!(world.status("/l"), "200");
    assert_eq!(
        why("/l"),
        "HTTP/1.1 429 Too Many Requests | tombolo; error=rate_limited; route=\"limited\"; filter=\"ratelimit\""
    );
}

#[test]
fn a_request_may_go_round_but_not_for_ever() {
    let app = App::new(|_, seen, stream| answer(stream, "200 OK", seen.line()));
    let world = World::new(&format!(
        "in: Path(\"/in/:id\") -> setPath(\"/out\") -> setResponseHeader(\"X-Outer\", \"1\") -> <loopback>;
         out: Path(\"/out\") -> setPath(\"/item/${{id}}\") -> \"{}\";
         round: Path(\"/round\") -> <loopback>;
         again: Path(\"/again\") -> loopbackIfStatus(404, \"/out\") -> <shunt>",
        app.url()
    ));
    let got = world.get("/in/7");
    assert_eq!((got.body.as_str(), got.header("x-outer")), ("GET /item/7 HTTP/1.1", Some("1")));
    let got = world.get("/round");
    assert_eq!(got.line(), "HTTP/1.1 500 Internal Server Error");
    assert!(got.header("proxy-status").unwrap().contains("proxy_loop_detected"));
    assert_eq!(world.get("/again").body, "GET /item/ HTTP/1.1");
}

#[test]
fn only_a_balanced_backend_without_a_body_is_asked_elsewhere_by_itself() {
    let app = App::saying("here");
    let world = World::new(&format!(
        "b: Path(\"/b\") -> <roundRobin, \"http://127.0.0.1:1\", \"{0}\">; one: Path(\"/one\") -> \"http://127.0.0.1:1\"",
        app.url()
    ));
    for _ in 0..6 {
        assert_eq!(world.get("/b").body, "here");
    }
    let post = "POST /b HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\n\r\nx";
    let codes: Vec<_> =
        (0..4).map(|_| world.ask(post).line().split(' ').nth(1).unwrap().to_owned()).collect();
    assert!(codes.contains(&"502".to_owned()) && codes.contains(&"200".to_owned()), "{codes:?}");
    assert_eq!(world.status("/one"), "502");
}

#[test]
fn a_route_that_asks_for_it_repeats_what_is_safe() {
    let app =
        App::new(|number, _, stream| answer(stream, if number % 2 == 0 { "503 No" } else { "200 OK" }, "x"));
    let world = World::new(&format!(
        "r: Path(\"/r\") -> retry(2, \"503\", 1) -> \"{0}\"; any: Path(\"/any\") -> retry(2, \"503,any-method\", 1) -> \"{0}\"",
        app.url()
    ));
    let post = |path: &str| format!("POST {path} HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nbody");
    assert_eq!(world.status("/r"), "200");
    assert_eq!(app.seen().len(), 2);
    assert_eq!(world.ask(&post("/r")).line(), "HTTP/1.1 503 No", "a POST is not repeated");
    app.seen.lock().unwrap().clear();
    // The failed POST above was number 2, so the next answer is good: one more makes it fail first.
    assert_eq!(world.status("/r"), "200");
    assert_eq!(world.ask(&post("/any")).line(), "HTTP/1.1 200 OK");
    let bodies: Vec<_> = app.seen().into_iter().map(|seen| seen.body).collect();
    assert_eq!(bodies, ["", "body", "body"], "its body is sent again");
}

#[test]
fn a_breaker_opens_and_says_so() {
    let app = App::new(|_, _, stream| answer(stream, "500 No", ""));
    let world = World::new(&format!("b: * -> consecutiveBreaker(3) -> \"{}\"", app.url()));
    for _ in 0..3 {
        assert_eq!(world.status("/"), "500");
    }
    let got = world.get("/");
    assert_eq!(
        (got.line(), got.header("x-circuit-open")),
        ("HTTP/1.1 503 Service Unavailable", Some("true"))
    );
    assert_eq!(app.seen().len(), 3);
}

#[test]
fn each_way_a_backend_fails_has_its_status() {
    let app = App::new(|_, seen, stream| {
        match seen.line().split(' ').nth(1).unwrap() {
            "/close" => return false,
            "/garbage" => stream.write_all(b"hello there\r\n\r\n").unwrap(),
            "/stall" => std::thread::sleep(Duration::from_millis(400)),
            _ => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort").unwrap(),
        }
        false
    });
    let world = World::new(&format!("a: * -> backendTimeout(\"150ms\") -> \"{}\"", app.url()));
    let result = |path: &str| {
        let got = world.get(path);
        let cause = got.header("proxy-status").unwrap_or("-").split("; ").nth(1).unwrap_or("-").to_owned();
        format!("{} {cause}", got.line().split(' ').nth(1).unwrap())
    };
    assert_eq!(result("/close"), "503 error=connection_terminated");
    assert_eq!(result("/garbage"), "503 error=http_protocol_error");
    assert_eq!(result("/stall"), "504 error=http_response_timeout");
    let mut client = world.client();
    client.get_mut().write_all(b"GET /half HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
    let mut text = String::new();
    let _ = client.read_to_string(&mut text);
    assert!(text.ends_with("short"), "a broken body ends the connection: {text}");
}

#[test]
fn a_mirror_gets_a_copy_and_nobody_waits_for_it() {
    let (app, shadow) = (
        App::saying("real"),
        App::new(|_, _, _| {
            std::thread::sleep(Duration::from_millis(300));
            false
        }),
    );
    let world = World::new(&format!(
        "a: Path(\"/a\") -> tee(\"{1}\") -> \"{0}\"; l: Path(\"/l\") -> teeLoopback(\"x\") -> \"{0}\"; s: Path(\"/l\") && Tee(\"x\") && True() -> setPath(\"/copy\") -> \"{0}\"",
        app.url(),
        shadow.url()
    ));
    let begun = Instant::now();
    let got = world.ask("PUT /a HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nbody");
    assert_eq!(got.body, "real");
    assert!(begun.elapsed() < Duration::from_millis(250), "it waited for the mirror");
    eventually("the mirror saw it", || {
        shadow.seen().iter().any(|seen| seen.line() == "PUT /a HTTP/1.1" && seen.body == "body")
    });
    assert_eq!(world.get("/l").body, "real");
    eventually("the copy went round", || app.seen().iter().any(|seen| seen.line() == "GET /copy HTTP/1.1"));
}

#[test]
fn instances_of_a_service_come_and_go_and_a_caller_is_named() {
    let (one, two) = (App::saying("1"), App::saying("2"));
    let edge = Edge { caller: "cart".into(), callee: "pay".into() };
    let world =
        World::with("p: Host(/^pay$/) -> \"service://pay\"", Settings::default(), &["pay"], Some(edge));
    let got = world.get("/");
    assert_eq!(got.line(), "HTTP/1.1 503 Service Unavailable");
    assert!(got.header("proxy-status").unwrap().contains("no instance of service pay can serve now"));
    let builder = world.plane.builder();
    let set = |urls: &[String]| builder.services.set("pay", urls, &builder.lasting, &builder.clock).unwrap();
    set(&[one.url(), two.url()]);
    let mut got: Vec<_> =
        (0..4).map(|_| world.ask("GET / HTTP/1.1\r\nHost: x\r\nTombolo-Caller: y\r\n\r\n").body).collect();
    got.sort();
    assert_eq!(got, ["1", "1", "2", "2"]);
    assert_eq!(one.seen()[0].header("tombolo-caller"), Some("cart"));
    set(&[two.url()]);
    assert!((0..4).all(|_| world.get("/").body == "2"));
}

#[test]
fn a_backend_that_closes_idle_connections_costs_nobody_an_answer() {
    // Every third answer is followed by a close that crosses the next request.
    let app = App::new(|number, _, stream| answer(stream, "200 OK", "x") && number % 3 != 2);
    let world = World::new(&format!("a: * -> \"{}\"", app.url()));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let mut client = world.client();
            std::thread::spawn(move || {
                for _ in 0..500 {
                    let got = send(&mut client, "GET / HTTP/1.1\r\nHost: t\r\n\r\n");
                    assert_eq!(got.line(), "HTTP/1.1 200 OK", "{}", got.head);
                }
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
}

#[test]
fn a_reload_storm_fails_no_request() {
    let app = App::saying("x");
    let world = World::new(&format!("a: * -> \"{}\"", app.url()));
    let stop = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..3)
        .map(|_| {
            let (mut client, stop) = (world.client(), stop.clone());
            std::thread::spawn(move || {
                let mut asked = 0;
                while stop.load(Ordering::Relaxed) == 0 || asked < 50 {
                    assert_eq!(
                        send(&mut client, "GET / HTTP/1.1\r\nHost: t\r\n\r\n").line(),
                        "HTTP/1.1 200 OK"
                    );
                    asked += 1;
                }
            })
        })
        .collect();
    for number in 0..200 {
        world.put(&format!(
            "a{number}: * -> setResponseHeader(\"X-Table\", \"{number}\") -> \"{}\"",
            app.url()
        ));
    }
    stop.store(1, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }
    assert_eq!(world.get("/").header("x-table"), Some("199"));
}

#[test]
fn an_early_answer_does_not_hold_up_those_who_come_after() {
    // The application answers as soon as it has the head; the client's body is still on its way.
    let app = App::new(|_, _, stream| answer(stream, "200 OK", "x"));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let early = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut line = String::new();
                while reader.read_line(&mut line).is_ok_and(|n| n > 0) {
                    if line == "\r\n" {
                        answer(&mut stream, "200 OK", "early");
                    }
                    line.clear();
                }
            });
        }
    });
    let world = World::new(&format!("e: * -> \"http://{early}\"; ok: Path(\"/ok\") -> \"{}\"", app.url()));
    let mut slow = world.client();
    slow.get_mut().write_all(b"POST /e HTTP/1.1\r\nHost: t\r\nContent-Length: 100000\r\n\r\nbegin").unwrap();
    assert_eq!(read_message(&mut slow).unwrap().body, "early");
    let begun = Instant::now();
    assert_eq!(world.get("/e").body, "early");
    assert!(begun.elapsed() < Duration::from_secs(5), "the next request waited for a body of another");
}

#[test]
fn too_large_a_body_is_refused_in_both_forms() {
    let app = App::new(|_, seen, stream| answer(stream, "200 OK", &seen.body.len().to_string()));
    let settings = Settings { body_bytes: Some(10), ..Settings::default() };
    let world = World::with(&format!("a: * -> \"{}\"", app.url()), settings, &[], None);
    let post =
        |body: &str| format!("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    assert_eq!(world.ask(&post("0123456789")).body, "10");
    assert_eq!(world.ask(&post("0123456789a")).line(), "HTTP/1.1 413 Payload Too Large");
    let chunked =
        "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n0123456789a\r\n0\r\n\r\n";
    assert!(world.ask(chunked).line().starts_with("HTTP/1.1 4"), "more than allowed came");
}

#[test]
fn a_client_that_leaves_is_not_waited_for() {
    let app = App::new(|_, _, _| {
        std::thread::sleep(Duration::from_secs(3));
        false
    });
    let world = World::new(&format!("a: * -> \"{}\"", app.url()));
    let mut client = world.client();
    client.get_mut().write_all(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
    eventually("the backend was asked", || app.seen().len() == 1);
    drop(client);
    eventually("nothing is under way any more", || world.plane.builder().metrics.in_flight() == 0);
    let page = world.plane.builder().metrics.expose();
    assert!(page.contains("code=\"499\""), "{page}");
}

#[test]
fn a_drain_lets_requests_finish_and_takes_no_new_ones() {
    let app = App::new(|_, _, stream| {
        std::thread::sleep(Duration::from_millis(200));
        answer(stream, "200 OK", "done")
    });
    let mut world = World::new(&format!("a: * -> \"{}\"", app.url()));
    let mut client = world.client();
    client.get_mut().write_all(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
    eventually("the backend was asked", || app.seen().len() == 1);
    world.drainer.drain();
    assert_eq!(read_message(&mut client).unwrap().body, "done");
    let served = world.served.take().unwrap();
    world
        .runtime
        .block_on(async { tokio::time::timeout(Duration::from_secs(10), served.ended()).await })
        .unwrap();
    assert!(TcpStream::connect(world.address).is_err());
}
