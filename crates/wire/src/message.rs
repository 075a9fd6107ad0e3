//! Requests and responses: a head, and a body behind it. They mean what `http`'s types of these names mean, which
//! they become where another library frames the bytes.

use crate::{Body, Headers};
use http::{Extensions, Method, StatusCode, Uri, Version, request, response};

/// What stands before a request's body.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// The target.
    pub uri: Uri,
    /// The version it came in, or that is wished for.
    pub version: Version,
    /// The fields.
    pub headers: Headers,
    /// What is known of it besides what stands on the wire.
    pub extensions: Extensions,
}

/// What stands before a response's body.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// The status.
    pub status: StatusCode,
    /// The version it came in, or that is wished for.
    pub version: Version,
    /// The fields.
    pub headers: Headers,
    /// What is known of it besides what stands on the wire.
    pub extensions: Extensions,
}

impl Default for RequestHead {
    /// `GET /` of HTTP/1.1.
    fn default() -> Self {
        Self {
            method: Method::GET,
            uri: Uri::default(),
            version: Version::HTTP_11,
            headers: Headers::new(),
            extensions: Extensions::new(),
        }
    }
}

impl Default for ResponseHead {
    /// 200 of HTTP/1.1.
    fn default() -> Self {
        Self {
            status: StatusCode::OK,
            version: Version::HTTP_11,
            headers: Headers::new(),
            extensions: Extensions::new(),
        }
    }
}

/// A request with its body.
#[derive(Debug, Default)]
pub struct Request {
    /// Boxed, as it goes from hand to hand.
    head: Box<RequestHead>,
    body: Body,
}

/// A response with its body.
#[derive(Debug, Default)]
pub struct Response {
    head: ResponseHead,
    body: Body,
}

/// What requests and responses have in common, once for each.
macro_rules! message {
    ($message:ident, $head:ident) => {
        impl $message {
            /// One with this body and the usual head.
            pub fn new(body: Body) -> Self {
                Self { head: Default::default(), body }
            }

            /// One of these parts.
            pub fn from_parts(head: $head, body: Body) -> Self {
                Self { head: head.into(), body }
            }

            /// The body.
            pub fn into_body(self) -> Body {
                self.body
            }

            /// The body.
            pub fn body(&self) -> &Body {
                &self.body
            }

            /// The body, to be changed.
            pub fn body_mut(&mut self) -> &mut Body {
                &mut self.body
            }

            /// Puts what `change` makes of the body in its place.
            pub fn map(mut self, change: impl FnOnce(Body) -> Body) -> Self {
                self.body = change(self.body);
                self
            }

            /// The fields.
            pub fn headers(&self) -> &Headers {
                &self.head.headers
            }

            /// The fields, to be changed.
            pub fn headers_mut(&mut self) -> &mut Headers {
                &mut self.head.headers
            }

            /// The version.
            pub fn version(&self) -> Version {
                self.head.version
            }

            /// The version, to be changed.
            pub fn version_mut(&mut self) -> &mut Version {
                &mut self.head.version
            }

            /// What is known besides what stands on the wire.
            pub fn extensions(&self) -> &Extensions {
                &self.head.extensions
            }

            /// The same, to be changed.
            pub fn extensions_mut(&mut self) -> &mut Extensions {
                &mut self.head.extensions
            }
        }
    };
}

message!(Request, RequestHead);
message!(Response, ResponseHead);

impl Request {
    pub(crate) fn of(head: Box<RequestHead>, body: Body) -> Self {
        Self { head, body }
    }

    /// Its parts.
    pub fn into_parts(self) -> (RequestHead, Body) {
        (*self.head, self.body)
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.head.method
    }

    /// The method, to be changed.
    pub fn method_mut(&mut self) -> &mut Method {
        &mut self.head.method
    }

    /// The target.
    pub fn uri(&self) -> &Uri {
        &self.head.uri
    }

    /// The target, to be changed.
    pub fn uri_mut(&mut self) -> &mut Uri {
        &mut self.head.uri
    }
}

impl Response {
    /// Its parts.
    pub fn into_parts(self) -> (ResponseHead, Body) {
        (self.head, self.body)
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.head.status
    }

    /// The status, to be changed.
    pub fn status_mut(&mut self) -> &mut StatusCode {
        &mut self.head.status
    }
}

impl From<request::Parts> for RequestHead {
    fn from(parts: request::Parts) -> Self {
        let request::Parts { method, uri, version, headers, extensions, .. } = parts;
        Self { method, uri, version, headers: headers.into(), extensions }
    }
}

impl From<response::Parts> for ResponseHead {
    fn from(parts: response::Parts) -> Self {
        let response::Parts { status, version, headers, extensions, .. } = parts;
        Self { status, version, headers: headers.into(), extensions }
    }
}

impl From<http::Request<Body>> for Request {
    fn from(request: http::Request<Body>) -> Self {
        let (head, body) = request.into_parts();
        Self::from_parts(head.into(), body)
    }
}

impl From<http::Response<Body>> for Response {
    fn from(response: http::Response<Body>) -> Self {
        let (head, body) = response.into_parts();
        Self { head: head.into(), body }
    }
}

impl From<Request> for http::Request<Body> {
    fn from(request: Request) -> Self {
        let (head, body) = request.into_parts();
        let mut request = http::Request::new(body);
        *request.method_mut() = head.method;
        *request.uri_mut() = head.uri;
        *request.version_mut() = head.version;
        *request.headers_mut() = head.headers.into();
        *request.extensions_mut() = head.extensions;
        request
    }
}

impl From<Response> for http::Response<Body> {
    fn from(response: Response) -> Self {
        let (head, body) = response.into_parts();
        let mut response = http::Response::new(body);
        *response.status_mut() = head.status;
        *response.version_mut() = head.version;
        *response.headers_mut() = head.headers.into();
        *response.extensions_mut() = head.extensions;
        response
    }
}
