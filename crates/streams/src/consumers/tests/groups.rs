//! Several nodes over one store: shares are dealt evenly, a dead node's are taken over, one that can't renew its
//! leases stops by itself.

use super::*;

async fn owners(node: &Node, name: &str) -> Vec<Option<String>> {
    let status = node.consumers.show(name).await.unwrap();
    status.shares.into_iter().map(|share| share.node).collect()
}

async fn count(node: &Node, name: &str, owner: &str) -> usize {
    owners(node, name).await.iter().filter(|share| share.as_deref() == Some(owner)).count()
}

fn streams(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("order-{number}")).collect()
}

#[tokio::test]
async fn shares_are_dealt_to_the_nodes_and_a_dead_ones_are_taken_over() {
    let world = World::new();
    let a = world.node(Some("a"));
    a.consumers.put("billing", Definition { size: 4, ..pushed("order") }).await.unwrap();
    world.until("a has all", async || count(&a, "billing", "a").await == 4).await;
    let b = world.node(Some("b"));
    let even = async || (count(&a, "billing", "a").await, count(&a, "billing", "b").await);
    world.until("each has half", async || even().await == (2, 2)).await;

    let names = streams(20);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    world.append(&names).await;
    a.caught_up(&world, "billing").await;
    let mut handled: Vec<String> = world.seen.texts();
    handled.sort();
    let mut expected: Vec<String> = names.iter().map(|name| format!("{name}/0#1")).collect();
    expected.sort();
    assert_eq!(handled, expected, "each once");
    let by_b = lock(&world.seen.calls).iter().filter(|call| call.node == "b").count();
    assert!((1..20).contains(&by_b), "both worked: {by_b}");

    let killed = world.clock.now();
    a.kill().await;
    world.until("b has all", async || count(&b, "billing", "b").await == 4).await;
    assert!(world.clock.now().since(killed) < Duration::from_secs(15));
    world.append(&names).await;
    b.caught_up(&world, "billing").await;
    assert_eq!(world.seen.count(), 40);
    assert!(lock(&world.seen.together).is_empty());
}

#[tokio::test]
async fn a_group_of_one_share_has_one_node_at_a_time() {
    let world = World::new();
    let (a, b) = (world.node(Some("a")), world.node(Some("b")));
    a.consumers.put("billing", pushed("order")).await.unwrap();
    world.append(&["order-1", "order-1", "order-2"]).await;
    a.caught_up(&world, "billing").await;
    let owner = owners(&a, "billing").await.remove(0).unwrap();
    let (first, second) = if owner == "a" { (a, b) } else { (b, a) };
    first.scope.stop(Duration::from_secs(3_600)).await;
    world.append(&["order-1"]).await;
    second.caught_up(&world, "billing").await;
    assert_eq!(world.seen.count(), 4);
    assert_ne!(lock(&world.seen.calls).last().unwrap().node, owner);
}

#[tokio::test]
async fn a_node_with_a_fixed_share_takes_no_other() {
    let world = World::new();
    let a = world.node(Some("a"));
    let definition = Definition { size: 3, ..pushed("order") };
    let declared = Declared { name: "billing".into(), definition, member: Some(1) };
    a.consumers.declare(vec![declared]).await.unwrap();
    let expected = [None, Some("a".to_owned()), None];
    world.until("its own", async || owners(&a, "billing").await == expected).await;
    world.hand.advance(Duration::from_secs(60));
    world.until("and no other", async || owners(&a, "billing").await == expected).await;
}

#[tokio::test]
async fn a_group_of_another_size_goes_on_from_where_the_furthest_behind_was() {
    let world = World::new();
    let (a, b) = (world.node(Some("a")), world.node(Some("b")));
    a.consumers.put("billing", Definition { size: 2, ..pushed("order") }).await.unwrap();
    let names = streams(12);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    world.append(&names).await;
    a.caught_up(&world, "billing").await;
    a.consumers.put("billing", Definition { size: 5, ..pushed("order") }).await.unwrap();
    world.append(&names).await;
    a.caught_up(&world, "billing").await;
    assert_eq!(owners(&b, "billing").await.len(), 5);
    let handled = world.seen.count();
    // Those of before the change are not all handled again; a node that has not noticed it yet handles what comes now.
    let before = world.seen.texts().iter().filter(|text| text.contains("/0#")).count();
    assert!((12..24).contains(&before) && (24..=36).contains(&handled), "{before} {handled}");
    a.consumers.put("billing", pushed("order")).await.unwrap();
    world.append(&["order-1"]).await;
    world.called(handled + 1).await;
    assert_eq!(owners(&b, "billing").await.len(), 1);
    assert!(lock(&world.seen.together).is_empty());
}

#[tokio::test]
async fn a_group_of_another_size_leaves_no_message_out() {
    let world = World::new();
    let node = world.node(None);
    let is_stuck = Arc::new(AtomicBool::new(true));
    let stuck = is_stuck.clone();
    world.seen.answer(move |call| {
        let (stream, position) = &call.messages[0];
        let is_of_second = store::Member::new(1, 2).unwrap().takes(stream);
        let fails = is_of_second && stuck.load(Ordering::SeqCst);
        Ok(if fails { failed() } else { appending(&format!("did-{stream}.{position}")) })
    });
    let of_size = |size| Definition { size, attempts: 1_000, ..pushed("order") };
    node.consumers.put("billing", of_size(2)).await.unwrap();
    let names = streams(40);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for _ in 0..3 {
        world.append(&names).await;
    }
    let first = async || node.consumers.show("billing").await.unwrap().shares[0].clone();
    world.until("one share is ahead", async || first().await.position == 120).await;
    is_stuck.store(false, Ordering::SeqCst);
    node.consumers.put("billing", of_size(5)).await.unwrap();
    node.caught_up(&world, "billing").await;
    for name in names {
        for position in 0..3 {
            assert_eq!(world.length(&format!("did-{name}.{position}")).await, 1, "{name}/{position}");
        }
    }
    assert!(lock(&world.seen.together).is_empty());
}

#[tokio::test]
async fn a_share_that_is_set_back_by_another_node_breaks_off_and_begins_there() {
    let world = World::new();
    let (a, b) = (world.node(Some("a")), world.node(Some("b")));
    a.consumers.put("billing", pushed("order")).await.unwrap();
    world.append(&["order-1", "order-2"]).await;
    a.caught_up(&world, "billing").await;
    let owner = owners(&a, "billing").await.remove(0).unwrap();
    let other = if owner == "a" { &b } else { &a };
    *lock(&world.seen.takes) = Duration::from_secs(20);
    world.append(&["order-3"]).await;
    world.called(3).await;
    other.consumers.replay("billing", Start::Position(2)).await.unwrap();
    world.called(5).await;
    a.caught_up(&world, "billing").await;
    let mut texts = world.seen.texts().split_off(3);
    texts.sort();
    assert_eq!(texts, ["order-2/0#1", "order-3/0#1"]);
    assert!(lock(&world.seen.together).is_empty(), "what was under way ended first");
}
