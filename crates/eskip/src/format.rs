//! A document in its one pretty form: each `->` on its own line, an empty line between routes, every comment
//! kept. It works on tokens, not on values, so that strings, numbers and the order of predicates stay as they
//! were written.

use crate::errors::Errors;
use crate::lexer::{Kind, Lexer, Token};
use crate::parse;
use base::Source;

/// The text in its pretty form; its errors if it can't be read. Formatting twice changes nothing more.
pub fn format(source: &Source) -> Result<String, Errors> {
    let routes = parse(source).into_result()?;
    let lone = matches!(&routes[..], [route] if route.id.is_empty());
    let mut writer = Writer { out: String::with_capacity(source.text.len()), ..Writer::default() };
    let mut pieces = Pieces { text: &source.text, lexer: Lexer::new(&source.text), end: 0 };
    loop {
        let piece = pieces.next();
        match piece.token.kind {
            Kind::End => break,
            Kind::Comment => writer.comments.push(Comment {
                text: piece.token.raw(&source.text).trim_end(),
                beside: !piece.on_new_line,
                after_gap: piece.after_gap,
            }),
            Kind::Semicolon => writer.end_route(),
            _ => writer.token(&piece, &source.text),
        }
    }
    writer.finish(lone);
    Ok(writer.out)
}

/// Stands before each `->`.
const ARROW_INDENT: &str = "  ";
/// Stands before what a comment has pushed to a line of its own.
const BROKEN_INDENT: &str = "    ";

/// A token or a comment, and how it stood to the one before.
struct Piece {
    token: Token,
    on_new_line: bool,
    after_gap: bool,
}

struct Pieces<'a> {
    text: &'a str,
    lexer: Lexer<'a>,
    /// Where the last piece ended.
    end: usize,
}

impl Pieces<'_> {
    fn next(&mut self) -> Piece {
        let token = self.lexer.next_or_comment();
        let lines = self.text[self.end..token.start].matches('\n').count();
        self.end = token.end;
        Piece { token, on_new_line: lines > 0, after_gap: lines > 1 }
    }
}

struct Comment<'a> {
    text: &'a str,
    /// On the line of what stands before it.
    beside: bool,
    /// After an empty line.
    after_gap: bool,
}

#[derive(Default)]
struct Writer<'a> {
    out: String,
    /// Comments since the last token, not yet written.
    comments: Vec<Comment<'a>>,
    /// The kind of the token written last; none between routes.
    previous: Option<Kind>,
    /// Inside `<` and `>`.
    in_balanced: bool,
}

impl Writer<'_> {
    fn token(&mut self, piece: &Piece, text: &str) {
        let kind = piece.token.kind;
        match self.previous {
            None => self.begin_route(piece.after_gap),
            Some(previous) => {
                let broken =
                    self.inner_comments(if kind == Kind::Arrow { ARROW_INDENT } else { BROKEN_INDENT });
                self.space(previous, kind, broken);
            }
        }
        match kind {
            Kind::Less => self.in_balanced = true,
            Kind::Greater => self.in_balanced = false,
            _ => {}
        }
        self.out.push_str(piece.token.raw(text));
        self.previous = Some(kind);
    }

    fn space(&mut self, previous: Kind, kind: Kind, broken: bool) {
        if broken {
            self.out.push('\n');
            self.out.push_str(if kind == Kind::Arrow { ARROW_INDENT } else { BROKEN_INDENT });
        } else if kind == Kind::Arrow {
            self.out.push('\n');
            self.out.push_str(ARROW_INDENT);
        } else if kind == Kind::And || matches!(previous, Kind::Arrow | Kind::And | Kind::Colon | Kind::Comma)
        {
            self.out.push(' ');
        }
    }

    /// Writes the comments inside a route; whether there were any, so that a new line must follow.
    fn inner_comments(&mut self, indent: &str) -> bool {
        let comments = std::mem::take(&mut self.comments);
        for comment in &comments {
            if comment.beside {
                self.out.push(' ');
            } else {
                self.out.push('\n');
                self.out.push_str(indent);
            }
            self.out.push_str(comment.text);
        }
        !comments.is_empty()
    }

    /// Writes the comments between two routes, and the space before the next one.
    fn begin_route(&mut self, after_gap: bool) {
        let commented = self.outer_comments();
        if !self.out.is_empty() {
            self.out.push_str(if commented && !after_gap { "\n" } else { "\n\n" });
        }
    }

    /// Writes the comments that stand between routes; whether the last of them has a line of its own.
    fn outer_comments(&mut self) -> bool {
        let mut own_line = false;
        for comment in std::mem::take(&mut self.comments) {
            if comment.beside && !own_line && !self.out.is_empty() {
                self.out.push(' ');
            } else {
                if !self.out.is_empty() {
                    self.out.push_str(if own_line && !comment.after_gap { "\n" } else { "\n\n" });
                }
                own_line = true;
            }
            self.out.push_str(comment.text);
        }
        own_line
    }

    /// A `;`. Comments before it come to stand behind it.
    fn end_route(&mut self) {
        if self.previous.take().is_some() {
            self.out.push(';');
        }
    }

    fn finish(&mut self, lone: bool) {
        if !lone {
            self.end_route();
        }
        self.outer_comments();
        if !self.out.is_empty() {
            self.out.push('\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(text: &str, expected: &Expect) {
        let formatted = format(&Source::new("t", text)).map_err(|e| e.to_string()).unwrap();
        expected.assert_eq(&formatted);
        let again = format(&Source::new("t", formatted.as_str())).map_err(|e| e.to_string()).unwrap();
        assert_eq!(again, formatted, "formatting twice changes nothing more");
    }

    #[test]
    fn each_arrow_begins_a_line_and_an_empty_line_parts_the_routes() {
        check(
            "a:Path(\"/a\")&&Method( `GET` )->setPath(\"/\" ,1.50)-><shunt>;b: * -> <roundRobin,\"http://a\" , \"http://b\">",
            &expect![[r#"
                a: Path("/a") && Method(`GET`)
                  -> setPath("/", 1.50)
                  -> <shunt>;

                b: *
                  -> <roundRobin, "http://a", "http://b">;
            "#]],
        );
    }

    #[test]
    fn a_lone_route_without_an_id_stays_without_a_semicolon() {
        check(
            "// note\n* -> <shunt> // end",
            &expect![[r"
                // note
                *
                  -> <shunt> // end
            "]],
        );
    }

    #[test]
    fn comments_stay_where_they_belong() {
        check(
            "// licence\n\n\n// about a\n//more\na: * // all\n  // first\n -> f( 1, // one\n 2) // f\n\n -> // to\n <shunt> // answer\n; // done\n// about b\nb: *\n // x\n && Y() -> <shunt> // z\n // last\n\n",
            &expect![[r"
                // licence

                // about a
                //more
                a: * // all
                  // first
                  -> f(1, // one
                    2) // f
                  -> // to
                    <shunt>; // answer // done

                // about b
                b: *
                    // x
                    && Y()
                  -> <shunt>; // z

                // last
            "]],
        );
    }

    #[test]
    fn stray_semicolons_go_and_their_comments_stay() {
        check(
            ";; // nothing\n ; a: * -> <shunt>;; // a\n;",
            &expect![[r"
                // nothing
                a: *
                  -> <shunt>; // a
            "]],
        );
        check("", &expect![""]);
        check("\n// only this", &expect!["// only this\n"]);
    }

    #[test]
    fn what_can_not_be_read_is_not_formatted() {
        assert!(format(&Source::new("t", "a: * -> ")).is_err());
    }
}
