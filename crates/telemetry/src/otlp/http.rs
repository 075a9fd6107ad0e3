//! Takes traces over OTLP: `POST /v1/traces` in protobuf or JSON, and `TraceService/Export` of gRPC, both on any port
//! that this is served on. What is wrong with some spans is told beside the success of the others.

use super::{Decoded, decode_json, decode_proto};
use crate::grpc;
use crate::guard::Guard;
use crate::incoming::Room;
use crate::protobuf::{put_bytes, put_number};
use crate::spans::SpanStore;
use crate::zipkin::write_text;
use base::{Fault, Kind};
use http::header::{ACCESS_CONTROL_ALLOW_HEADERS, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Method, StatusCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use wire::{Body, Handler, Peer, Request, RequestHead, Response};

const PATH: &str = "/v1/traces";
const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const ONLY_TRACES: &str = "only traces are taken here";

/// Answers calls of OTLP. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Api(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    store: SpanStore,
    guard: Guard,
    room: Room,
    taken: AtomicU64,
    rejected: AtomicU64,
}

/// In what a call and its answer are written.
#[derive(Clone, Copy)]
enum Form {
    Protobuf,
    Json,
}

impl Form {
    fn of(head: &RequestHead) -> Option<Self> {
        let kind = head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        match kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "application/x-protobuf" => Some(Self::Protobuf),
            "application/json" => Some(Self::Json),
            _ => None,
        }
    }

    fn decode(self, bytes: &[u8]) -> Result<Decoded, Fault> {
        match self {
            Self::Protobuf => decode_proto(bytes),
            Self::Json => decode_json(bytes),
        }
    }

    /// `ExportTraceServiceResponse`.
    fn success(self, rejected: u64) -> Vec<u8> {
        const WHY: &str = "spans without the id of a trace or of their own";
        match self {
            _ if rejected == 0 => match self {
                Self::Protobuf => Vec::new(),
                Self::Json => b"{}".to_vec(),
            },
            Self::Protobuf => {
                let (mut partial, mut message) = (Vec::new(), Vec::new());
                put_number(&mut partial, 1, rejected);
                put_bytes(&mut partial, 2, WHY.as_bytes());
                put_bytes(&mut message, 1, &partial);
                message
            }
            Self::Json => format!(
                "{{\"partialSuccess\":{{\"rejectedSpans\":\"{rejected}\",\"errorMessage\":\"{WHY}\"}}}}"
            )
            .into_bytes(),
        }
    }

    /// `google.rpc.Status`.
    fn failure(self, status: StatusCode, code: u16, text: &str) -> Response {
        let bytes = match self {
            Self::Protobuf => {
                let mut message = Vec::new();
                put_number(&mut message, 1, code.into());
                put_bytes(&mut message, 2, text.as_bytes());
                message
            }
            Self::Json => {
                let mut json = format!("{{\"code\":{code},\"message\":");
                write_text(&mut json, text);
                json.push('}');
                json.into_bytes()
            }
        };
        self.response(status, bytes)
    }

    fn response(self, status: StatusCode, bytes: Vec<u8>) -> Response {
        let mut response = Response::new(Body::full(bytes));
        *response.status_mut() = status;
        let kind = match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        };
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        response
    }
}

impl Api {
    /// Takes traces into a store.
    pub fn new(store: SpanStore, guard: Guard) -> Self {
        let (taken, rejected) = (AtomicU64::new(0), AtomicU64::new(0));
        Self(Arc::new(Shared { store, guard, room: Room::default(), taken, rejected }))
    }

    /// Whether a path is one of this API's on a port that it shares with others.
    pub fn has(path: &str) -> bool {
        path == PATH
    }

    /// How many spans were taken, and how many were not as they made no sense.
    pub fn counts(&self) -> (u64, u64) {
        (self.0.taken.load(Ordering::Relaxed), self.0.rejected.load(Ordering::Relaxed))
    }

    /// Answers a call.
    pub async fn answer(&self, request: Request) -> Response {
        let (head, body) = request.into_parts();
        let checked = self.0.guard.check(&head);
        if wire::is_grpc(&head.headers) {
            if let Err(why) = checked {
                return grpc::failure(grpc::PERMISSION_DENIED, why);
            }
            return self.over_grpc(&head, body).await;
        }
        let form = Form::of(&head);
        let mut response = match checked {
            Err(why) => {
                form.unwrap_or(Form::Json).failure(StatusCode::FORBIDDEN, grpc::PERMISSION_DENIED, why)
            }
            Ok(()) => self.over_http(&head, form, body).await,
        };
        self.0.guard.tell(&head, &mut response);
        response
    }

    async fn over_http(&self, head: &RequestHead, form: Option<Form>, body: Body) -> Response {
        let failure = |status, code, text: &str| form.unwrap_or(Form::Json).failure(status, code, text);
        if head.uri.path() != PATH {
            return failure(StatusCode::NOT_FOUND, grpc::UNIMPLEMENTED, ONLY_TRACES);
        }
        if head.method == Method::OPTIONS {
            let mut response = Response::new(Body::empty());
            let fields = HeaderValue::from_static("content-type, content-encoding");
            response.headers_mut().insert(ACCESS_CONTROL_ALLOW_HEADERS, fields);
            return response;
        }
        if head.method != Method::POST {
            return failure(StatusCode::METHOD_NOT_ALLOWED, grpc::UNIMPLEMENTED, "traces are posted");
        }
        let Some(form) = form else {
            let text = "the body has to be `application/x-protobuf` or `application/json`";
            return failure(StatusCode::UNSUPPORTED_MEDIA_TYPE, grpc::INVALID_ARGUMENT, text);
        };
        let coding =
            head.headers.get(CONTENT_ENCODING).and_then(|coding| coding.to_str().ok()).unwrap_or("identity");
        let zipped = match coding {
            "gzip" => true,
            "identity" | "" => false,
            _ => {
                let text = "bodies are taken as they are or in gzip";
                return failure(StatusCode::UNSUPPORTED_MEDIA_TYPE, grpc::INVALID_ARGUMENT, text);
            }
        };
        let taken = async {
            let (bytes, _place) = self.0.room.read(body, zipped).await?;
            self.take(form, &bytes)
        };
        match taken.await {
            Ok(rejected) => form.response(StatusCode::OK, form.success(rejected)),
            Err(fault) => {
                let (status, code) = match fault.kind {
                    Kind::Invalid => (StatusCode::BAD_REQUEST, grpc::INVALID_ARGUMENT),
                    Kind::TooMuch => (StatusCode::PAYLOAD_TOO_LARGE, grpc::RESOURCE_EXHAUSTED),
                    _ => (StatusCode::SERVICE_UNAVAILABLE, grpc::UNAVAILABLE),
                };
                let mut response = form.failure(status, code, &fault.to_string());
                if status == StatusCode::SERVICE_UNAVAILABLE {
                    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
                }
                response
            }
        }
    }

    async fn over_grpc(&self, head: &RequestHead, body: Body) -> Response {
        if head.uri.path() != EXPORT {
            return grpc::failure(grpc::UNIMPLEMENTED, ONLY_TRACES);
        }
        let taken = async {
            let (bytes, _place) = self.0.room.read(body, false).await?;
            self.take(Form::Protobuf, &grpc::message(&head.headers, &bytes)?)
        };
        match taken.await {
            Ok(rejected) => grpc::answer(&Form::Protobuf.success(rejected)),
            Err(fault) => grpc::refused(&fault),
        }
    }

    /// Takes the spans of a message; answers how many made no sense.
    fn take(&self, form: Form, bytes: &[u8]) -> Result<u64, Fault> {
        let Decoded { spans, rejected } = form.decode(bytes)?;
        let count = spans.len() as u64;
        self.0.store.offer(spans)?;
        self.0.taken.fetch_add(count, Ordering::Relaxed);
        self.0.rejected.fetch_add(rejected, Ordering::Relaxed);
        Ok(rejected)
    }
}

impl Handler for Api {
    async fn handle(&self, request: Request, _peer: &Peer) -> Response {
        self.answer(request).await
    }
}
