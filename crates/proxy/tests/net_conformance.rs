//! Addresses, hosts, paths and forwarded headers against vectors taken from Skipper's tests.
#![expect(clippy::unwrap_used, reason = "a vector that is not as described must fail the suite")]

use http::{HeaderName, HeaderValue, Method};
use proxy::net::{self, Connection, ForwardedFor, ForwardedHeaders, HostPatch, Networks, Told};
use serde_json::{Value, json};
use testkit::{Differences, conformance};
use wire::Headers;

#[test]
fn addresses_and_headers_are_read_and_written_as_in_the_original() {
    let Some(data) = conformance("skipper/net.json") else { return };
    let mut differences = Differences::default();
    for table in data["tables"].as_array().unwrap() {
        for case in table["cases"].as_array().unwrap() {
            differences.ran();
            if let Err(difference) = run(table, case) {
                differences.add(format!("{} {}\n  {case}\n  {difference}", table["source"], table["test"]));
            }
        }
    }
    differences.finish("skipper/net", 90);
}

fn same(expected: &Value, got: impl Into<Value>) -> Result<(), String> {
    let got = got.into();
    if *expected == got { Ok(()) } else { Err(format!("expected {expected}\n  got {got}")) }
}

fn run(table: &Value, case: &Value) -> Result<(), String> {
    let text = |name: &str| case[name].as_str().unwrap_or_default();
    let texts = |name: &str| -> Vec<&str> {
        case[name].as_array().into_iter().flatten().map(|value| value.as_str().unwrap()).collect()
    };
    match text("op") {
        "remote_address" => {
            let mut headers = Headers::new();
            if let Some(value) = case["x_forwarded_for"].as_str() {
                headers.insert(net::X_FORWARDED_FOR, HeaderValue::from_str(value).unwrap());
            }
            let remote = net::parse_address(text("remote_addr"));
            let forwarded = match text("which") {
                "first" => net::forwarded_first(&headers),
                _ => net::forwarded_last(&headers),
            };
            same(&case["address"], json!(forwarded.or(remote)))
        }
        "networks" => match Networks::parse(&texts("networks")) {
            Err(why) if case["error"] != true => Err(why),
            Ok(_) if case["error"] == true => Err("they were not refused".to_owned()),
            Ok(networks) if case.get("contains").is_some() => {
                same(&case["contains"], json!(networks.contains(text("address").parse().unwrap())))
            }
            _ => Ok(()),
        },
        "scheme_host" => match net::scheme_host(text("input")) {
            Err(why) if case["error"] != true => Err(why),
            Ok(got) if case["error"] == true => Err(format!("it was not refused but became {got:?}")),
            Ok((scheme, host)) => same(&json!([case["scheme"], case["host"]]), json!([scheme, host])),
            Err(_) => Ok(()),
        },
        "forwarded_headers" => forwarded_headers(case),
        "host_patch" => {
            let flag = |name: &str| table[name].as_bool().or(case[name].as_bool()).unwrap();
            let patch = HostPatch {
                remove_port: flag("remove_port"),
                remove_trailing_dot: flag("remove_trailing_dot"),
                to_lower: flag("to_lower"),
            };
            same(&case["expected"], json!(patch.apply(text("host"))))
        }
        "rfc_path" => same(&case["expected"], json!(net::rfc_path(text("parsed"), text("raw")))),
        "rfc_host" => same(&case["expected"], json!(net::rfc_host(text("host")))),
        other => Err(format!("no such operation: {other}")),
    }
}

fn forwarded_headers(case: &Value) -> Result<(), String> {
    let settings = |name: &str| case["settings"].get(name);
    let on = |name: &str| settings(name) == Some(&Value::Bool(true));
    let told = |name: &str| settings(name).map(|value| Told::parse(value.as_str().unwrap()).unwrap());
    let exclude: Vec<&str> =
        case["exclude"].as_array().into_iter().flatten().map(|value| value.as_str().unwrap()).collect();
    let forwarded = ForwardedHeaders {
        forwarded_for: match (on("prepend_for"), on("for")) {
            (true, _) => ForwardedFor::Prepend,
            (false, true) => ForwardedFor::Append,
            _ => ForwardedFor::Off,
        },
        host: on("host"),
        method: on("method"),
        uri: on("uri"),
        port: told("port"),
        proto: told("proto"),
        exclude: Networks::parse(&exclude)?,
        ..ForwardedHeaders::default()
    };
    let request = &case["request"];
    let text = |name: &str| request[name].as_str();
    let mut headers = Headers::new();
    for (name, values) in request["headers"].as_object().into_iter().flatten() {
        for value in values.as_array().unwrap() {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_str(value.as_str().unwrap()).unwrap());
        }
    }
    let method = Method::from_bytes(text("method").unwrap_or("GET").as_bytes()).unwrap();
    let connection = Connection {
        remote: net::parse_address(text("remote_addr").unwrap()).unwrap(),
        local: text("local_addr").map(|address| address.parse().unwrap()),
        tls: request["tls"] == true,
        host: text("host").unwrap_or_default(),
        method: &method,
        uri: text("uri").unwrap_or("/"),
    };
    forwarded.apply(&mut headers, &connection);
    if let Some(expected) = case.get("adds_for") {
        return same(expected, json!(headers.contains_key(net::X_FORWARDED_FOR)));
    }
    let all = |name: &HeaderName| headers.get_all(name).map(|v| v.to_str().unwrap()).collect::<Vec<_>>();
    let got: Value = headers.keys().map(|name| (name.to_string(), json!(all(name)))).collect();
    let expected = case["headers"].as_object().unwrap().iter();
    same(&expected.map(|(name, values)| (name.to_lowercase(), values.clone())).collect(), got)
}
