//! Content codings (RFC 9110 section 8.4.1) as stages of a body: gzip, deflate, br and zstd, in and out. Both
//! ways stream: a coder holds its window and a piece of the body, never the body.

use crate::Headers;
use crate::stage::{Source, Stage};
use base::{Blame, Fault, Kind};
use bytes::{Buf as _, Bytes};
use flate2::bufread::MultiGzDecoder;
use flate2::write::{DeflateEncoder, GzEncoder};
use flate2::{Compression, Decompress, FlushDecompress, Status};
use http::header::ACCEPT_ENCODING;
use std::io::{self, BufRead, ErrorKind, Read, Write};

/// Bytes that go into a coder, or come out of a decoder, in one go.
const PIECE: usize = 16 << 10;
/// A decoder of zstd keeps a window of at most 2^23 bytes (RFC 9659 section 3).
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// A coder of brotli looks back 2^19 bytes: more would cost more memory than text is worth.
const BROTLI_WINDOW_LOG: u32 = 19;

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 1950 and 1951, which both go by this name.
    Deflate,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
}

impl Coding {
    /// All of them, those that are better liked by Skipper first.
    pub const ALL: [Coding; 4] = [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd];

    /// Its registered name.
    pub fn name(self) -> &'static str {
        match self {
            Coding::Gzip => "gzip",
            Coding::Deflate => "deflate",
            Coding::Brotli => "br",
            Coding::Zstd => "zstd",
        }
    }

    /// The coding of this name, in any case (RFC 9110 section 8.4.1).
    pub fn named(name: &str) -> Option<Self> {
        let name = if name.eq_ignore_ascii_case("x-gzip") { "gzip" } else { name };
        Self::ALL.into_iter().find(|coding| coding.name().eq_ignore_ascii_case(name))
    }
}

/// The coding that the client wants most, of those we have.
pub fn accepted(headers: &Headers) -> Option<Coding> {
    let lines = headers.get_all(ACCEPT_ENCODING).filter_map(|line| line.to_str().ok());
    let mut best: Option<(f32, Coding)> = None;
    for item in lines.flat_map(|line| line.split(',')) {
        let mut parts = item.split(';').map(str::trim);
        let Some(coding) = parts.next().and_then(Coding::named) else { continue };
        let quality = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
        // RFC 9110 section 12.4.2: from 0, which is "not acceptable", to 1.
        let quality = quality.map_or(Some(1.0), |text| text.parse().ok());
        let Some(quality) = quality.filter(|quality| *quality > 0.0 && *quality <= 1.0) else { continue };
        let rank = |coding| Coding::ALL.iter().position(|one| *one == coding);
        if best
            .is_none_or(|(known, other)| quality > known || (quality >= known && rank(coding) < rank(other)))
        {
            best = Some((quality, coding));
        }
    }
    best.map(|(_, coding)| coding)
}

/// Puts a body into a coding. What was taken goes out whenever the source rests, so that events arrive.
pub struct Encoder {
    /// `None` when all is out.
    coder: Option<Coder>,
    input: Bytes,
    /// Whether the coder may keep something.
    keeps: bool,
}

enum Coder {
    Gzip(GzEncoder<Vec<u8>>),
    /// RFC 1951 without the wrapping of RFC 1950: so do Skipper and many others, and clients read both.
    Deflate(DeflateEncoder<Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Encoder {
    /// A coder of a level from -2 to 11, each coding making of it what it can: -1 and -2 are its default and
    /// its quickest, and what is more than its best is its best.
    pub fn new(coding: Coding, level: i32) -> Result<Self, Fault> {
        let flate = || match level {
            -2 => Compression::fast(),
            -1 => Compression::default(),
            _ => Compression::new(level.unsigned_abs().min(9)),
        };
        let coder = match coding {
            Coding::Gzip => Coder::Gzip(GzEncoder::new(Vec::new(), flate())),
            Coding::Deflate => Coder::Deflate(DeflateEncoder::new(Vec::new(), flate())),
            Coding::Brotli => {
                let quality = match level {
                    -2 => 0,
                    -1 => 6,
                    _ => level.unsigned_abs().min(11),
                };
                let coder = brotli::CompressorWriter::new(Vec::new(), PIECE, quality, BROTLI_WINDOW_LOG);
                Coder::Brotli(Box::new(coder))
            }
            Coding::Zstd => {
                // 0 is the library's own default, as -1 is here.
                let level = if level == -2 { 1 } else { level.max(0) };
                Coder::Zstd(zstd::stream::write::Encoder::new(Vec::new(), level).map_err(broken)?)
            }
        };
        Ok(Self { coder: Some(coder), input: Bytes::new(), keeps: false })
    }
}

impl Coder {
    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Coder::Gzip(coder) => coder,
            Coder::Deflate(coder) => coder,
            Coder::Brotli(coder) => coder,
            Coder::Zstd(coder) => coder,
        }
    }

    fn out(&mut self) -> &mut Vec<u8> {
        match self {
            Coder::Gzip(coder) => coder.get_mut(),
            Coder::Deflate(coder) => coder.get_mut(),
            Coder::Brotli(coder) => coder.get_mut(),
            Coder::Zstd(coder) => coder.get_mut(),
        }
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Coder::Gzip(coder) => coder.finish(),
            Coder::Deflate(coder) => coder.finish(),
            Coder::Brotli(coder) => Ok(coder.into_inner()),
            Coder::Zstd(coder) => coder.finish(),
        }
    }
}

impl Stage for Encoder {
    fn take(&mut self, data: Bytes) -> Result<(), Fault> {
        self.input = data;
        Ok(())
    }

    fn give(&mut self, source: Source) -> Result<Option<Bytes>, Fault> {
        let Some(coder) = &mut self.coder else { return Ok(None) };
        while !self.input.is_empty() {
            let piece = self.input.split_to(self.input.len().min(PIECE));
            coder.writer().write_all(&piece).map_err(broken)?;
            self.keeps = true;
            let out = std::mem::take(coder.out());
            if !out.is_empty() {
                return Ok(Some(out.into()));
            }
        }
        let out = match source {
            Source::Rests if std::mem::take(&mut self.keeps) => {
                coder.writer().flush().map_err(broken)?;
                std::mem::take(coder.out())
            }
            Source::Flows | Source::Rests => return Ok(None),
            Source::Ended => match self.coder.take() {
                Some(coder) => coder.finish().map_err(broken)?,
                None => return Ok(None),
            },
        };
        Ok((!out.is_empty()).then(|| out.into()))
    }
}

/// Takes a body out of its coding.
pub struct Decoder {
    coder: Reader,
    /// The coding's own end has come; what follows is no part of it.
    over: bool,
    piece: Box<[u8]>,
}

enum Reader {
    Gzip(MultiGzDecoder<Feed>),
    Deflate(Inflate),
    Brotli(Box<brotli::Decompressor<Feed>>),
    Zstd(zstd::stream::read::Decoder<'static, Feed>),
}

impl Decoder {
    /// A decoder.
    pub fn new(coding: Coding) -> Result<Self, Fault> {
        let feed = Feed::default();
        let coder = match coding {
            Coding::Gzip => Reader::Gzip(MultiGzDecoder::new(feed)),
            Coding::Deflate => Reader::Deflate(Inflate { feed, state: None }),
            Coding::Brotli => Reader::Brotli(Box::new(brotli::Decompressor::new(feed, PIECE))),
            Coding::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(feed).map_err(broken)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(broken)?;
                Reader::Zstd(decoder)
            }
        };
        Ok(Self { coder, over: false, piece: vec![0; PIECE].into() })
    }
}

impl Reader {
    fn feed(&mut self) -> &mut Feed {
        match self {
            Reader::Gzip(reader) => reader.get_mut(),
            Reader::Deflate(reader) => &mut reader.feed,
            Reader::Brotli(reader) => reader.get_mut(),
            Reader::Zstd(reader) => reader.get_mut(),
        }
    }

    fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
        match self {
            Reader::Gzip(reader) => reader.read(piece),
            Reader::Deflate(reader) => reader.read(piece),
            Reader::Brotli(reader) => reader.read(piece),
            Reader::Zstd(reader) => reader.read(piece),
        }
    }
}

impl Stage for Decoder {
    fn take(&mut self, data: Bytes) -> Result<(), Fault> {
        if !self.over {
            self.coder.feed().bytes = data;
        }
        Ok(())
    }

    fn give(&mut self, source: Source) -> Result<Option<Bytes>, Fault> {
        if self.over {
            return Ok(None);
        }
        self.coder.feed().ended = source == Source::Ended;
        match self.coder.read(&mut self.piece) {
            Ok(0) => {
                self.over = true;
                Ok(None)
            }
            Ok(read) => Ok(Some(Bytes::copy_from_slice(&self.piece[..read]))),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(Fault::new(Kind::Invalid, "the body is not in the coding it says")
                .blame(Blame::Neighbour)
                .because(error)),
        }
    }
}

/// What a decoder reads from: the piece that came last, and then nothing for now.
#[derive(Default)]
struct Feed {
    bytes: Bytes,
    ended: bool,
}

impl BufRead for Feed {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.bytes.is_empty() && !self.ended {
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(&self.bytes)
    }

    fn consume(&mut self, amount: usize) {
        self.bytes.advance(amount);
    }
}

impl Read for Feed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

/// Reads both forms that go by the name of deflate: wrapped (RFC 1950), as the standard has it, and bare.
struct Inflate {
    feed: Feed,
    /// `None` until the first two bytes have told which form it is; then the decoder and whether it is done.
    state: Option<(Decompress, bool)>,
}

impl Read for Inflate {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let (decoder, done) = match &mut self.state {
            Some(state) => state,
            None => {
                let first = *match self.feed.fill_buf()?.first() {
                    Some(first) => first,
                    // An empty body is no stream in either form; let it be what it is.
                    None => return Ok(0),
                };
                // RFC 1950 section 2.2: method 8 with a window of at most 2^15. A bare stream would begin with
                // a stored block whose padding is not zero, which no encoder makes.
                let wrapped = first & 0x0f == 8 && first >> 4 <= 7;
                self.state.insert((Decompress::new(wrapped), false))
            }
        };
        while !*done {
            let input = self.feed.fill_buf()?;
            let (read, wrote) = (decoder.total_in(), decoder.total_out());
            let status = decoder.decompress(input, out, FlushDecompress::None)?;
            let (read, wrote) = (decoder.total_in() - read, decoder.total_out() - wrote);
            self.feed.consume(read as usize);
            *done = status == Status::StreamEnd;
            if wrote > 0 {
                return Ok(wrote as usize);
            }
            if read == 0 && !*done && self.feed.bytes.is_empty() {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(0)
    }
}

fn broken(error: io::Error) -> Fault {
    Fault::new(Kind::Bug, "a coder of ours failed").because(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Body;
    use crate::stage::map_body;
    use http_body_util::BodyExt as _;
    use proptest::prelude::*;
    use std::collections::VecDeque;
    use std::task::Poll;

    /// A body that comes in these pieces, resting before each when `rests`.
    fn pieces(pieces: Vec<Vec<u8>>, rests: bool) -> Body {
        let mut left: VecDeque<Vec<u8>> = pieces.into();
        let mut rested = false;
        let frames = futures_util::stream::poll_fn(move |cx| {
            rested = rests && !rested;
            if rested {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(left.pop_front().map(|piece| Ok(http_body::Frame::data(Bytes::from(piece)))))
        });
        Body::stream(http_body_util::StreamBody::new(frames))
    }

    async fn drained(mut body: Body) -> Result<Vec<Bytes>, Fault> {
        let mut data = Vec::new();
        while let Some(frame) = body.frame().await {
            data.extend(frame?.into_data().ok());
        }
        Ok(data)
    }

    fn run(stage: impl Stage, text: Vec<Vec<u8>>, rests: bool) -> Result<Vec<Vec<u8>>, Fault> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let data = runtime.block_on(drained(map_body(pieces(text, rests), stage)))?;
        Ok(data.into_iter().map(Vec::from).collect())
    }

    fn encoded(coding: Coding, text: Vec<Vec<u8>>, rests: bool) -> Vec<Vec<u8>> {
        run(Encoder::new(coding, 1).unwrap(), text, rests).unwrap()
    }

    fn decoded(coding: Coding, text: Vec<Vec<u8>>) -> Result<Vec<u8>, Fault> {
        run(Decoder::new(coding).unwrap(), text, false).map(|pieces| pieces.concat())
    }

    #[test]
    fn what_was_taken_goes_out_when_the_source_rests() {
        for coding in Coding::ALL {
            let words = vec![b"first ".to_vec(), b"second".to_vec()];
            let out = encoded(coding, words, true);
            assert!(out.len() >= 2, "{coding:?}");
            // What came before the last piece went is enough for the first word.
            let mut decoder = Decoder::new(coding).unwrap();
            let mut read = Vec::new();
            for piece in &out[..out.len() - 1] {
                decoder.take(piece.clone().into()).unwrap();
                while let Some(bytes) = decoder.give(Source::Flows).unwrap() {
                    read.extend_from_slice(&bytes);
                }
            }
            assert!(read.starts_with(b"first "), "{coding:?} gave {read:?}");
        }
    }

    #[test]
    fn every_level_of_every_coding_can_be_read_again() {
        let text = b"all the levels that a route may ask for ".repeat(50);
        for coding in Coding::ALL {
            for level in -2..=11 {
                let out = run(Encoder::new(coding, level).unwrap(), vec![text.clone()], false).unwrap();
                assert_eq!(decoded(coding, out).unwrap(), text, "{coding:?} {level}");
            }
        }
    }

    #[test]
    fn a_bomb_comes_out_piece_by_piece() {
        for coding in Coding::ALL {
            let bomb = encoded(coding, vec![vec![0; 8 << 20]], false).concat();
            assert!(bomb.len() < 64 << 10, "{coding:?} made {} bytes", bomb.len());
            let mut decoder = Decoder::new(coding).unwrap();
            decoder.take(bomb.into()).unwrap();
            for _ in 0..4 {
                assert!(decoder.give(Source::Flows).unwrap().unwrap().len() <= PIECE);
            }
        }
    }

    #[test]
    fn both_forms_of_deflate_are_read() {
        let mut wrapped = flate2::write::ZlibEncoder::new(Vec::new(), Compression::best());
        wrapped.write_all(b"hello hello hello").unwrap();
        let wrapped = wrapped.finish().unwrap();
        assert_eq!(decoded(Coding::Deflate, vec![wrapped]).unwrap(), b"hello hello hello");
        assert_eq!(decoded(Coding::Deflate, Vec::new()).unwrap(), b"");
    }

    #[test]
    fn what_is_cut_short_or_no_such_coding_fails() {
        for coding in Coding::ALL {
            let whole = encoded(coding, vec![b"hello hello hello hello".to_vec()], false).concat();
            for cut in [whole[..whole.len() - 3].to_vec(), b"\x07not in any coding".to_vec()] {
                let fault = decoded(coding, vec![cut.clone()]).unwrap_err();
                assert_eq!(fault.kind, Kind::Invalid, "{coding:?} {cut:?}");
            }
        }
    }

    #[test]
    fn the_client_says_which_coding_it_wants() {
        for (accept, expected) in [
            ("", None),
            ("*", None),
            ("br, gzip", Some("gzip")),
            ("zstd, br", Some("br")),
            ("GZIP", Some("gzip")),
            ("gzip;q=0.5, br", Some("br")),
            ("gzip; q=0, br; q=0.1", Some("br")),
            ("gzip;q=0", None),
            ("gzip;q=2, deflate;q=x", None),
            ("x-gzip", Some("gzip")),
        ] {
            let mut headers = Headers::new();
            headers.insert(ACCEPT_ENCODING, accept.parse().unwrap());
            assert_eq!(accepted(&headers).map(Coding::name), expected, "{accept}");
        }
    }

    proptest! {
        #[test]
        fn what_went_in_comes_out_however_it_is_cut(
            which in 0usize..4,
            text in prop::collection::vec(prop::collection::vec(0u8..4, 1..600), 0..6),
            size in 1usize..200,
            rests in any::<bool>(),
        ) {
            let coding = Coding::ALL[which];
            let coded = encoded(coding, text.clone(), rests).concat();
            let read = decoded(coding, coded.chunks(size).map(<[u8]>::to_vec).collect()).unwrap();
            prop_assert_eq!(read, text.concat());
        }
    }
}
