//! Messages for who asks for them: one of a stream at a time, acknowledged in time or given again.

use super::*;

async fn take(world: &World, node: &Node, count: usize) -> Vec<Taken> {
    let mut taken = Vec::new();
    world
        .until("messages to take", async || {
            taken.extend(node.consumers.take("work", 10, Duration::ZERO).await.unwrap());
            taken.len() >= count
        })
        .await;
    taken
}

fn texts(taken: &[Taken]) -> Vec<String> {
    taken
        .iter()
        .map(|one| format!("{}/{}#{}", one.message.stream, one.message.position, one.attempt))
        .collect()
}

async fn acked(node: &Node, taken: &Taken, outcome: Outcome) -> Acked {
    // As it came over the wire.
    let token = taken.token.to_string().parse().unwrap();
    node.consumers.acknowledge("work", token, outcome).await.unwrap()
}

fn done() -> Outcome {
    Outcome::Done(Answered::default())
}

#[tokio::test]
async fn who_asks_is_given_one_message_of_each_stream_and_acknowledges_it() {
    let world = World::new();
    let node = world.node(None);
    node.consumers.put("work", Definition::of("job")).await.unwrap();
    world.append(&["job-1", "job-1", "job-2"]).await;
    let first = take(&world, &node, 2).await;
    assert_eq!(texts(&first), ["job-1/0#1", "job-2/0#1"]);
    assert_eq!(acked(&node, &first[0], done()).await, Acked::Yes);
    assert_eq!(acked(&node, &first[0], done()).await, Acked::Lost, "once");
    let second = take(&world, &node, 1).await;
    assert_eq!(texts(&second), ["job-1/1#1"]);

    let answer = br#"{"append":[{"stream_name":"did-1","messages":[{"type":"Did"}]}]}"#;
    let outcome = Outcome::Done(Answered::read(answer).unwrap());
    assert_eq!(acked(&node, &second[0], outcome).await, Acked::Yes);
    assert_eq!(acked(&node, &first[1], Outcome::Dead("no use".into())).await, Acked::Yes);
    node.caught_up(&world, "work").await;
    assert_eq!(world.length("did-1").await, 1);
    assert_eq!(node.consumers.dead_letters("work", 0, 10).await.unwrap()[0].reason, "no use");
}

#[tokio::test]
async fn what_is_not_acknowledged_in_time_is_given_again() {
    let world = World::new();
    let node = world.node(None);
    let definition = Definition { timeout: Duration::from_secs(10), attempts: 3, ..Definition::of("job") };
    node.consumers.put("work", definition).await.unwrap();
    world.append(&["job-1"]).await;
    let first = take(&world, &node, 1).await;
    let second = take(&world, &node, 1).await;
    assert_eq!(texts(&second), ["job-1/0#2"]);
    assert_eq!(acked(&node, &first[0], done()).await, Acked::Lost, "too late");
    assert_eq!(acked(&node, &second[0], Outcome::Retry("not yet".into())).await, Acked::Yes);
    let third = take(&world, &node, 1).await;
    assert_eq!(texts(&third), ["job-1/0#3"]);
    assert_eq!(acked(&node, &third[0], Outcome::Retry("not yet".into())).await, Acked::Yes);
    node.caught_up(&world, "work").await;
    assert_eq!(node.consumers.dead_letters("work", 0, 10).await.unwrap()[0].attempts, 3);
}

#[tokio::test]
async fn what_cannot_be_appended_is_told_and_comes_again() {
    let world = World::new();
    let node = world.node(None);
    node.consumers.put("work", Definition::of("job")).await.unwrap();
    world.append(&["job-1"]).await;
    let first = take(&world, &node, 1).await;
    let answer = br#"{"append":[{"stream_name":"did-1","expected_version":7,"messages":[{"type":"Did"}]}]}"#;
    let outcome = || Outcome::Done(Answered::read(answer).unwrap());
    assert_eq!(acked(&node, &first[0], outcome()).await, Acked::Failed);
    let second = take(&world, &node, 1).await;
    assert_eq!(texts(&second), ["job-1/0#2"]);
    assert_eq!(world.length("did-1").await, 0);
}

#[tokio::test]
async fn who_waits_is_woken_and_who_goes_away_loses_nothing() {
    let world = World::new();
    let node = world.node(None);
    node.consumers.put("work", Definition::of("job")).await.unwrap();
    let waiting = tokio::spawn({
        let consumers = node.consumers.clone();
        async move { consumers.take("work", 10, Duration::from_secs(60)).await.unwrap() }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    world.append(&["job-1"]).await;
    world.until("it has one", async || waiting.is_finished()).await;
    assert_eq!(texts(&waiting.await.unwrap()), ["job-1/0#1"]);

    let begun = world.clock.now();
    let waiting = tokio::spawn({
        let consumers = node.consumers.clone();
        async move { consumers.take("work", 10, Duration::from_secs(5)).await.unwrap() }
    });
    world.until("it gave up", async || waiting.is_finished()).await;
    assert_eq!(waiting.await.unwrap(), []);
    assert!(world.clock.now().since(begun) >= Duration::from_secs(5));
    assert!(node.consumers.take("nobody", 1, Duration::ZERO).await.is_err());
    node.consumers.put("pushed", pushed("job")).await.unwrap();
    assert!(node.consumers.take("pushed", 1, Duration::ZERO).await.is_err());
}

#[tokio::test]
async fn after_a_move_what_was_taken_before_does_not_count() {
    let world = World::new();
    let node = world.node(None);
    node.consumers.put("work", Definition::of("job")).await.unwrap();
    world.append(&["job-1", "job-2"]).await;
    let first = take(&world, &node, 2).await;
    assert_eq!(acked(&node, &first[0], done()).await, Acked::Yes);
    node.consumers.replay("work", Start::Beginning).await.unwrap();
    let second = take(&world, &node, 2).await;
    assert_eq!(texts(&second), ["job-1/0#1", "job-2/0#1"]);
    assert_eq!(acked(&node, &first[1], done()).await, Acked::Lost);
    assert_eq!(acked(&node, &second[1], done()).await, Acked::Yes);
}

#[tokio::test]
async fn shares_go_to_the_nodes_that_are_asked() {
    let world = World::new();
    let (a, b) = (world.node(Some("a")), world.node(Some("b")));
    a.consumers.put("work", Definition { size: 2, ..Definition::of("job") }).await.unwrap();
    world.append(&["job-1", "job-2", "job-3", "job-4", "job-5"]).await;
    let all = take(&world, &b, 5).await;
    assert_eq!(all.len(), 5, "b has all of them, as nobody asks a");
    for one in &all {
        assert_eq!(acked(&b, one, done()).await, Acked::Yes);
    }
    a.consumers.take("work", 1, Duration::ZERO).await.unwrap();
    let owners = async || {
        let status = b.consumers.show("work").await.unwrap();
        let mut owners: Vec<_> = status.shares.into_iter().filter_map(|share| share.node).collect();
        owners.sort();
        owners
    };
    world.until("each has one", async || owners().await == ["a", "b"]).await;
}
