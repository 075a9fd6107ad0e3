//! Protocols as real clients speak them: curl's HTTP/2, gRPC of Python and of Node, sockets of Node.

use super::{Running, port, root, sh};
use std::path::{Path, PathBuf};

/// Where `./check` installs clients.
fn clients() -> PathBuf {
    let clients = root().join("target/clients");
    assert!(clients.join("versions").is_file(), "`./check --setup` installs the clients");
    clients
}

fn python() -> String {
    clients().join("python/bin/python").display().to_string()
}

/// Node with its clients.
fn node() -> String {
    format!("env NODE_PATH={} node", clients().join("node/node_modules").display())
}

/// A server that ends with its test, however that ends.
struct Server(std::process::Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a script of a client, which says what went wrong.
fn run(folder: &Path, name: &str, script: &str, command: &str, gateway: &Running) -> String {
    std::fs::write(folder.join(name), script).unwrap();
    let (good, said) = sh(folder, &format!("timeout 120 {command} {name}"));
    assert!(good, "{name}:\n{said}\n{}", gateway.said());
    said.trim().to_owned()
}

const GREETER: &str = r#"
import grpc, os, time
from concurrent import futures
raw = lambda bytes: bytes
def say(request, context):
    context.set_trailing_metadata((("x-said", "trailer"),))
    return b"hello " + request
def chat(requests, context):
    for request in requests:
        yield b"you said " + request
def gather(requests, context):
    return b"+".join(requests)
def count(request, context):
    for number in range(int(request)):
        yield str(number).encode()
def fail(request, context):
    context.abort(grpc.StatusCode.NOT_FOUND, "no such thing: \u00e4")
def slow(request, context):
    time.sleep(5)
    return b"late"
one = grpc.unary_unary_rpc_method_handler
server = grpc.server(futures.ThreadPoolExecutor(max_workers=32))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("shop.Greeter", {
    "Say": one(say, raw, raw), "Fail": one(fail, raw, raw), "Slow": one(slow, raw, raw),
    "Chat": grpc.stream_stream_rpc_method_handler(chat, raw, raw),
    "Gather": grpc.stream_unary_rpc_method_handler(gather, raw, raw),
    "Count": grpc.unary_stream_rpc_method_handler(count, raw, raw),
}),))
assert server.add_insecure_port("127.0.0.1:" + os.environ["PORT"])
server.start()
server.wait_for_termination()
"#;

const PYTHON_CALLER: &str = r#"
import grpc, sys, threading, queue
channel = grpc.insecure_channel("127.0.0.1:PORT")
call = lambda kind, name: getattr(channel, kind)("/shop.Greeter/" + name, None, None)
say = call("unary_unary", "Say")
answer, details = say.with_call(b"world", timeout=20)
assert answer == b"hello world", answer
assert dict(details.trailing_metadata())["x-said"] == "trailer"
assert say(b"x" * 3_000_000, timeout=20) == b"hello " + b"x" * 3_000_000
# Each message is answered before the next is sent.
said = queue.Queue()
answers = call("stream_stream", "Chat")(iter(said.get, None), timeout=20)
for word in [b"one", b"two", b"three"]:
    said.put(word)
    assert next(answers) == b"you said " + word
said.put(None)
assert list(answers) == []
assert call("stream_unary", "Gather")(iter([b"a", b"b", b"c"]), timeout=20) == b"a+b+c"
assert len(list(call("unary_stream", "Count")(b"5000", timeout=20))) == 5000
def refused(name, **more):
    try:
        call("unary_unary", name)(b"x", **more)
    except grpc.RpcError as error:
        return error.code().name + ": " + (error.details() or "")
    raise SystemExit(name + " was answered")
assert refused("Fail", timeout=20) == "NOT_FOUND: no such thing: \u00e4", refused("Fail", timeout=20)
assert refused("Slow", timeout=0.3).startswith("DEADLINE_EXCEEDED")
try:
    channel.unary_unary("/other.Service/Call", None, None)(b"x", timeout=20)
except grpc.RpcError as error:
    assert error.code() == grpc.StatusCode.UNIMPLEMENTED and "no_route" in error.details(), error
# Many at a time.
wrong = []
def many(number):
    for turn in range(20):
        text = b"%d-%d" % (number, turn)
        if say(text, timeout=20) != b"hello " + text:
            wrong.append(text)
threads = [threading.Thread(target=many, args=(number,)) for number in range(20)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert not wrong, wrong
print("python is content")
"#;

const NODE_CALLER: &str = r#"
const assert = require("assert");
const grpc = require("@grpc/grpc-js");
const client = new grpc.Client("127.0.0.1:PORT", grpc.credentials.createInsecure());
const raw = (bytes) => Buffer.from(bytes);
const unary = (name, text, options = {}) => new Promise((resolve) =>
  client.makeUnaryRequest("/shop.Greeter/" + name, raw, raw, Buffer.from(text), new grpc.Metadata(), options,
    (error, answer) => resolve(error ?? answer.toString())));
(async () => {
  assert.equal(await unary("Say", "node"), "hello node");
  const failed = await unary("Fail", "x");
  assert.equal(failed.code, grpc.status.NOT_FOUND);
  assert.equal((await unary("Slow", "x", { deadline: Date.now() + 300 })).code, grpc.status.DEADLINE_EXCEEDED);
  const chat = client.makeBidiStreamRequest("/shop.Greeter/Chat", raw, raw);
  for (const word of ["one", "two"]) {
    chat.write(Buffer.from(word));
    const answer = await new Promise((resolve) => chat.once("data", resolve));
    assert.equal(answer.toString(), "you said " + word);
  }
  chat.end();
  const status = await new Promise((resolve) => { chat.on("status", resolve); chat.resume(); });
  assert.equal(status.code, grpc.status.OK);
  client.close();
  console.log("node is content");
})();
"#;

#[test]
#[ignore = "run by ./check: needs its clients"]
fn python_and_node_speak_grpc_with_a_service_through_the_gateway() {
    let folder = tempfile::tempdir().unwrap();
    let (gateway, api, support) = (port(), port(), port());
    std::fs::write(folder.path().join("greeter.py"), GREETER).unwrap();
    let manifest = format!(
        "services:\n  greeter:\n    run: [{}, greeter.py]\nroutes: |\n  \
         greeter: PathSubtree(\"/shop.Greeter\") -> setResponseHeader(\"X-Via\", \"tombolo\") -> \"service://greeter\";\n\
         gateway:\n  address: 127.0.0.1:{gateway}\n  api: 127.0.0.1:{api}\n  support: 127.0.0.1:{support}\n",
        python()
    );
    std::fs::write(folder.path().join("tombolo.yaml"), manifest).unwrap();
    let mut up = Running::start(folder.path(), &["up"]);
    up.wait_for("Ctrl-C stops everything");
    let at = |script: &str| script.replace("PORT", &gateway.to_string());
    assert_eq!(run(folder.path(), "caller.py", &at(PYTHON_CALLER), &python(), &up), "python is content");
    assert_eq!(run(folder.path(), "caller.js", &at(NODE_CALLER), &node(), &up), "node is content");
    let metrics = sh(folder.path(), &format!("curl -s http://127.0.0.1:{support}/metrics")).1;
    assert!(metrics.contains("tombolo_requests_in_flight 0"), "nothing is left under way:\n{metrics}");
    up.stop();
}

const SOCKETS: &str = r#"
const http = require("http");
const { WebSocketServer } = require("ws");
const server = http.createServer((request, response) => {
  response.writeHead(200, { "Content-Type": "text/event-stream" });
  let number = 0;
  const timer = setInterval(() => {
    response.write(`data: ${++number}\n\n`);
    if (number === 3) { clearInterval(timer); response.end(); }
  }, 200);
});
new WebSocketServer({ server, perMessageDeflate: true }).on("connection", (socket) => {
  socket.on("message", (data, binary) => socket.send(data, { binary }));
});
server.listen(process.env.PORT, "127.0.0.1");
"#;

const SOCKET_CLIENT: &str = r#"
const assert = require("assert");
const { WebSocket } = require("ws");
const talk = (deflate) => new Promise((resolve, reject) => {
  const socket = new WebSocket("ws://127.0.0.1:PORT/chat", { perMessageDeflate: deflate });
  const texts = ["one", "two", "x".repeat(1 << 20)];
  let heard = 0;
  socket.on("open", () => { socket.ping("still there?"); socket.send(texts[0]); });
  socket.on("pong", (data) => assert.equal(data.toString(), "still there?"));
  socket.on("message", (data) => {
    assert.equal(data.toString(), texts[heard]);
    heard += 1;
    if (heard < texts.length) socket.send(texts[heard]); else socket.close(1000, "bye");
  });
  socket.on("close", (code) => heard === texts.length && code === 1000 ? resolve() : reject(new Error(`${code} after ${heard}`)));
  socket.on("error", reject);
});
const refused = () => new Promise((resolve, reject) => {
  const socket = new WebSocket("ws://127.0.0.1:PORT/none");
  socket.on("unexpected-response", (_, response) => resolve(response.statusCode));
  socket.on("open", () => reject(new Error("it was opened")));
});
(async () => {
  await Promise.all([...Array(20)].map((_, number) => talk(number % 2 === 0)));
  assert.equal(await refused(), 404);
  console.log("every socket is content");
  process.exit(0);
})().catch((error) => { console.log(error); process.exit(1); });
"#;

#[test]
#[ignore = "run by ./check: needs its clients"]
fn web_sockets_and_events_of_node_pass_through_the_gateway() {
    let folder = tempfile::tempdir().unwrap();
    let (gateway, backend) = (port(), port());
    std::fs::write(folder.path().join("sockets.js"), SOCKETS).unwrap();
    let node_path = clients().join("node/node_modules");
    let mut command = std::process::Command::new("node");
    command.arg("sockets.js").current_dir(folder.path());
    command.env("NODE_PATH", node_path).env("PORT", backend.to_string());
    let server = Server(command.spawn().unwrap());
    let routes = format!(
        r#"chat: Path("/chat") -> "http://127.0.0.1:{backend}"; events: Path("/events") -> "http://127.0.0.1:{backend}""#
    );
    let address = format!("127.0.0.1:{gateway}");
    let arguments = ["gateway", "-address", &address, "-support-listener", "off", "-inline-routes", &routes];
    let mut running = Running::start(folder.path(), &arguments);
    running.wait_for("routes serve");
    sh(
        folder.path(),
        &format!("curl -s -o /dev/null --retry 20 --retry-connrefused http://127.0.0.1:{backend}/"),
    );
    let client = SOCKET_CLIENT.replace("PORT", &gateway.to_string());
    assert_eq!(run(folder.path(), "client.js", &client, &node(), &running), "every socket is content");
    // The first event is there long before the last.
    let events = format!(
        "curl -sN http://{address}/events | while read -r line; do [ -z \"$line\" ] || echo \"$line $(date +%s%N)\"; done"
    );
    let (_, told) = sh(folder.path(), &events);
    let times: Vec<u128> =
        told.lines().map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
    assert_eq!(times.len(), 3, "{told}");
    assert!(times[2] - times[0] > 200_000_000, "all came at once: {told}");
    drop(server);
    let said = running.stop();
    assert!(said.contains("\"GET /chat HTTP/1.1\" 101 "), "{said}");
}

#[test]
#[ignore = "run by ./check: needs curl and openssl"]
fn curl_speaks_http_2_with_tls_and_without() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    // OpenSSL believes no server that vouches for itself.
    let (mut authority, key) =
        (rcgen::CertificateParams::new(vec![]).unwrap(), rcgen::KeyPair::generate().unwrap());
    authority.distinguished_name.push(rcgen::DnType::CommonName, "An authority");
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    std::fs::write(path.join("ca.pem"), authority.self_signed(&key).unwrap().pem()).unwrap();
    let (issuer, own) = (rcgen::Issuer::new(authority, key), rcgen::KeyPair::generate().unwrap());
    let leaf = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(path.join("cert.pem"), leaf.signed_by(&own, &issuer).unwrap().pem()).unwrap();
    std::fs::write(path.join("key.pem"), own.serialize_pem()).unwrap();
    std::fs::write(path.join("big"), vec![b'x'; 5 << 20]).unwrap();
    let (behind, front, plain) = (port(), port(), port());
    let address = |port: u16| format!("127.0.0.1:{port}");
    let gateway = |port: u16, routes: &str, more: &[&str]| {
        let address = address(port);
        let given = ["gateway", "-address", &address, "-support-listener", "off", "-inline-routes", routes];
        let mut running = Running::start(path, &[&given[..], more].concat());
        running.wait_for("routes serve");
        running
    };
    let echo = r#"r: * -> inlineContent("hello") -> <shunt>"#;
    let last = gateway(behind, echo, &["-tls-cert", "cert.pem", "-tls-key", "key.pem"]);
    let to = format!(r#"r: * -> "https://localhost:{behind}""#);
    let middle =
        gateway(front, &to, &["-tls-cert", "cert.pem", "-tls-key", "key.pem", "-backend-roots", "ca.pem"]);
    let first = gateway(plain, &format!(r#"r: * -> "https://localhost:{front}""#), &["-insecure"]);
    let ask = |arguments: &str| sh(path, &format!("curl -sS -w ' %{{http_version}}' {arguments}")).1;
    let tls = format!("--cacert ca.pem https://localhost:{front}");
    assert_eq!(ask(&format!("--http2 {tls}/")), "hello 2");
    assert_eq!(ask(&format!("--http1.1 {tls}/")), "hello 1.1");
    assert_eq!(ask(&format!("--http2-prior-knowledge http://localhost:{plain}/")), "hello 2");
    assert_eq!(ask(&format!("--http1.1 http://localhost:{plain}/")), "hello 1.1");
    // The change to HTTP/2 within HTTP/1.1 is offered and not taken up.
    assert_eq!(ask(&format!("--http2 http://localhost:{plain}/")), "hello 1.1");
    assert_eq!(ask(&format!("--http2 --data-binary @big {tls}/up")), "hello 2");
    assert_eq!(ask(&format!("--http2 -H 'Expect: 100-continue' --data-binary @big {tls}/up")), "hello 2");
    assert_eq!(ask(&format!("--tls-max 1.2 --http2 {tls}/")), "hello 2");
    let parallel = format!(
        "--http2 --parallel --parallel-max 50 --cacert ca.pem 'https://localhost:{front}/[1-200]' -o /dev/null 2>/dev/null"
    );
    let answers = ask(&parallel);
    assert_eq!(answers.matches(" 2").count(), 200, "{answers}");
    let resumed = "echo Q | openssl s_client -connect localhost:PORT -tls1_2 -sess_out session -CAfile ca.pem >/dev/null 2>&1; \
                   echo Q | openssl s_client -connect localhost:PORT -tls1_2 -sess_in session -CAfile ca.pem 2>&1 | grep -c Reused";
    let (_, count) = sh(path, &resumed.replace("PORT", &front.to_string()));
    assert_eq!(count.trim(), "1", "a session is resumed");
    first.stop();
    middle.stop();
    let said = last.stop();
    assert!(said.contains("HTTP/2.0"), "the gateways speak HTTP/2 with each other:\n{said}");
}
