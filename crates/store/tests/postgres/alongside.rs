//! Several nodes, and Message DB's own clients, on one database.

use crate::{append, foreign, ids, open, write_message};
use std::time::Duration;
use store::state::{Key, Timer};
use store::{Append, AppendError, Read, Removal, Scope};
use testkit::PATIENCE;
use tokio::task::JoinSet;

#[tokio::test]
async fn writers_that_expect_a_version_win_once_whatever_node_they_are_on() {
    let server = testkit::Postgres::shared();
    let url = server.url(&server.database());
    let nodes = [open(&url).await.store(), open(&url).await.store()];
    let mut tasks = JoinSet::new();
    for task in 0..8u128 {
        let node = nodes[task as usize % 2].clone();
        tasks.spawn(async move {
            let mut won = 0;
            while won < 10 {
                let version = node.version("a-1").await.unwrap();
                let one = append("a-1", [task * 100 + won]);
                let expected = Append { expected_version: Some(version), ..one };
                match node.append(vec![expected]).await {
                    Ok(appended) => {
                        assert_eq!(appended[0].first_position, version + 1);
                        won += 1;
                    }
                    Err(AppendError::WrongVersion { expected, .. }) => assert_eq!(expected, version),
                    Err(error) => panic!("{error}"),
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert_eq!(nodes[0].version("a-1").await.unwrap(), 79);
    assert_eq!(ids(&nodes[1], Read::all()).await.len(), 80);
}

#[tokio::test]
async fn whoever_writes_wakes_who_waits() {
    let server = testkit::Postgres::shared();
    let url = server.url(&server.database());
    let store = open(&url).await.store();
    let other = open(&url).await.store();
    let client = foreign(&url).await;
    let mut watches = [Scope::All, Scope::Category("a".into()), Scope::Stream("a-1".into())]
        .map(|scope| store.watch(scope));
    let mut of_others = store.watch(Scope::Category("b".into()));
    for (nth, stream) in ["a-1", "a-1", "a-1"].into_iter().enumerate() {
        if nth == 1 {
            client.batch_execute(&write_message(nth as u128, stream)).await.unwrap();
        } else {
            other.append(vec![append(stream, [nth as u128])]).await.unwrap();
        }
        for watch in &mut watches {
            tokio::time::timeout(PATIENCE, watch.changed()).await.unwrap();
        }
    }
    // More streams than are told by name.
    let many = (0..60).map(|nth| append(&format!("c-{nth}"), [1_000 + nth])).collect();
    other.append(many).await.unwrap();
    tokio::time::timeout(PATIENCE, of_others.changed()).await.unwrap();
}

#[tokio::test]
async fn a_category_that_somebody_holds_holds_up_no_other() {
    let server = testkit::Postgres::shared();
    let url = server.url(&server.database());
    let store = open(&url).await.store();
    let client = foreign(&url).await;
    client.batch_execute("BEGIN").await.unwrap();
    for category in ["a", "c", "d", "e", "f", "g"] {
        client.batch_execute(&format!("SELECT message_store.acquire_lock('{category}-9')")).await.unwrap();
    }
    let waiting: Vec<_> = ["a-1", "a-2", "a-1", "c-1", "d-1", "e-1", "f-1", "g-1"]
        .into_iter()
        .zip(0..)
        .map(|(stream, id)| {
            let store = store.clone();
            tokio::spawn(async move { store.append(vec![append(stream, [id])]).await })
        })
        .collect();
    for nth in 0..20 {
        let other = store.append(vec![append("b-1", [100 + nth])]);
        tokio::time::timeout(Duration::from_secs(5), other).await.expect("it does not wait").unwrap();
    }
    assert_eq!(ids(&store, Read::category("a")).await, []);
    client.batch_execute("COMMIT").await.unwrap();
    for one in waiting {
        one.await.unwrap().unwrap();
    }
    assert_eq!(ids(&store, Read::category("a")).await.len(), 3);
}

#[tokio::test]
async fn a_stream_that_was_removed_goes_on_where_it_was_for_message_dbs_clients_too() {
    let server = testkit::Postgres::shared();
    let url = server.url(&server.database());
    let store = open(&url).await.store();
    store.append(vec![append("a-1", 0..3)]).await.unwrap();
    store.remove(Removal::Stream { stream: "a-1".into(), before: 3 }).await.unwrap();
    let role = url.replace("postgres@", "message_store@");
    let client = foreign(&role).await;
    let version = client.query_one("SELECT stream_version('a-1')", &[]).await.unwrap();
    assert_eq!(version.get::<_, Option<i64>>(0), Some(2));
    let row = client.query_one(&write_message(9, "a-1"), &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 3);
    // And it may not look at what is ours.
    client.batch_execute("SELECT * FROM tombolo.entries").await.unwrap_err();
}

#[tokio::test]
async fn nodes_share_timers_and_leases_and_nothing_is_done_twice() {
    let server = testkit::Postgres::shared();
    let url = server.url(&server.database());
    let nodes = [open(&url).await.state(), open(&url).await.state()];
    let mut set = nodes[1].timers_set();
    set.mark_unchanged();
    for nth in 0..40 {
        let key = Key::new("app", format!("{nth:02}"));
        nodes[0].set_timer(Timer { key, due: nth, every: None, payload: Vec::new() }).await.unwrap();
    }
    tokio::time::timeout(PATIENCE, set.changed()).await.unwrap().unwrap();
    let mut tasks = JoinSet::new();
    for task in 0..8 {
        let node = nodes[task % 2].clone();
        tasks.spawn(async move {
            let mut done = Vec::new();
            loop {
                let taken = node.take_due("app", 3, Duration::from_secs(60)).await.unwrap();
                if taken.is_empty() {
                    return done;
                }
                for due in taken {
                    assert!(node.finish_timer(&due).await.unwrap());
                    done.push(due.timer.key.key);
                }
            }
        });
    }
    let mut done = Vec::new();
    while let Some(of_one) = tasks.join_next().await {
        done.extend(of_one.unwrap());
    }
    done.sort();
    assert_eq!(done, (0..40).map(|nth| format!("{nth:02}")).collect::<Vec<_>>());

    // One lease, many who want it: one holds it at a time, with ever larger tokens.
    let mut tasks = JoinSet::new();
    for task in 0..6 {
        let node = nodes[task % 2].clone();
        tasks.spawn(async move {
            let (mut tokens, holder) = (Vec::new(), format!("holder {task}"));
            while tokens.len() < 5 {
                let lease = node.acquire("one", &holder, Duration::from_secs(60)).await.unwrap();
                if lease.holder == holder {
                    tokens.push(lease.token);
                    assert!(node.release("one", lease.token).await.unwrap(), "it is ours");
                    assert!(!node.release("one", lease.token).await.unwrap(), "it was given back");
                }
                tokio::task::yield_now().await;
            }
            assert!(tokens.is_sorted_by(|one, next| one < next));
            tokens
        });
    }
    let mut tokens = Vec::new();
    while let Some(of_one) = tasks.join_next().await {
        tokens.extend(of_one.unwrap());
    }
    tokens.sort_unstable();
    tokens.dedup();
    assert_eq!(tokens.len(), 30);
}
