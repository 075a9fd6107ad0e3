//! Writing and reading: versions, keys, several streams, names, waiting, replies.

use crate::said::{Answered, Asked, Counted, Paid, Placed};
use std::time::Duration;
use tombolo_client::{Append, Client, Error, Kind, Message, NewMessage, Read, Uuid};

const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn what_is_written_is_read_as_it_was(client: Client) {
    let placed = NewMessage::from(Placed { total_cents: 4200 })
        .id(Uuid::from_u128(17))
        .correlate("cart-5")
        .schema_version("2");
    let first = client.write("order-17", placed).initial().await.unwrap();
    assert_eq!((first.first_position, first.last_position), (0, 0));
    let placed = client.last_of::<Placed>("order-17").await.unwrap().unwrap();
    assert_eq!((placed.id, placed.total_cents, placed.position()), (Uuid::from_u128(17), 4200, 0));
    assert_eq!(placed.global_position(), first.first_global_position);
    assert!(placed.metadata.is_correlated("cart") && placed.metadata.schema_version.as_deref() == Some("2"));
    assert!(placed.metadata.time.unwrap().seconds() > 1_700_000_000);

    let paid = Paid { charge: "charge-1".into() }.following(&placed);
    let batch = [paid, NewMessage::untyped("Noted", &serde_json::json!({"any": [1, null]}))];
    let batch = client.write_batch("order-17", batch).expected_version(0).await.unwrap();
    assert_eq!((batch.first_position, batch.last_position), (1, 2));
    assert_eq!(client.version("order-17").await.unwrap(), 2);
    assert_eq!(client.version("order-18").await.unwrap(), -1);
    assert!(client.last("order-18").await.unwrap().is_none());
    assert!(client.last_of::<Counted>("order-17").await.unwrap().is_none());

    // Page after page gives the same as all at once.
    let mut messages = client.read(Read::stream("order-17").limit(1));
    let messages = messages.take(10).await.unwrap();
    let kinds: Vec<_> = messages.iter().map(|message| message.kind.as_str()).collect();
    assert_eq!(kinds, ["Placed", "Paid", "Noted"]);
    let paid = messages[1].receive::<Paid>().unwrap();
    assert!(paid.metadata.follows(&placed.metadata) && paid.metadata.is_correlated("cart-5"));
    let of_kind = client.page(Read::category("order").kind("Noted")).await.unwrap();
    assert_eq!(of_kind.messages.len(), 1);
    let rest = client.page(Read::all().from(batch.last_global_position)).await.unwrap();
    assert_eq!((rest.messages.len(), rest.more, rest.next), (1, false, batch.last_global_position + 1));
}

pub(crate) async fn of_two_who_expect_the_same_version_one_is_told_the_other_was_faster(client: Client) {
    client.write("order-17", Placed { total_cents: 1 }).initial().await.unwrap();
    let write = || client.write("order-17", Counted { by: 1 }).expected_version(0).into_future();
    let (one, other) = tokio::join!(write(), write());
    let (won, lost) = if one.is_ok() { (one, other) } else { (other, one) };
    assert_eq!(won.unwrap().last_position, 1);
    let lost = lost.unwrap_err();
    assert!(lost.is_wrong_version());
    let Error::WrongVersion { stream, expected, actual } = lost else { panic!() };
    assert_eq!((stream.as_str(), expected, actual), ("order-17", 0, 1));
}

pub(crate) async fn a_call_with_a_key_writes_once(client: Client) {
    let write = |cents| {
        client.write("order-1", Placed { total_cents: cents }).expected_version(-1).idempotency_key("cart-1")
    };
    let first = write(5).await.unwrap();
    assert_eq!(write(5).await.unwrap(), first, "also though the version is another now");
    let other = write(6).await.unwrap_err().into_fault();
    assert_eq!(other.kind, Kind::Conflict, "{other}");
    assert_eq!(client.version("order-1").await.unwrap(), 0);
    // A message with an id of its own is its own key.
    let message = NewMessage::from(Counted { by: 1 }).id(Uuid::from_u128(1));
    let first = client.write("count-1", message.clone()).await.unwrap();
    assert_eq!(client.write("count-1", message).await.unwrap(), first);
    let other = NewMessage::from(Counted { by: 2 }).id(Uuid::from_u128(1));
    assert_eq!(client.write("count-1", other).await.unwrap_err().into_fault().kind, Kind::Conflict);
}

pub(crate) async fn several_streams_are_written_all_or_none(client: Client) {
    let appends = |version| {
        vec![
            Append::to("order-1", Placed { total_cents: 1 }).and(Counted { by: 1 }),
            Append::to("stock-1", Counted { by: -1 }).expected_version(version),
        ]
    };
    let refused = client.append(appends(0)).await.unwrap_err();
    assert!(refused.is_wrong_version());
    assert_eq!(client.version("order-1").await.unwrap(), -1);
    let appended = client.append(appends(-1)).await.unwrap();
    assert_eq!((appended.len(), appended[0].last_position, appended[1].last_position), (2, 1, 0));
    assert_eq!(client.append(vec![]).await.unwrap_err().to_string(), "there is nothing to append");
    assert!(client.write_batch("order-1", []).await.is_err());
}

pub(crate) async fn only_the_first_of_many_reserves(client: Client) {
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..8 {
        let client = client.clone();
        tasks.spawn(
            async move { client.reserve("orderTransaction-cart-1", Counted { by: n }).await.unwrap() },
        );
    }
    let won: Vec<bool> = tasks.join_all().await;
    assert_eq!(won.iter().filter(|won| **won).count(), 1);
    assert_eq!(client.version("orderTransaction-cart-1").await.unwrap(), 0);
}

pub(crate) async fn names_are_whatever_a_stream_may_be_called(client: Client) {
    for stream in ["a b/c?d#e&f=%25+-1", "ü:command+x-ß", "order-", "x-"] {
        client.write(stream, Counted { by: 1 }).initial().await.unwrap();
        let last = client.last(stream).await.unwrap().unwrap();
        assert_eq!(last.stream_name, stream);
        let category = tombolo_client::names::category(stream);
        let page = client.page(Read::category(category)).await.unwrap();
        assert_eq!(page.messages.len(), 1, "{stream}");
    }
    let long = "x".repeat(5_000);
    let refused = client.write(long, Counted { by: 1 }).await.unwrap_err().into_fault();
    assert!(matches!(refused.kind, Kind::Invalid | Kind::TooMuch), "{refused}");
}

pub(crate) async fn a_reader_that_waits_is_answered_when_there_is_something(client: Client) {
    let waits = async {
        let page = client.page(Read::category("order").kind("Paid").wait(PATIENCE)).await.unwrap();
        page.messages[0].receive::<Paid>().unwrap().charge.clone()
    };
    let writes = async {
        client.write("order-1", Placed { total_cents: 1 }).await.unwrap();
        client.write("order-1", Paid { charge: "charge-1".into() }).await.unwrap();
    };
    let (charge, ()) = tokio::join!(waits, writes);
    assert_eq!(charge, "charge-1");
    let none = client.page(Read::stream("order-2").wait(Duration::from_millis(5))).await.unwrap();
    assert!(none.messages.is_empty() && !none.more);
}

pub(crate) async fn a_deleted_stream_keeps_its_version(client: Client) {
    client.delete("order-1").await.unwrap();
    assert_eq!(client.version("order-1").await.unwrap(), -1, "what is not there is not deleted");
    client.write("order-1", Placed { total_cents: 1 }).await.unwrap();
    client.delete("order-1").await.unwrap();
    assert_eq!(client.version("order-1").await.unwrap(), 1);
    let left = client.read(Read::stream("order-1")).take(5).await.unwrap();
    assert_eq!(left.iter().map(|left| left.kind.as_str()).collect::<Vec<_>>(), ["$deleted"]);
}

pub(crate) async fn a_request_is_answered_over_a_stream_of_its_own(client: Client) {
    let asks = client.request("oracle:command-1", Asked).within(PATIENCE);
    let answers = async {
        let page = client.page(Read::category("oracle:command").wait(PATIENCE)).await.unwrap();
        let asked = page.messages[0].receive::<Asked>().unwrap();
        let answered = client.reply(Answered { text: "yes".into() }.following(&asked)).await.unwrap();
        assert_eq!(answered.last_position, 0);
        asked
    };
    let (reply, asked) = tokio::join!(asks.reply::<Answered>(), answers);
    let reply = reply.unwrap();
    assert_eq!(reply.text, "yes");
    assert_eq!(asked.metadata.reply_stream_name.as_deref(), Some(reply.stream_name()));
    assert_eq!(reply.metadata.causation_identifier(), asked.metadata.identifier());
    assert!(!reply.metadata.wants_reply(), "a reply is not to be replied to");

    let late = client.request("oracle:command-2", Asked).within(Duration::from_millis(5));
    let fault = late.reply::<Answered>().await.unwrap_err().into_fault();
    assert_eq!(fault.to_string(), "no reply to `Asked` in `oracle:command-2` within 5ms");
    assert_eq!(fault.kind, Kind::Timeout);
}

pub(crate) async fn what_can_t_be_replied_to_is_refused(client: Client) {
    let refused = client.reply(Asked.into()).await.unwrap_err();
    assert_eq!(refused.to_string(), "a `Asked` has no reply stream");
    let expected = client.request("oracle:command-1", Asked).within(PATIENCE);
    let answers = async {
        let page = client.page(Read::category("oracle:command").wait(PATIENCE)).await.unwrap();
        let asked = page.messages[0].receive::<Asked>().unwrap();
        client.reply(Counted { by: 1 }.following(&asked)).await.unwrap();
    };
    let (reply, ()) = tokio::join!(expected.reply::<Answered>(), answers);
    let said = reply.unwrap_err().to_string();
    assert!(said.ends_with("is a `Counted`, not a `Answered`"), "{said}");
}
