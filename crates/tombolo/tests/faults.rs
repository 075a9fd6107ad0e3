//! `tombolo gateway` on a bad day of the machine: ten thousand clients that say nothing, no file descriptors left,
//! a full disk, files that change faster than anybody reads.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use support::{Folder, PATIENCE, Running, eventually, get, get_until, try_get};

const IDLE: usize = 10_000;

/// Most memory that a client costs which has asked once and then says nothing. Most of it is the room that its
/// task has for a request on its way.
const IDLE_BYTES_MAX: u64 = 24 << 10;

/// Descriptors of a gateway that is to run out of them.
const DESCRIPTORS: usize = 60;

fn arguments<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let ports = ["gateway", "-address", "127.0.0.1:0", "-support-listener", "127.0.0.1:0", "-workers", "2"];
    [&ports[..], more].concat()
}

/// A request on a connection that stays open.
fn ask(stream: &mut TcpStream) -> std::io::Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n")?;
    let mut answer = [0; 1000];
    let length = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

/// Bytes of memory that a process has.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() << 10
}

/// Time of the processor that a process has taken.
fn busy(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    // Of a hundredth of a second each (proc(5)).
    Duration::from_millis(ticks * 10)
}

#[test]
fn ten_thousand_idle_clients_cost_little_memory_and_disturb_nobody() {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let needed = IDLE as u64 + 200;
    assert!(hard >= needed, "this test needs {needed} file descriptors, `ulimit -Hn` is {hard}");
    if soft < needed {
        setrlimit(Resource::RLIMIT_NOFILE, needed, hard).unwrap();
    }
    let folder = Folder::new();
    let mut gateway = folder.start(&arguments(&[
        "-inline-routes",
        "a: * -> status(200) -> <shunt>;",
        "-access-log-disabled",
    ]));
    let address = gateway.address("gateway http://");
    // What the first requests build stays for all others.
    for _ in 0..200 {
        assert_eq!(get(address, "/a").status, 200);
    }
    let before = resident(gateway.pid());
    let mut idle = Vec::new();
    for _ in 0..IDLE {
        let mut stream = TcpStream::connect(address).unwrap();
        assert!(ask(&mut stream).unwrap().starts_with("HTTP/1.1 200"));
        idle.push(stream);
    }
    let each = resident(gateway.pid()).saturating_sub(before) / IDLE as u64;
    assert!(each <= IDLE_BYTES_MAX, "{each} bytes for each idle client");
    for stream in idle.iter_mut().step_by(100) {
        assert!(ask(stream).unwrap().starts_with("HTTP/1.1 200"), "an idle one is still served");
    }
    assert_eq!(get(address, "/a").status, 200);
    drop(idle);
    assert_eq!(get(address, "/a").status, 200);
}

/// A gateway from a shell that has limited its descriptors by these options of `ulimit`.
fn limited(folder: &Folder, options: &str) -> Running {
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("ulimit {options} {DESCRIPTORS} && exec \"$@\""), "sh"])
        .arg(env!("CARGO_BIN_EXE_tombolo"))
        .args(arguments(&["-inline-routes", "a: * -> status(200) -> <shunt>;"]))
        .current_dir(folder.path())
        .stdin(Stdio::null());
    Running::of(command)
}

#[test]
fn a_low_limit_that_may_be_raised_is() {
    let folder = Folder::new();
    let mut gateway = limited(&folder, "-Sn");
    let address = gateway.address("gateway http://");
    let mut clients: Vec<_> = (0..DESCRIPTORS * 3).map(|_| TcpStream::connect(address).unwrap()).collect();
    for stream in &mut clients {
        assert!(ask(stream).unwrap().starts_with("HTTP/1.1 200"));
    }
}

#[test]
fn without_file_descriptors_it_waits_and_then_goes_on() {
    let folder = Folder::new();
    let mut gateway = limited(&folder, "-n");
    let address = gateway.address("gateway http://");
    assert_eq!(get(address, "/a").status, 200);
    let mut clients: Vec<_> = (0..DESCRIPTORS * 3).map(|_| TcpStream::connect(address).unwrap()).collect();
    let open = format!("/proc/{}/fd", gateway.pid());
    eventually("it has no descriptor left", || {
        (std::fs::read_dir(&open).unwrap().count() >= DESCRIPTORS).then_some(())
    });
    let before = busy(gateway.pid());
    std::thread::sleep(Duration::from_secs(1));
    let spent = busy(gateway.pid()).saturating_sub(before);
    assert!(spent < Duration::from_millis(400), "it spins: {spent:?} of a second");
    // Whoever is in is served.
    let mut served = clients.iter_mut().filter_map(|stream| {
        stream.set_read_timeout(Some(Duration::from_millis(200))).ok()?;
        stream.write_all(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n").ok()?;
        let mut answer = [0; 12];
        (stream.read(&mut answer).ok()? == 12 && answer == *b"HTTP/1.1 200").then_some(())
    });
    assert!(served.next().is_some(), "nobody is served");
    drop(clients);
    eventually("it accepts again", || try_get(address, "/a", "").filter(|answer| answer.status == 200));
    assert_eq!(gateway.said().matches("panicked").count(), 0, "{}", gateway.said());
}

#[test]
fn with_a_full_disk_it_serves_on_and_says_so_once() {
    let folder = Folder::new();
    let routes = "a: * -> status(200) -> <shunt>;";
    let mut gateway = folder.start(&arguments(&["-inline-routes", routes, "-access-log", "/dev/full"]));
    let address = gateway.address("gateway http://");
    let support = gateway.address("support http://");
    for _ in 0..300 {
        assert_eq!(get(address, "/a").status, 200);
    }
    eventually("all lines that are lost are counted", || {
        let page = get(support, "/metrics").body;
        let counted = page.lines().find_map(|line| line.strip_prefix("tombolo_log_lines_dropped_total "))?;
        (counted == "300").then_some(())
    });
    assert_eq!(gateway.said().matches("cannot write the access log").count(), 1, "{}", gateway.said());
    assert_eq!(get(address, "/a").status, 200);
}

/// Asks again and again until told to stop; how often it was answered well, and what else came.
fn ask_on(address: SocketAddr, over: &AtomicBool, asked: &AtomicUsize) -> Result<(), String> {
    let mut stream = TcpStream::connect(address).map_err(|error| error.to_string())?;
    while !over.load(Ordering::Relaxed) {
        let answer = ask(&mut stream).map_err(|error| error.to_string())?;
        if !answer.starts_with("HTTP/1.1 200") {
            return Err(answer);
        }
        asked.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

#[test]
fn a_storm_of_edits_costs_no_request_and_the_last_one_holds() {
    let folder = Folder::new();
    let others: Vec<String> =
        (0..200).map(|at| format!("r{at}: Path(\"/r/{at}\") -> status(204) -> <shunt>;\n")).collect();
    let edit = |number: usize| {
        let last = format!("a: * -> inlineContent(\"edit {number}.\") -> <shunt>;");
        folder.write("a.eskip", &(others.concat() + &last));
    };
    edit(0);
    let mut gateway = folder.start(&arguments(&["-routes-file", "a.eskip", "-access-log-disabled"]));
    let address = gateway.address("gateway http://");
    get_until(address, "/a", "edit 0.");
    let (over, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let askers: Vec<_> = (0..4)
        .map(|_| {
            let (over, asked) = (over.clone(), asked.clone());
            std::thread::spawn(move || ask_on(address, &over, &asked))
        })
        .collect();
    for number in 1..=200 {
        edit(number);
        // Some edits come together, some by themselves.
        std::thread::sleep(Duration::from_millis(number as u64 % 25));
    }
    get_until(address, "/a", "edit 200.");
    over.store(true, Ordering::Relaxed);
    for asker in askers {
        asker.join().unwrap().unwrap();
    }
    assert!(asked.load(Ordering::Relaxed) > 200);
    assert_eq!(gateway.said().matches("can't be read").count(), 0, "{}", gateway.said());
}
