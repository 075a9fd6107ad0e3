//! Services that do not start.

use crate::support::{Folder, taken};
use expect_test::{Expect, expect};

/// What `tombolo up` says about services that do not start, up to a text. Lines that a service prints come
/// beside what happens to it, in an order that nobody promises: they are left out.
fn up(services: &str, until: &str, expected: Expect) {
    let gateway = "gateway: { address: 127.0.0.1:0, api: 127.0.0.1:0, support: off }";
    let folder = Folder::with(&format!("name: shop\n{gateway}\nservices:\n{services}"));
    let mut up = folder.start(&["up"]);
    up.wait_for(until);
    up.signal(nix::sys::signal::Signal::SIGINT);
    assert_eq!(up.wait(), 0);
    let said = folder.plain(&up.said());
    let printed = ["web     | web reads its settings", "web     | fatal: no database at db.invalid"];
    let told: Vec<_> = said.lines().filter(|line| !printed.contains(line)).collect();
    expected.assert_eq(&(told.join("\n") + "\n"));
}

#[test]
fn a_program_that_is_not_there() {
    up(
        "  web:\n    run: [./wbe]\n    health: /health\n",
        "logs`, `restart`",
        expect![[r#"
            shop gateway at http://127.0.0.1:N
            web     | service `web` names program `./wbe`, which does not exist
            web     | hint: looked for `DIR/./wbe`; a path is taken relative to the service's `dir`, and a program that must first be compiled needs a `build`

              SERVICE  STATE   ADDRESS  PID  RESTARTS
              web      failed                          service `web` names program `./wbe`, which does not exist

              gateway  http://127.0.0.1:N
              console  http://127.0.0.1:N
              Ctrl-C stops everything; `tombolo status`, `logs`, `restart` and `stop` work from another terminal

            tombolo | SIGINT: finishing requests, then stopping services in order (again: at once)
            web     | stopped
            tombolo | all stopped in TIME
        "#]],
    );
}

#[test]
fn a_service_that_ends_as_soon_as_it_starts() {
    let service = "  web:\n    run: exec APP\n    env: { NAME: web, CRASH_AT_START: 1 }\n    health: /health\n    restart: { when: always, limit: 1, backoff: 10ms }\n";
    up(
        service,
        "logs`, `restart`",
        expect![[r#"
            shop gateway at http://127.0.0.1:N
            web     | exited with status 3
            web     | restart 1 in TIME
            web     | exited with status 3
            web     | its last lines:
            web     |   web reads its settings
            web     |   fatal: no database at db.invalid
            web     | crash-looping: ended again after 1 restarts, left ended
            web     | hint: fix it and run `tombolo restart web`

              SERVICE  STATE         ADDRESS                 PID  RESTARTS
              web      crash looped  http://127.0.0.1:N       1         exited with status 3

              gateway  http://127.0.0.1:N
              console  http://127.0.0.1:N
              Ctrl-C stops everything; `tombolo status`, `logs`, `restart` and `stop` work from another terminal

            tombolo | SIGINT: finishing requests, then stopping services in order (again: at once)
            web     | stopped
            tombolo | all stopped in TIME
        "#]],
    );
}

#[test]
fn a_service_whose_port_somebody_has() {
    let (_held, port) = taken();
    up(
        &format!("  web:\n    run: exec APP\n    port: {port}\n    restart: never\n"),
        "logs`, `restart`",
        expect![[r#"
            shop gateway at http://127.0.0.1:N
            web     | port N of service `web` is taken by `TEST` (pid N)
            web     | hint: stop it, or change `port` in the manifest (without it a free port is given as `PORT`)

              SERVICE  STATE   ADDRESS  PID  RESTARTS
              web      failed                          port N of service `web` is taken by `TEST` (pid N)

              gateway  http://127.0.0.1:N
              console  http://127.0.0.1:N
              Ctrl-C stops everything; `tombolo status`, `logs`, `restart` and `stop` work from another terminal

            tombolo | SIGINT: finishing requests, then stopping services in order (again: at once)
            web     | stopped
            tombolo | all stopped in TIME
        "#]],
    );
}
