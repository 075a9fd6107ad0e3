//! The helpers for tests of services: what was written is told, and a test that is about nothing fails and says why.

use serde::{Deserialize, Serialize};
use tombolo_client::testing::{Substitute, any_stream, received};
use tombolo_client::{Append, Client, Error, Handlers, Message, NewMessage, Read, Received, messages};

#[derive(Clone, Serialize, Deserialize, Debug, PartialEq)]
struct Placed {
    cents: u32,
}
#[derive(Serialize, Deserialize, Debug, PartialEq)]
struct Paid {
    cents: u32,
}
messages!(Placed, Paid);

async fn placed(client: Client, placed: Received<Placed>) -> Result<Option<Append>, Error> {
    let paid = || Paid { cents: placed.cents }.following(&placed);
    if placed.metadata.wants_reply() {
        client.reply(paid()).await?;
    }
    Ok((placed.cents > 0).then(|| Append::to(placed.stream_name(), paid()).expected_version(0)))
}

#[tokio::test]
async fn what_a_handler_writes_and_answers_is_told() {
    let substitute = Substitute::new();
    let handlers = Handlers::new(substitute.client()).on(placed);
    let message = NewMessage::from(Placed { cents: 5 }).reply_to("reply-1");
    let message = substitute.handle(&handlers, "order-1", message).await.unwrap();
    let given = message.receive::<Placed>().unwrap();

    let written = substitute.written();
    let [reply, answer] = written.all::<Paid>().try_into().unwrap();
    assert!(reply.replies_to(&given) && !answer.replies_to(&given));
    assert_eq!((answer.stream.as_str(), answer.expected_version, answer.data.cents), ("order-1", Some(0), 5));
    assert!(answer.metadata.follows(&given.metadata));
    assert!(written.all::<Placed>().is_empty(), "what was given was not written");
    assert_eq!(written.appends().len(), 2);

    substitute.forget();
    assert!(substitute.written().is_empty());
    assert_eq!(substitute.client().read(Read::stream("order-1")).take(5).await.unwrap().len(), 2);
    // What is refused was not written.
    let again = substitute.handle(&handlers, "order-1", Placed { cents: 5 }).await;
    assert!(again.unwrap_err().is_wrong_version());
    assert!(substitute.written().is_empty());
}

#[tokio::test]
async fn a_test_that_is_about_nothing_fails() {
    let substitute = Substitute::new();
    let handlers = Handlers::new(substitute.client()).on(placed);
    let said = substitute.handle(&handlers, "order-1", Paid { cents: 1 }).await.unwrap_err().to_string();
    assert_eq!(said, "no handler is for `Paid`; there are `Placed`");
}

#[tokio::test]
#[should_panic(
    expected = "`0` messages of type `Paid` were written, not one; these were:\n  order-1 Placed {\"cents\":1}"
)]
async fn none_is_not_one() {
    let substitute = Substitute::new();
    substitute.client().write("order-1", Placed { cents: 1 }).await.unwrap();
    substitute.written().one::<Paid>();
}

#[tokio::test]
#[should_panic(expected = "`2` messages of type `Placed` were written, not one")]
async fn two_are_not_one() {
    let substitute = Substitute::new();
    substitute.client().write("order-1", Placed { cents: 1 }).await.unwrap();
    substitute.client().write("order-1", Placed { cents: 1 }).await.unwrap();
    substitute.written().one::<Placed>();
}

#[test]
fn a_message_may_be_handed_over_without_any_stream() {
    let placed = received(Placed { cents: 1 }, "order-1", 3);
    assert_eq!((placed.entity_id(), placed.position(), placed.global_position()), ("1", 3, 4));
    assert_ne!(any_stream("order"), any_stream("order"));
    assert!(any_stream("order").starts_with("order-"));
}
