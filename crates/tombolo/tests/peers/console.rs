//! The console in a browser: every page with what a running `tombolo up` has, in both colours and on a phone's width,
//! by keyboard, changing live; what the browser or axe-core complains about fails it. Screenshots stay in
//! `target/screenshots`.

use super::{Running, root, sh};
use std::process::Command;

const SERVICES: &str = include_str!("services.py");

#[test]
#[ignore = "needs Chromium and axe-core, which ./check installs"]
fn the_console_in_a_browser() {
    let ports: Vec<u16> = (0..3).map(|_| super::port()).collect();
    let folder = tempfile::tempdir().unwrap();
    let [gateway, api, zipkin] = [0, 1, 2].map(|place| format!("127.0.0.1:{}", ports[place]));
    let manifest = format!(
        "name: harbour\n\
         gateway: {{address: '{gateway}', api: '{api}', support: off}}\n\
         traces: {{zipkin: '{zipkin}', otlp_http: off, otlp_grpc: off}}\n\
         streams: {{messagedb: off}}\n\
         routes: routes.eskip\n\
         services:\n  \
           web: {{run: exec python3 ../services.py, dir: web, env: {{NAME: web, NEXT: CART_URL}}, health: /health, calls: [cart]}}\n  \
           cart: {{run: exec python3 ../services.py, dir: cart, env: {{NAME: cart}}, health: /health}}\n\
         consumers:\n  \
           billing: {{category: order, handler: cart/billing, attempts: 2, backoff: 10ms}}\n"
    );
    let routes = r#"
        shop: Path("/shop") -> setRequestHeader("X-From", "gateway") -> "service://web";
        failing: Path("/fail") -> "service://web";
        fixed: Path("/fixed") -> status(200) -> inlineContent("fixed") -> <shunt>;
        broken: Path("/broken") -> setQurey("a") -> "service://web";
    "#;
    for (name, text) in [("tombolo.yaml", &*manifest), ("routes.eskip", routes), ("services.py", SERVICES)] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    for service in ["web", "cart"] {
        std::fs::create_dir(folder.path().join(service)).unwrap();
    }
    let mut running = Running::start(folder.path(), &["up"]);
    running.wait_for("Ctrl-C stops everything");
    let (is_well, link) = sh(folder.path(), "tombolo console");
    assert!(is_well, "{link}");
    let given = serde_json::json!({
        "api": format!("http://{api}"),
        "gateway": format!("http://{gateway}"),
        "zipkin": format!("http://{zipkin}"),
        "link": link.trim(),
        "axe": root().join("target/clients/node/node_modules/axe-core/axe.min.js"),
        "screenshots": root().join("target/screenshots"),
    });
    let script = root().join("crates/tombolo/tests/peers/console.py");
    let mut browsing = Command::new("timeout");
    browsing.args(["600", "python3"]).arg(script).arg(given.to_string());
    if let Ok(only) = std::env::var("TEST_STORY") {
        browsing.args(only.split_whitespace());
    }
    let browsed = browsing.output().unwrap();
    let said = String::from_utf8_lossy(&[browsed.stdout, browsed.stderr].concat()).into_owned();
    assert!(browsed.status.success(), "{said}\n{}", running.said());
    running.stop();
}
