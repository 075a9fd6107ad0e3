//! The window's order, its bounds, and that a restart from its progress repeats nothing that was handled: stories, and
//! a long seeded run with failures.

use super::*;
use base::Chance;
use store::Uuid;

const LIMITS: Limits = Limits { held: 100, batch: 1, concurrency: 10 };

fn message(global_position: i64, stream: &str) -> Message {
    Message {
        id: Uuid::from_u128(global_position as u128),
        stream: stream.to_owned(),
        kind: "T".to_owned(),
        position: 0,
        global_position,
        data: None,
        metadata: None,
        time: 0,
    }
}

/// Messages 1, 2, 3… of these streams.
fn fed(limits: Limits, streams: &[&str]) -> Window {
    let mut window = Window::new(limits, &Progress::at(0), 0);
    let messages = streams.iter().zip(1..).map(|(stream, position)| message(position, stream));
    window.feed(messages.collect::<Vec<_>>(), streams.len() as i64 + 1);
    window
}

fn goes(window: &mut Window, now: Moment) -> Vec<(u64, Vec<i64>)> {
    std::iter::from_fn(|| window.next(now))
        .map(|d| (d.number, d.items.iter().map(|item| item.message.global_position).collect()))
        .collect()
}

fn wait(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_stream_goes_one_by_one_and_streams_beside_each_other() {
    let mut window = fed(LIMITS, &["a-1", "a-1", "a-2"]);
    let now = Moment(0);
    assert_eq!(goes(&mut window, now), [(0, vec![1]), (1, vec![3])]);
    assert!(window.ended(1, End::Done, now) && goes(&mut window, now).is_empty());
    assert!(window.ended(0, End::Done, now) && !window.ended(0, End::Done, now));
    assert_eq!(goes(&mut window, now), [(2, vec![2])]);
    assert_eq!(window.progress(), Progress { position: 1, frontier: 4, pending: vec![2] });
    window.ended(2, End::Done, now);
    assert_eq!((window.progress(), window.held(), window.held_bytes), (Progress::at(3), 0, 0));
}

#[test]
fn a_failed_message_holds_up_its_own_stream_only() {
    let mut window = fed(LIMITS, &["a-1", "a-1", "a-2", "a-2"]);
    let start = Moment(0);
    assert_eq!(goes(&mut window, start).len(), 2);
    window.ended(0, End::Failed(wait(5)), start);
    window.ended(1, End::Done, start);
    assert_eq!(goes(&mut window, start), [(2, vec![4])]);
    window.ended(2, End::Done, start);
    assert_eq!(window.next_due(), Some(start + wait(5)));
    assert!(goes(&mut window, start + wait(4)).is_empty());
    let again = window.next(start + wait(5)).unwrap();
    assert_eq!((again.items[0].message.global_position, again.items[0].failed), (1, 1));
    assert_eq!(window.progress(), Progress { position: 0, frontier: 5, pending: vec![1, 2] });
}

#[test]
fn what_was_put_off_has_not_failed() {
    let mut window = fed(LIMITS, &["a-1"]);
    window.next(Moment(0)).unwrap();
    window.ended(0, End::Later(wait(1)), Moment(0));
    assert_eq!(window.next(Moment(0) + wait(1)).unwrap().items[0].failed, 0);
}

#[test]
fn concurrency_and_room_are_bounded() {
    let limits = Limits { held: 4, batch: 1, concurrency: 2 };
    let mut window = fed(limits, &["a-1", "a-2", "a-3"]);
    assert_eq!(window.wants(), Some((4, 1)));
    window.feed([message(4, "a-4")], 5);
    assert_eq!((window.wants(), goes(&mut window, Moment(0)).len()), (None, 2));
    assert!(!window.feed_again(message(9, "a-9"), 1));
    window.ended(0, End::Failed(wait(1)), Moment(0));
    assert_eq!(goes(&mut window, Moment(0)), [(2, vec![3])]);
    assert_eq!(window.next_due(), None, "nothing could go then either");

    let mut heavy = message(6, "a-5");
    heavy.data = Some(store::Json::parse(&format!("\"{}\"", "x".repeat(HELD_BYTES_MAX - 100))).unwrap());
    let mut window = Window::new(LIMITS, &Progress::at(0), 0);
    window.feed([heavy.clone(), heavy], 7);
    assert_eq!(window.wants(), None);
}

#[test]
fn a_batch_that_failed_is_tried_one_by_one() {
    let limits = Limits { batch: 3, ..LIMITS };
    let mut window = fed(limits, &["a-1", "a-2", "a-1", "a-3"]);
    let now = Moment(0);
    assert_eq!(goes(&mut window, now), [(0, vec![1, 3, 2]), (1, vec![4])]);
    window.ended(0, End::Failed(wait(1)), now);
    assert_eq!(goes(&mut window, now + wait(1)), [(2, vec![1]), (3, vec![2])]);
    window.ended(2, End::Done, now);
    assert_eq!(goes(&mut window, now + wait(1)), [(4, vec![3])]);
}

#[test]
fn a_restart_goes_on_with_what_was_not_handled() {
    let progress = Progress { position: 10, frontier: 15, pending: vec![11, 14] };
    let mut window = Window::new(LIMITS, &progress, 0);
    assert_eq!((window.progress(), window.wants()), (progress.clone(), Some((11, 100))));
    window.feed([11, 12].map(|position| message(position, "a-1")), 13);
    assert_eq!(window.progress(), progress);
    window.feed([13, 14, 15].map(|position| message(position, "a-2")), 16);
    assert_eq!(goes(&mut window, Moment(0)), [(0, vec![11]), (1, vec![14])]);
    assert_eq!(window.progress(), Progress { position: 10, frontier: 16, pending: vec![11, 14, 15] });
}

#[test]
fn what_is_no_longer_there_is_no_longer_pending() {
    let mut window = Window::new(LIMITS, &Progress { position: 10, frontier: 15, pending: vec![11, 14] }, 0);
    window.feed([], 20);
    assert_eq!(window.progress(), Progress::at(19));
}

#[test]
fn a_dead_letter_tried_again_does_not_move_the_position() {
    let mut window = fed(LIMITS, &["a-1", "a-1"]);
    assert!(window.feed_again(message(-5, "a-1"), 2) && window.feed_again(message(-5, "a-1"), 2));
    assert_eq!(window.held(), 3);
    for _ in 0..3 {
        let delivery = window.next(Moment(0)).unwrap();
        assert!(window.next(Moment(0)).is_none(), "it waits for its stream");
        window.ended(delivery.number, End::Done, Moment(0));
    }
    assert_eq!((window.progress(), window.held()), (Progress::at(2), 0));
}

#[test]
fn whatever_fails_each_stream_keeps_its_order_and_a_restart_repeats_nothing() {
    for seed in 0..200 {
        let chance = Chance::seeded(seed);
        let limits = Limits {
            held: 5 + chance.below(20),
            batch: 1 + chance.below(4),
            concurrency: 1 + chance.below(6),
        };
        let log: Vec<Message> =
            (1..=150).map(|position| message(position, &format!("a-{}", chance.below(9)))).collect();
        let mut window = Window::new(limits, &Progress::at(0), 0);
        let (mut handled, mut now, mut under_way) = (Vec::new(), Moment(0), Vec::new());
        while handled.len() < log.len() {
            if let Some((from, room)) = window.wants()
                && chance.below(3) > 0
            {
                let page: Vec<_> =
                    log.iter().filter(|m| m.global_position >= from).take(room.min(7)).cloned().collect();
                let next = page.last().map_or(from, |last| last.global_position + 1);
                window.feed(page, next);
            }
            while let Some(delivery) = window.next(now) {
                assert!(delivery.items.len() <= limits.batch, "seed {seed}");
                under_way.push(delivery);
            }
            assert!(window.held() <= limits.held && under_way.len() <= limits.concurrency, "seed {seed}");
            if !under_way.is_empty() {
                let delivery = under_way.swap_remove(chance.below(under_way.len()));
                let end = match chance.below(4) {
                    0 => End::Failed(wait(chance.below(5) as u64)),
                    1 => End::Later(wait(chance.below(5) as u64)),
                    _ => End::Done,
                };
                assert!(window.ended(delivery.number, end, now));
                if end == End::Done {
                    handled.extend(delivery.items.iter().map(|item| item.message.global_position));
                }
            }
            let progress = window.progress();
            let is_handled = |position| {
                position <= progress.position
                    || (position < progress.frontier && progress.pending.binary_search(&position).is_err())
            };
            for message in &log {
                let position = message.global_position;
                assert_eq!(is_handled(position), handled.contains(&position), "seed {seed}: {position}");
            }
            if chance.below(20) == 0 {
                window = Window::new(limits, &progress, 0);
                under_way.clear();
            }
            now = now + Duration::from_millis(700);
        }
        let of_stream = |stream: &str| {
            let mine = |position: &&i64| log[**position as usize - 1].stream == stream;
            handled.iter().filter(mine).copied().collect::<Vec<_>>()
        };
        for number in 0..9 {
            let order = of_stream(&format!("a-{number}"));
            assert!(order.is_sorted() && handled.len() == log.len(), "seed {seed}: {order:?}");
        }
    }
}
