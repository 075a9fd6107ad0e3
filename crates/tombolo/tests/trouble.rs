//! `tombolo up` when things go wrong, or at least otherwise: bad edits, builds that fail, services that crash,
//! start late or are deaf, a killed `up`, terminals that stand still, links, other folders.

mod support;

use expect_test::expect;
use nix::sys::signal::Signal;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Stdio};
use support::{Folder, Running, eventually, get, get_until, runs, taken, try_get};

/// Ports that the kernel chooses.
const GATEWAY: &str = "gateway: {address: 127.0.0.1:0, api: 127.0.0.1:0, support: off}\n";

/// What stands below the table: all is settled.
const SETTLED: &str = "Ctrl-C stops everything";

const TWO: &str = "\
services:
  web:
    run: [APP]
    env: {NAME: web}
    calls: [cart]
    depends_on: [cart]
  cart:
    build: echo compiled
    run: [APP]
    env: {NAME: cart}
    filters: setRequestHeader(\"X-Edge\", \"internal\")
routes: |
  web: PathSubtree(\"/web\") -> modPath(\"^/web\", \"\") -> \"service://web\";
  cart: PathSubtree(\"/cart\") -> modPath(\"^/cart\", \"\") -> \"service://cart\";
";

/// A folder with this manifest besides its gateway.
fn folder(manifest: &str) -> Folder {
    Folder::with(&format!("name: shop\n{GATEWAY}{manifest}"))
}

/// `tombolo up` in the folder, settled; and its gateway.
fn up(folder: &Folder) -> (Running, SocketAddr) {
    let mut up = folder.start(&["up"]);
    up.wait_for(SETTLED);
    let gateway = up.address("gateway at http://");
    (up, gateway)
}

/// Ctrl-C, and the end; all that was said.
fn end(mut up: Running) -> String {
    up.signal(Signal::SIGINT);
    assert_eq!(up.wait(), 0, "{}", up.said());
    up.said()
}

/// The process that a service says it is.
fn pid_of(gateway: SocketAddr, path: &str) -> u32 {
    eventually(path, || try_get(gateway, path, "").filter(|answer| answer.status == 200)?.body.parse().ok())
}

/// A process whose output nobody reads; it ends with the test.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// These words must stand in this order.
fn in_order(said: &str, words: &[&str]) {
    let mut from = 0;
    for word in words {
        let at =
            said[from..].find(word).unwrap_or_else(|| panic!("`{word}` is not where it should be:\n{said}"));
        from += at + word.len();
    }
}

#[test]
fn filters_of_a_service_are_for_calls_and_nobody_outside_can_name_itself() {
    let folder = folder(TWO);
    let (up, gateway) = up(&folder);
    let called = get(gateway, "/web/call/CART_URL").body.to_lowercase();
    assert!(called.contains("tombolo-caller: web") && called.contains("x-edge: internal"), "{called}");
    let outside = try_get(gateway, "/cart/x", "Tombolo-Caller: admin\r\n").unwrap().body.to_lowercase();
    assert!(!outside.contains("tombolo-caller") && !outside.contains("x-edge"), "{outside}");
    end(up);
}

#[test]
fn a_bad_manifest_changes_nothing_and_is_told_with_its_place() {
    let folder = folder(TWO);
    let (mut up, gateway) = up(&folder);
    let cart = pid_of(gateway, "/cart/pid");
    let write = |text: &str| folder.write("tombolo.yaml", &format!("name: shop\n{GATEWAY}{text}"));
    let edits = [
        ("calls: [cart]", "calls: [crat]", "names `crat`, which is no service\n --> tombolo.yaml:7:13"),
        ("\"service://cart\"", "\"service://cart", "--> tombolo.yaml:16:58"),
        ("setRequestHeader", "setReqestHeader", "`setReqestHeader` is not known\n  --> tombolo.yaml:13:14"),
        ("depends_on: [cart]", "dir: gone", "names `gone`, which is not there"),
        ("cart\";", "cart\";\n - more: yaml", "--> tombolo.yaml:17:"),
    ];
    for (number, (good, bad, told)) in edits.into_iter().enumerate() {
        write(&TWO.replace(good, bad));
        up.wait_for_times("manifest refused, the last good one stays in force", number + 1);
        assert!(up.said().contains(told), "{told}:\n{}", up.said());
        assert_eq!(pid_of(gateway, "/cart/pid"), cart);
        assert!(get(gateway, "/web/x").body.starts_with("I am web"));
    }
    // Read again for another reason, the bad manifest still takes nothing away.
    up.signal(Signal::SIGHUP);
    up.wait_for_times("manifest refused", edits.len() + 1);
    assert!(get(gateway, "/web/x").body.starts_with("I am web"));
    write(&TWO.replace("\"/cart\"", "\"/korb\"").replace("^/cart", "^/korb"));
    assert_eq!(pid_of(gateway, "/korb/pid"), cart);
    end(up);
}

#[test]
fn a_bad_routes_file_beside_a_changed_manifest_keeps_its_last_good_routes() {
    let manifest = |word: &str| {
        format!(
            "{GATEWAY}routes:\n  - shop.eskip\n  - 'b: Path(\"/b\") -> inlineContent(\"{word}\") -> <shunt>;'\n"
        )
    };
    let folder = Folder::with(&manifest("one"));
    let routes = "a: Path(\"/a\") -> inlineContent(\"file\") -> <shunt>;";
    folder.write("shop.eskip", routes);
    let (mut up, gateway) = up(&folder);
    // In place, as some editors do.
    std::fs::write(folder.path().join("shop.eskip"), "a: Path(").unwrap();
    up.wait_for("--> shop.eskip:1:");
    folder.write("tombolo.yaml", &manifest("two"));
    get_until(gateway, "/b", "two");
    assert_eq!(get(gateway, "/a").body, "file");
    // A file that goes, and comes again.
    std::fs::remove_file(folder.path().join("shop.eskip")).unwrap();
    up.wait_for("routes file `shop.eskip` can't be read");
    assert_eq!(get(gateway, "/a").body, "file");
    folder.write("shop.eskip", &routes.replace("file", "again"));
    get_until(gateway, "/a", "again");
    end(up);
}

#[test]
fn edits_are_noticed_however_much_a_service_prints() {
    let manifest = |word: &str| {
        format!(
            "{GATEWAY}services:\n  web:\n    run: (while sleep 0.01; do echo tick; done) & exec APP\n\
             routes: 'b: Path(\"/b\") -> inlineContent(\"{word}\") -> <shunt>;'\n"
        )
    };
    let folder = Folder::with(&manifest("0"));
    let (up, gateway) = up(&folder);
    for word in ["1", "2", "3", "4"] {
        folder.write("tombolo.yaml", &manifest(word));
        get_until(gateway, "/b", word);
    }
    end(up);
}

#[test]
fn a_manifest_behind_a_link_or_named_from_elsewhere_is_watched_too() {
    let folder = Folder::new();
    let text = |word: &str| format!("{GATEWAY}routes: 'a: * -> inlineContent(\"{word}\") -> <shunt>'\n");
    for name in ["real", "shop"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
    }
    folder.write("real/shop.yaml", &text("one"));
    std::os::unix::fs::symlink("../real/shop.yaml", folder.path().join("shop/tombolo.yaml")).unwrap();
    for arguments in [["up", "shop"], ["up", "shop/tombolo.yaml"], ["up", "real/shop.yaml"]] {
        folder.write("real/shop.yaml", &text("one"));
        let mut up = folder.start(&arguments);
        up.wait_for(SETTLED);
        let gateway = up.address("gateway at http://");
        assert_eq!(get(gateway, "/").body, "one");
        folder.write("real/shop.yaml", &text("two"));
        get_until(gateway, "/", "two");
        end(up);
    }
}

#[test]
fn watched_files_build_and_restart_their_service_and_variables_restart_it() {
    let folder = folder(
        "services:\n  web:\n    build: cp src/version built\n    run: VERSION=$(cat built) exec APP\n    \
         env_file: web.env\n    watch: [src]\n  other:\n    run: [APP]\n\
         routes: |\n  web: PathSubtree(\"/web\") -> modPath(\"^/web\", \"\") -> \"service://web\";\n  \
         other: PathSubtree(\"/other\") -> modPath(\"^/other\", \"\") -> \"service://other\";\n",
    );
    std::fs::create_dir(folder.path().join("src")).unwrap();
    folder.write("src/version", "one");
    folder.write("web.env", "COLOUR=red\n");
    let (mut up, gateway) = up(&folder);
    let other = pid_of(gateway, "/other/pid");
    assert_eq!(get(gateway, "/web/env/VERSION").body, "one");
    assert_eq!(get(gateway, "/web/env/COLOUR").body, "red");
    folder.write("src/version", "two");
    get_until(gateway, "/web/env/VERSION", "two");
    // A build that fails leaves the old one running.
    std::fs::remove_file(folder.path().join("src/version")).unwrap();
    up.wait_for("the build failed");
    assert_eq!(get(gateway, "/web/env/VERSION").body, "two");
    // The folder is removed and made anew, as a checkout of another branch does.
    std::fs::remove_dir_all(folder.path().join("src")).unwrap();
    std::fs::create_dir(folder.path().join("src")).unwrap();
    folder.write("src/version", "three");
    get_until(gateway, "/web/env/VERSION", "three");
    folder.write("src/version", "four");
    get_until(gateway, "/web/env/VERSION", "four");
    folder.write("web.env", "COLOUR=blue\n");
    get_until(gateway, "/web/env/COLOUR", "blue");
    assert_eq!(pid_of(gateway, "/other/pid"), other);
    end(up);
}

#[test]
fn a_crash_loop_shows_the_last_lines_and_a_restart_by_hand_mends_it() {
    let folder = folder(
        "services:\n  web:\n    run: test -e ready && exec APP; CRASH_AT_START=1 exec APP\n    env: {NAME: web}\n    \
         restart: {backoff: 10ms, limit: 2}\nroutes: |\n  web: * -> \"service://web\";\n",
    );
    let (mut up, gateway) = up(&folder);
    in_order(
        &up.said(),
        &[
            "web     | exited with status 3",
            "web     | restart 1 in 10 ms",
            "web     | restart 2 in 20 ms",
            "web     | its last lines:",
            "web     |   fatal: no database at db.invalid",
            "web     | crash-looping: ended again after 2 restarts, left ended",
            "web     | hint: fix it and run `tombolo restart web`",
            "crash looped",
        ],
    );
    assert_eq!(get(gateway, "/").status, 503);
    folder.write("ready", "");
    assert_eq!(folder.run(&["restart", "web"]), "web restarts\nexit 0\n");
    get_until(gateway, "/", "I am web");
    // All is well now, which is worth another table.
    up.wait_for_times(SETTLED, 2);
    end(up);
}

#[test]
fn a_slow_start_is_told_and_a_taken_port_names_who_has_it() {
    let (_held, port) = taken();
    let folder = folder(&format!(
        "services:\n  web:\n    run: exec sleep 1000\n  cart:\n    run: [APP]\n    port: {port}\n    \
         restart: {{backoff: 10ms, limit: 1}}\n"
    ));
    let mut up = folder.start(&["up"]);
    up.wait_for(&format!("port {port} of service `cart` is taken by "));
    assert!(up.said().contains(&format!("(pid {})", std::process::id())), "{}", up.said());
    up.wait_for("web     | still starting: nothing listens on 127.0.0.1:");
    end(up);
}

#[test]
fn a_killed_up_leaves_no_process_and_does_not_stand_in_its_own_way() {
    let folder = folder(
        "services:\n  web:\n    run: trap '' TERM; echo $$ > pids; sleep 1000 & echo $! >> pids; wait; wait; wait\n    \
         health: {command: test -s pids}\n",
    );
    let (mut first, _) = up(&folder);
    let pids: Vec<u32> = eventually("two processes", || {
        let text = std::fs::read_to_string(folder.path().join("pids")).ok()?;
        let pids: Vec<u32> = text.lines().filter_map(|line| line.parse().ok()).collect();
        (pids.len() == 2).then_some(pids)
    });
    first.signal(Signal::SIGKILL);
    first.wait_alone();
    eventually("they end", || pids.iter().all(|pid| !runs(*pid)).then_some(()));
    // Its file is still there, and its process id is somebody's again: in a container it always is.
    let file = folder.path().join(".tombolo/run.json");
    let mut text: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    text["pid"] = std::process::id().into();
    std::fs::write(&file, text.to_string()).unwrap();
    assert!(folder.run(&["status"]).contains("no `tombolo up` runs"));
    std::fs::remove_file(folder.path().join("pids")).unwrap();
    let (mut second, _) = up(&folder);
    second.signal(Signal::SIGINT);
    second.wait_for("again: at once");
    // The shell is deaf to SIGTERM and has ten seconds; nobody wants to wait so long.
    second.signal(Signal::SIGINT);
    assert_eq!(second.wait(), 0);
    assert!(second.said().contains("killed, since they did not end in time: web"), "{}", second.said());
    assert!(!folder.path().join(".tombolo").exists());
}

#[test]
fn a_second_signal_does_not_wait_for_requests_under_way() {
    // Elsewhere, so that the end of the service is not what ends the request.
    let (held, port) = taken();
    let folder = folder(&format!(
        "services:\n  slow:\n    at: http://127.0.0.1:{port}\nroutes: |\n  slow: * -> \"service://slow\";\n\
         limits: {{drain_timeout: 1h}}\n"
    ));
    let (mut up, gateway) = up(&folder);
    let asking = std::thread::spawn(move || try_get(gateway, "/", ""));
    let (mut backend, _) = held.accept().unwrap();
    assert!(backend.read(&mut [0; 1024]).unwrap() > 0);
    up.signal(Signal::SIGTERM);
    up.wait_for("SIGTERM: finishing requests");
    up.signal(Signal::SIGTERM);
    assert_eq!(up.wait(), 0);
    assert!(asking.join().unwrap().is_none_or(|answer| answer.status >= 500));
}

#[test]
fn logs_show_what_was_and_follow_what_comes() {
    let folder = folder(TWO);
    let (up, _) = up(&folder);
    in_order(&folder.run(&["logs", "cart"]), &["cart | compiled\n", "listens\n", "exit 0"]);
    assert_eq!(folder.run(&["logs", "--tail", "1", "cart", "web"]).lines().count(), 2);
    let json = folder.command(&["logs", "--json"]).output().unwrap().stdout;
    for line in String::from_utf8(json).unwrap().lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line["service"].is_string() && line["text"].is_string());
    }
    expect![[r#"
        error: `a/b` can't be the name of a service
        hint: `tombolo status` shows the names
        exit 1
    "#]]
    .assert_eq(&folder.run(&["logs", "a/b"]));
    expect![[r#"
        error: `./` can't be the name of a service
        hint: where the manifest lies is said with `-C ./`
        exit 1
    "#]]
    .assert_eq(&folder.run(&["stop", "./"]));
    let mut follow = folder.start(&["logs", "-f", "--tail", "0", "cart"]);
    // As `tombolo logs -f | head -1`: it ends when nobody reads any more.
    let mut head = folder.command(&["logs", "-f", "--tail", "0", "cart"]);
    let mut head = Ends(head.stdout(Stdio::piped()).spawn().unwrap());
    drop(head.0.stdout.take());
    eventually("a new line is followed", || {
        // Until the followers are there, whatever is printed is before their time.
        folder.run(&["restart", "--no-build", "cart"]);
        let ended = head.0.try_wait().unwrap().is_some();
        (follow.said().contains("listens") && ended).then_some(())
    });
    end(up);
    // The end of what is followed is no error.
    assert_eq!(follow.wait(), 0, "{}", follow.said());
}

#[test]
fn machines_are_told_of_requests_and_mistakes_in_objects_too() {
    let folder = folder(TWO);
    let mut up = folder.start(&["up", "--json"]);
    up.wait_for("\"settled\"");
    let gateway = eventually("the gateway", || {
        let said = up.said();
        let line = said.lines().find(|line| line.contains("\"settled\""))?;
        let settled: serde_json::Value = serde_json::from_str(line).ok()?;
        settled["gateway"].as_str()?.trim_start_matches("http://").parse::<SocketAddr>().ok()
    });
    get(gateway, "/web/x");
    folder.write("tombolo.yaml", "servces: {}\n");
    up.wait_for("manifest refused");
    let said = end(up);
    for line in said.lines() {
        let value = serde_json::from_str::<serde_json::Value>(line);
        assert!(value.is_ok_and(|value| value.is_object()), "{line}");
    }
    for kind in ["\"diagnostic\":", "/web/x"] {
        assert!(said.contains(kind), "{kind}:\n{said}");
    }
}

#[test]
fn a_terminal_that_stands_still_or_goes_stops_nothing() {
    let folder = folder(
        "services:\n  web:\n    run: (while sleep 0.02; do seq 2000; done) & exec APP\n\
         routes: |\n  web: * -> \"service://web\";\n",
    );
    // Nobody ever reads these pipes, as with a paused terminal.
    let mut command = folder.command(&["up"]);
    let mut up = Ends(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let gateway = eventually("it answers", || {
        let output = folder.command(&["status", "--json"]).output().unwrap();
        let about: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
        (about["services"][0]["state"] == "healthy").then_some(())?;
        about["gateway"].as_str()?.trim_start_matches("http://").parse::<SocketAddr>().ok()
    });
    let restarts = || {
        let before = pid_of(gateway, "/pid");
        assert_eq!(folder.run(&["restart", "web"]), "web restarts\nexit 0\n");
        eventually("another process", || (pid_of(gateway, "/pid") != before).then_some(()));
    };
    restarts();
    drop((up.0.stdout.take(), up.0.stderr.take()));
    restarts();
    assert_eq!(folder.run(&["stop"]), "stopped\nexit 0\n");
    assert!(up.0.wait().unwrap().success());
}

#[test]
fn services_that_run_elsewhere_are_reached_and_shown() {
    let (listener, port) = taken();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nelsewhere";
            let _ = stream.write_all(answer);
        }
    });
    let folder = folder(&format!(
        "services:\n  pay:\n    at: http://127.0.0.1:{port}\n  web:\n    run: [APP]\n    calls: [pay]\n\
         routes: |\n  pay: Path(\"/pay\") -> \"service://pay\";\n  web: PathSubtree(\"/\") -> \"service://web\";\n"
    ));
    let (up, gateway) = up(&folder);
    assert_eq!(get(gateway, "/pay").body, "elsewhere");
    assert_eq!(get(gateway, "/call/PAY_URL").body, "elsewhere");
    in_order(&end(up), &["SERVICE", "pay", "elsewhere", &port.to_string()]);
}

#[test]
fn without_services_and_on_ipv6_it_is_a_gateway_all_the_same() {
    if TcpListener::bind("[::1]:0").is_err() {
        return;
    }
    let folder = Folder::with(
        "gateway: {address: '[::1]:0', api: 127.0.0.1:0, support: off}\n\
         routes: 'a: * -> inlineContent(\"six\") -> <shunt>'\n",
    );
    let mut up = folder.start(&["up"]);
    up.wait_for(SETTLED);
    let said = up.said();
    assert!(said.contains("no services"), "{said}");
    let port = said.split("http://[::1]:").nth(1).unwrap().split_whitespace().next().unwrap();
    let gateway = SocketAddr::new("::1".parse().unwrap(), port.parse().unwrap());
    assert_eq!(get(gateway, "/").body, "six");
    end(up);
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let folder = folder("services:\n  web:\n    run: [APP]\n");
    // Where the state would go is a file: no permission of root's helps there.
    folder.write(".tombolo", "");
    let told = folder.run(&["up"]);
    in_order(
        &told,
        &[
            "error: `DIR/.tombolo/run.json` can't be written: ",
            "hint: `tombolo up` keeps its state beside the manifest; may you write there?",
            "exit 1",
        ],
    );
    assert!(!told.contains("healthy"), "{told}");
}

#[test]
fn bad_filters_of_a_service_start_nothing() {
    let folder = folder(&TWO.replace("setRequestHeader", "setReqestHeader"));
    let told = folder.run(&["up"]);
    in_order(
        &told,
        &[
            "filter `setReqestHeader` is not known",
            "--> tombolo.yaml:13:14",
            "hint: did you mean `setRequestHeader`?",
            "error: routes or filters have errors, nothing was started",
            "exit 1",
        ],
    );
    assert!(!told.contains("gateway at"), "{told}");
    assert!(!folder.path().join(".tombolo").exists());
}

#[test]
fn colours_take_no_room_in_the_table() {
    let folder = folder(TWO);
    let mut command = folder.command(&["up"]);
    command.env_remove("NO_COLOR").env("CLICOLOR_FORCE", "1");
    let mut up = Running::of(command);
    up.wait_for(SETTLED);
    let said = end(up);
    assert!(said.contains("\u{1b}[32mhealthy"), "{said}");
    let strip = |line: &str| {
        let mut plain = String::new();
        for (at, part) in line.split('\u{1b}').enumerate() {
            plain.push_str(if at == 0 { part } else { part.split_once('m').map_or("", |(_, rest)| rest) });
        }
        plain
    };
    let lines: Vec<String> = said.lines().map(strip).collect();
    let head = lines.iter().find(|line| line.contains("SERVICE")).unwrap();
    for name in ["  web ", "  cart "] {
        let row = lines.iter().find(|line| line.starts_with(name)).unwrap();
        assert_eq!(row.find("healthy"), head.find("STATE"), "{head}\n{row}");
        assert_eq!(row.find("http://"), head.find("ADDRESS"), "{head}\n{row}");
    }
}
