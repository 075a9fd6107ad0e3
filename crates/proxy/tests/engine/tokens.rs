//! Requests that must bring a token: which are let through, what the backend learns, where keys come from.

use crate::world::{Setup, World, message, why};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::{Answer, Backend, Reply, Seen, eventually};

/// A pair of keys and its name.
struct Signer {
    id: &'static str,
    key: EncodingKey,
}

impl Signer {
    fn new(id: &'static str) -> Self {
        let pair = rcgen::KeyPair::generate().unwrap();
        Self { id, key: EncodingKey::from_ec_der(&pair.serialize_der()) }
    }

    fn jwk(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.key, Algorithm::ES256).unwrap();
        jwk.common.key_id = Some(self.id.to_owned());
        serde_json::to_value(jwk).unwrap()
    }

    fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.id.to_owned()), ..Header::new(Algorithm::ES256) };
        encode(&header, claims, &self.key).unwrap()
    }
}

fn set(signers: &[&Signer]) -> String {
    json!({ "keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>() }).to_string()
}

/// Serves keys that can be changed.
async fn key_server(keys: String) -> (Backend, Arc<Mutex<String>>) {
    let keys = Arc::new(Mutex::new(keys));
    let served = keys.clone();
    let server = Backend::start(move |seen: &Seen| match seen.target.as_str() {
        "/keys" => Reply::ok(served.lock().unwrap().clone()),
        "/.well-known/openid-configuration" => Reply::ok(
            json!({ "jwks_uri": format!("http://{}/keys", seen.header("host").unwrap()) }).to_string(),
        ),
        _ => Reply::status(404),
    })
    .await;
    (server, keys)
}

async fn ask(world: &World, token: &str) -> Answer {
    world.ask(&format!("GET /\nAuthorization: Bearer {token}\nX-User: mallory\nX-Claims: mallory")).await
}

async fn by_hand(routes: &str) -> World {
    World::with(Setup { by_hand: true, ..Setup::default() }, routes).await
}

/// The time of the clock by hand, about.
const NOW: u64 = 1_700_000_000;

#[tokio::test]
async fn a_token_opens_a_route_and_the_backend_learns_what_it_says() {
    let (signer, backend) = (Signer::new("k1"), Backend::saying("x").await);
    let (keys, _) = key_server(set(&[&signer])).await;
    let world = by_hand(&format!(
        r#"r: * -> jwtValidationKeys("{}/keys") -> forwardTokenField("X-User", "claims.sub")
           -> forwardTokenField("X-Deep", "shop.role") -> forwardToken("X-Claims", "sub", "n") -> stateBagToTag("auth-user")
           -> setContextRequestHeader("X-Who", "auth-user") -> "{}""#,
        keys.url(),
        backend.url()
    ))
    .await;
    let claims = json!({"sub": "ann", "n": 7, "shop": {"role": "owner"}, "exp": NOW + 60});
    assert_eq!(ask(&world, &signer.sign(&claims)).await.brief(), "200 x");
    let seen = backend.first().await;
    let told = ["x-user", "x-who", "x-deep", "x-claims"].map(|name| seen.header(name).unwrap().to_owned());
    assert_eq!(told, ["ann", "ann", "owner", r#"{"n":7,"sub":"ann"}"#]);
    let record = &world.records(1).await[0];
    assert_eq!((&record["auth-user"], &record["tags"]["auth-user"]), (&"ann".into(), &"ann".into()));
    // A token without `sub` is as good.
    assert_eq!(ask(&world, &signer.sign(&json!({}))).await.status, 200);
    assert_eq!(backend.wait_for(2).await[1].header("x-user"), None, "what the caller says is not passed on");
}

#[tokio::test]
async fn whom_a_password_names_is_known_like_whom_a_token_names() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n").unwrap();
    let world = by_hand(&format!(
        r#"r: * -> basicAuth({:?}) -> stateBagToTag("auth-user", "who") -> status(200) -> <shunt>"#,
        file.path().to_str().unwrap()
    ))
    .await;
    assert_eq!(world.ask("GET /\nAuthorization: Basic YW5uOnNlY3JldA==").await.status, 200);
    let record = &world.records(1).await[0];
    assert_eq!((&record["auth-user"], &record["tags"]["who"]), (&"ann".into(), &"ann".into()));
}

#[tokio::test]
async fn a_token_that_is_not_as_it_must_be_is_refused_and_told_why() {
    let (signer, other) = (Signer::new("k1"), Signer::new("k1"));
    let limits = wire::Limits { header_bytes: 1 << 20, ..wire::Limits::default() };
    let world = World::with(
        Setup { by_hand: true, limits, ..Setup::default() },
        &format!("r: * -> auditLog() -> jwtValidationKeys(`{}`) -> status(200) -> <shunt>", set(&[&signer])),
    )
    .await;
    let claims = json!({"sub": "ann"});
    let forged = |header: Value, key: &EncodingKey| {
        let header: Header = serde_json::from_value(header).unwrap();
        encode(&header, &claims, key).unwrap()
    };
    let secret = EncodingKey::from_secret(set(&[&signer]).as_bytes());
    let good = signer.sign(&claims);
    let (head, rest) = good.split_once('.').unwrap();
    let unsigned = format!("eyJhbGciOiJub25lIn0.{}.", rest.split_once('.').unwrap().0);
    let mut told = String::new();
    for (what, token) in [
        ("good", good.clone()),
        ("other key", other.sign(&claims)),
        ("unknown key", Signer::new("k2").sign(&claims)),
        ("secret", forged(json!({"alg": "HS256", "kid": "k1"}), &secret)),
        ("none", unsigned),
        ("other claims", format!("{head}.eyJzdWIiOiJib2IifQ.{}", rest.split_once('.').unwrap().1)),
        ("crit", forged(json!({"alg": "ES256", "kid": "k1", "crit": ["b64"], "b64": false}), &signer.key)),
        ("expired", signer.sign(&json!({"exp": NOW - 1}))),
        ("early", signer.sign(&json!({"nbf": NOW + 60}))),
        ("long", format!("{good}{}", "x".repeat(70_000))),
        ("garbage", "abc".to_owned()),
    ] {
        let answer = ask(&world, &token).await;
        let why = why(&answer);
        let why = why.split("details=").nth(1).unwrap_or("-");
        told += &format!("{what}: {} {why}\n", answer.status);
    }
    let without = world.ask("GET /\nAuthorization: Basic YTpi").await;
    told += &format!("without: {} {}\n", without.status, without.header("www-authenticate").unwrap());
    expect_test::expect![[r#"
        good: 200 -
        other key: 401 "invalid-token: the signature is wrong"
        unknown key: 401 "invalid-token: the token's key is not known"
        secret: 401 "invalid-token: its key does not sign with HS256"
        none: 401 "invalid-token: the token can't be read"
        other claims: 401 "invalid-token: the signature is wrong"
        crit: 401 "invalid-token: the token names extensions that must be understood"
        expired: 401 "invalid-token: the token has expired"
        early: 401 "invalid-token: the token is not valid yet"
        long: 401 "invalid-token: the token is too long"
        garbage: 401 "invalid-token: the token can't be read"
        without: 401 Bearer
    "#]]
    .assert_eq(&told);
    let audits = world.audits(12).await;
    assert_eq!(audits[0]["authStatus"], json!({"user": "ann", "rejected": false}));
    assert_eq!(audits[11]["authStatus"], json!({"rejected": true, "reason": "missing-token"}));
}

#[tokio::test]
async fn keys_are_asked_for_when_a_token_names_an_unknown_one_but_not_too_often() {
    let (first, second, third) = (Signer::new("k1"), Signer::new("k2"), Signer::new("k3"));
    let (server, keys) = key_server(set(&[&first])).await;
    let world =
        by_hand(&format!(r#"r: * -> jwtValidationKeys("{}/keys") -> status(200) -> <shunt>"#, server.url()))
            .await;
    let claims = json!({});
    assert_eq!(server.requests(), 0, "nothing is asked before a token comes");
    assert_eq!(ask(&world, &first.sign(&claims)).await.status, 200);
    *keys.lock().unwrap() = set(&[&first, &second]);
    for _ in 0..5 {
        assert_eq!(ask(&world, &second.sign(&claims)).await.status, 401);
    }
    assert_eq!(server.requests(), 1);
    world.hand.advance(Duration::from_secs(300));
    assert_eq!(ask(&world, &second.sign(&claims)).await.status, 200, "it was waited for");
    assert_eq!(server.requests(), 2);
    // Known keys stay good while the server fails, and are asked for again every hour, beside the traffic.
    *keys.lock().unwrap() = "no keys".to_owned();
    world.hand.advance(Duration::from_secs(3600));
    assert_eq!(ask(&world, &first.sign(&claims)).await.status, 200);
    eventually("the keys are asked for", || server.requests() == 3).await;
    assert_eq!(ask(&world, &second.sign(&claims)).await.status, 200);
    *keys.lock().unwrap() = set(&[&third]);
    world.hand.advance(Duration::from_secs(10));
    // The fetch that failed may end only now; whoever comes after it has the keys fetched again.
    let tries =
        [ask(&world, &third.sign(&claims)).await.status, ask(&world, &third.sign(&claims)).await.status];
    assert_eq!(tries[1], 200, "after a failure it is tried again soon");
    assert_eq!(ask(&world, &first.sign(&claims)).await.status, 401, "a key that is gone is gone");
}

#[tokio::test]
async fn many_requests_wait_for_one_fetch_of_keys_and_a_client_that_leaves_does_not_stop_it() {
    let signer = Signer::new("k1");
    let keys = set(&[&signer]);
    let server =
        Backend::start(move |_: &Seen| Reply::ok(keys.clone()).after(Duration::from_millis(100))).await;
    let world = World::with(
        Setup { workers: 2, ..Setup::default() },
        &format!(r#"r: * -> jwtValidationKeys("{}/keys") -> status(200) -> <shunt>"#, server.url()),
    )
    .await;
    let token = signer.sign(&json!({}));
    let request = message(&format!("GET /\nAuthorization: Bearer {token}"));
    let mut leaving = world.client().await;
    leaving.send(&request).await;
    eventually("the keys are asked for", || server.requests() == 1).await;
    drop(leaving);
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = world.client().await;
        client.send(&request).await;
        clients.push(client);
    }
    for client in &mut clients {
        assert_eq!(client.answer().await.status, 200);
    }
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn without_keys_nobody_comes_in_and_the_reason_says_so() {
    let signer = Signer::new("k1");
    let (server, _) = key_server("{}".to_owned()).await;
    for (url, expected) in [
        (format!("http://{}/keys", Backend::refusing().await), "/keys`: "),
        (format!("{}/keys", server.url()), "it is no set of keys: `keys` is missing"),
        (format!("{}/none", server.url()), "the answer is 404 Not Found"),
    ] {
        let world =
            by_hand(&format!(r#"r: * -> jwtValidationKeys("{url}") -> status(200) -> <shunt>"#)).await;
        let answer = ask(&world, &signer.sign(&json!({}))).await;
        assert_eq!(answer.status, 401);
        assert!(why(&answer).contains("keys can't be fetched now"), "{}", why(&answer));
        assert!(answer.headers.iter().all(|(_, value)| !value.contains("http://")), "no caller learns where");
        let record = &world.records(1).await[0];
        assert!(record["tags"]["jwks.error"].as_str().unwrap().contains(expected), "{record}");
    }
}

#[tokio::test]
async fn keys_come_from_a_provider_or_a_file_as_well() {
    let (first, second) = (Signer::new("k1"), Signer::new("k2"));
    let (server, _) = key_server(set(&[&first])).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), set(&[&first])).unwrap();
    let world = by_hand(&format!(
        r#"issuer: Path("/") -> jwtValidation("{}/") -> status(200) -> <shunt>;
           file: Path("/file") -> jwtValidationKeys("{}") -> status(200) -> <shunt>;"#,
        server.url(),
        file.path().display()
    ))
    .await;
    assert_eq!(ask(&world, &first.sign(&json!({"sub": "ann"}))).await.status, 200);
    let answer = ask(&world, &first.sign(&json!({}))).await;
    assert!(why(&answer).contains("invalid-sub-in-token"), "{}", why(&answer));
    let status = async |signer: &Signer| {
        let token = signer.sign(&json!({}));
        world.ask(&format!("GET /file\nAuthorization: bearer {token}")).await.status
    };
    assert_eq!([status(&first).await, status(&second).await], [200, 401]);
    std::fs::write(file.path(), set(&[&second])).unwrap();
    world.hand.advance(Duration::from_secs(2));
    assert_eq!([status(&second).await, status(&first).await], [200, 401]);
}

#[tokio::test]
async fn claims_that_no_header_should_carry_are_left_out_and_a_flood_of_keys_is_none() {
    let (signer, backend) = (Signer::new("k1"), Backend::echo().await);
    let padded = |bytes: usize| json!({ "keys": [signer.jwk()], "pad": "x".repeat(bytes) }).to_string();
    let (server, keys) = key_server(padded(300 << 10)).await;
    let limits = wire::Limits { header_bytes: 1 << 20, ..wire::Limits::default() };
    let world = World::with(
        Setup { by_hand: true, limits, ..Setup::default() },
        &format!(
            r#"r: * -> jwtValidationKeys("{}/keys") -> forwardToken("X-Claims") -> forwardTokenField("X-User", "pad") -> "{}""#,
            server.url(),
            backend.url()
        ),
    )
    .await;
    let answer = ask(&world, &signer.sign(&json!({}))).await;
    assert_eq!(answer.status, 401);
    let record = &world.records(1).await[0];
    assert!(record["tags"]["jwks.error"].as_str().unwrap().contains("more than 262144 bytes"), "{record}");
    *keys.lock().unwrap() = padded(200 << 10);
    world.hand.advance(Duration::from_secs(10));
    for pad in [8 << 10, 8000] {
        assert_eq!(ask(&world, &signer.sign(&json!({ "pad": "x".repeat(pad) }))).await.status, 200);
    }
    let seen = backend.wait_for(2).await;
    let length = |at: usize| ["x-claims", "x-user"].map(|name| seen[at].header(name).map(str::len));
    assert_eq!(length(0), [None, Some(8 << 10)], "the whole is longer than its longest part");
    assert_eq!(length(1), [Some(8010), Some(8000)]);
}
