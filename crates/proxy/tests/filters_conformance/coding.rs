//! Bodies of the vectors: made up, put into codings and taken out of them, by the coders' simplest use.

use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::task::Poll;
use wire::Body;

/// The body that a vector's backend sends, before any coding.
pub(crate) fn content(response: &Value) -> Vec<u8> {
    match response["body_length"].as_u64() {
        Some(length) => (0..length).map(|at| (at * at % 251) as u8).collect(),
        None => response["body"].as_str().unwrap_or_default().as_bytes().to_vec(),
    }
}

/// The body in these codings, the first of them applied first.
pub(crate) fn encoded(content: &[u8], codings: &Value) -> Vec<u8> {
    let names = codings.as_array().into_iter().flatten().map(|name| name.as_str().unwrap());
    names.fold(content.to_vec(), |body, name| match name {
        "gzip" => {
            let mut coder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            coder.write_all(&body).unwrap();
            coder.finish().unwrap()
        }
        "deflate" => {
            let mut coder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
            coder.write_all(&body).unwrap();
            coder.finish().unwrap()
        }
        "br" => {
            let mut coder = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 20);
            coder.write_all(&body).unwrap();
            coder.into_inner()
        }
        "zstd" => zstd::encode_all(&body[..], 3).unwrap(),
        other => panic!("the test has no coder for {other}"),
    })
}

/// What is in a body of this `Content-Encoding`.
pub(crate) fn decoded(body: &[u8], coding: &str) -> Vec<u8> {
    let mut out = Vec::new();
    match coding {
        "gzip" => flate2::read::GzDecoder::new(body).read_to_end(&mut out).unwrap(),
        "deflate" => flate2::read::DeflateDecoder::new(body).read_to_end(&mut out).unwrap(),
        "br" => brotli::Decompressor::new(body, 4096).read_to_end(&mut out).unwrap(),
        "zstd" => {
            out = zstd::decode_all(body).unwrap();
            out.len()
        }
        _ => {
            out.extend_from_slice(body);
            out.len()
        }
    };
    out
}

/// A body whose length nobody knows.
pub(crate) fn in_chunks(content: Vec<u8>) -> Body {
    struct Chunks(Vec<u8>);
    impl http_body::Body for Chunks {
        type Data = bytes::Bytes;
        type Error = base::Fault;
        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> Poll<Option<Result<http_body::Frame<bytes::Bytes>, base::Fault>>> {
            let size = self.0.len().min(1000);
            let chunk: Vec<u8> = self.0.drain(..size).collect();
            Poll::Ready((!chunk.is_empty()).then(|| Ok(http_body::Frame::data(chunk.into()))))
        }
    }
    Body::stream(Chunks(content))
}
