//! Stories of one instance, told event by event; then random ones that must keep the promises.

use super::*;
use expect_test::{Expect, expect};
use proptest::prelude::*;
use std::fmt::Write as _;

/// Plays a story: each line is a time in milliseconds and what happens then; prints what is done about it.
/// `dep`, `up`, `missing`, `busy`, `ok`, `bad`, `exit0`, `exit1`, `tick`, `stop`, `stop-by MS`.
#[expect(clippy::needless_pass_by_value, reason = "a call reads as a sentence")]
#[track_caller]
fn check(rules: &Rules, story: &str, expected: Expect) {
    let mut machine = Machine::new(rules.clone(), Chance::seeded(1));
    let mut told = String::new();
    for line in story.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let now = at(words[0].parse().expect("a story line begins with its time"));
        let run = machine.run();
        let event = match words[1] {
            "dep" => Event::DependenciesReady,
            "up" => Event::Spawned,
            "missing" => Event::SpawnFailed { again: false },
            "busy" => Event::SpawnFailed { again: true },
            "ok" => Event::Checked { run, healthy: true },
            "bad" => Event::Checked { run, healthy: false },
            "stale-ok" => Event::Checked { run: run - 1, healthy: true },
            "exit0" => Event::Exited { success: true },
            "exit1" => Event::Exited { success: false },
            "tick" => Event::Tick,
            "stop" => Event::Stop { by: None },
            "stop-by" => Event::Stop { by: Some(at(words[2].parse().expect("a deadline"))) },
            other => panic!("no such word: {other}"),
        };
        let actions: Vec<String> =
            machine.on(event, now).iter().map(|action| format!("{action:?}")).collect();
        let due = machine.due().map_or("never".to_owned(), |due| format!("{}", due.0 / 1_000_000));
        let actions = if actions.is_empty() { "-".to_owned() } else { actions.join(", ") };
        let _ = writeln!(told, "{line}: {actions} | {} | due {due}", name(machine.state()));
    }
    expected.assert_eq(&told);
}

fn name(state: State) -> String {
    let text = format!("{state:?}");
    text.split([' ', '(']).next().unwrap_or_default().to_owned()
        + match state {
            State::Stopping(Stopping::Unborn { .. }) => "/unborn",
            State::Stopping(Stopping::Withdrawn { .. }) => "/withdrawn",
            State::Stopping(Stopping::Terminated { .. }) => "/terminated",
            State::Stopping(Stopping::Killed { .. }) => "/killed",
            _ => "",
        }
}

fn at(millis: u64) -> Moment {
    Moment(millis * 1_000_000)
}

fn rules() -> Rules {
    // An interval of its own jitter would blur the stories; a start is polled without chance.
    Rules::of(&Command::of(vec!["app".to_owned()]))
}

fn once(when: RestartWhen) -> Rules {
    Rules { restart: Restart { when, ..Restart::default() }, ..rules() }
}

#[test]
fn a_start_is_polled_quickly_and_ever_more_slowly() {
    check(
        &rules(),
        "0 dep
         5 up
         54 tick
         55 tick
         60 bad
         122 tick
         123 tick
         130 ok",
        expect![[r"
            0 dep: Spawn | Spawning | due never
            5 up: - | Starting | due 55
            54 tick: - | Starting | due 55
            55 tick: Check { run: 1 } | Starting | due never
            60 bad: - | Starting | due 122
            122 tick: - | Starting | due 122
            123 tick: Check { run: 1 } | Starting | due never
            130 ok: Say(Healthy { took: 125ms }) | Healthy | due 1143
        "]],
    );
}

#[test]
fn backoff_doubles_and_the_limit_ends_it() {
    let mut rules = rules();
    rules.restart.limit = 3;
    rules.restart.backoff_max = Duration::from_millis(1500);
    check(
        &rules,
        "0 dep
         0 up
         10 exit1
         510 tick
         510 up
         520 exit1
         1520 tick
         1520 up
         1530 exit0
         3030 tick
         3030 up
         3040 exit1
         9999 tick",
        expect![[r"
            0 dep: Spawn | Spawning | due never
            0 up: - | Starting | due 50
            10 exit1: Say(Restarts { after: 500ms, restarts: 1 }) | Backoff | due 510
            510 tick: Spawn | Spawning | due never
            510 up: - | Starting | due 560
            520 exit1: Say(Restarts { after: 1s, restarts: 2 }) | Backoff | due 1520
            1520 tick: Spawn | Spawning | due never
            1520 up: - | Starting | due 1570
            1530 exit0: Say(Restarts { after: 1.5s, restarts: 3 }) | Backoff | due 3030
            3030 tick: Spawn | Spawning | due never
            3030 up: - | Starting | due 3080
            3040 exit1: Say(CrashLooped { restarts: 3 }) | CrashLooped | due never
            9999 tick: - | CrashLooped | due never
        "]],
    );
}

#[test]
fn long_health_forgives_earlier_restarts_and_short_health_does_not() {
    let mut rules = rules();
    rules.restart.backoff_max = Duration::from_secs(10);
    check(
        &rules,
        "0 dep
         0 up
         10 exit1
         510 tick
         510 up
         600 ok
         10000 exit1
         11000 tick
         11000 up
         11100 ok
         21100 exit1",
        expect![[r"
            0 dep: Spawn | Spawning | due never
            0 up: - | Starting | due 50
            10 exit1: Say(Restarts { after: 500ms, restarts: 1 }) | Backoff | due 510
            510 tick: Spawn | Spawning | due never
            510 up: - | Starting | due 560
            600 ok: Say(Healthy { took: 90ms }) | Healthy | due 1613
            10000 exit1: Say(Restarts { after: 1s, restarts: 2 }) | Backoff | due 11000
            11000 tick: Spawn | Spawning | due never
            11000 up: - | Starting | due 11050
            11100 ok: Say(Healthy { took: 100ms }) | Healthy | due 12149
            21100 exit1: Say(Restarts { after: 500ms, restarts: 1 }) | Backoff | due 21600
        "]],
    );
}

#[test]
fn failures_count_after_the_start_period_or_the_first_success() {
    check(
        &rules(),
        "0 dep
         0 up
         29000 bad
         30000 bad
         31000 bad
         32000 bad
         33000 ok
         34000 bad
         35000 bad
         36000 bad
         37000 bad",
        expect![[r"
            0 dep: Spawn | Spawning | due never
            0 up: - | Starting | due 50
            29000 bad: - | Starting | due 29062
            30000 bad: - | Starting | due 30078
            31000 bad: - | Starting | due 31097
            32000 bad: Say(Unhealthy { ever: false }) | Unhealthy | due 33013
            33000 ok: Say(Healthy { took: 1s }) | Healthy | due 34049
            34000 bad: - | Healthy | due 35094
            35000 bad: - | Healthy | due 35988
            36000 bad: Say(Unhealthy { ever: true }) | Unhealthy | due 36988
            37000 bad: - | Unhealthy | due 38052
        "]],
    );
}

#[test]
fn an_answer_about_an_earlier_process_is_not_believed() {
    check(
        &rules(),
        "0 dep
         0 up
         50 tick
         60 exit1
         560 tick
         561 up
         562 stale-ok",
        expect![[r"
            0 dep: Spawn | Spawning | due never
            0 up: - | Starting | due 50
            50 tick: Check { run: 1 } | Starting | due never
            60 exit1: Say(Restarts { after: 500ms, restarts: 1 }) | Backoff | due 560
            560 tick: Spawn | Spawning | due never
            561 up: - | Starting | due 611
            562 stale-ok: - | Starting | due 611
        "]],
    );
}

#[test]
fn a_healthy_instance_is_withdrawn_then_terminated_then_killed() {
    check(
        &rules(),
        "0 dep
         0 up
         50 ok
         1000 stop
         1100 tick
         2000 stop
         11099 tick
         11100 tick
         11150 exit1",
        expect![[r"
            0 dep: Spawn | Spawning | due never
            0 up: - | Starting | due 50
            50 ok: Say(Healthy { took: 50ms }) | Healthy | due 1063
            1000 stop: Say(Stopping) | Stopping/withdrawn | due 1100
            1100 tick: Terminate | Stopping/terminated | due 11100
            2000 stop: - | Stopping/terminated | due 11100
            11099 tick: - | Stopping/terminated | due 11100
            11100 tick: Kill | Stopping/killed | due 16100
            11150 exit1: Say(Stopped { killed: true }) | Stopped | due never
        "]],
    );
}

#[test]
fn a_deadline_shortens_the_grace_even_when_it_comes_late() {
    check(
        &rules(),
        "0 dep
         0 up
         10 stop
         20 stop-by 500
         500 tick
         501 exit1",
        expect![[r"
            0 dep: Spawn | Spawning | due never
            0 up: - | Starting | due 50
            10 stop: Say(Stopping), Terminate | Stopping/terminated | due 10010
            20 stop-by 500: - | Stopping/terminated | due 500
            500 tick: Kill | Stopping/killed | due 5500
            501 exit1: Say(Stopped { killed: true }) | Stopped | due never
        "]],
    );
}

#[test]
fn what_not_even_sigkill_ends_is_given_up_and_named() {
    check(
        &rules(),
        "0 dep
         0 up
         10 stop-by 10
         10 tick
         5010 tick",
        expect![[r"
            0 dep: Spawn | Spawning | due never
            0 up: - | Starting | due 50
            10 stop-by 10: Say(Stopping), Terminate | Stopping/terminated | due 10
            10 tick: Kill | Stopping/killed | due 5010
            5010 tick: Say(Stuck) | Stopped | due never
        "]],
    );
}

#[test]
fn stopping_before_the_process_is_there_stops_it_as_soon_as_it_is() {
    check(
        &rules(),
        "0 dep
         1 stop
         2 up
         3 exit1",
        expect![[r"
            0 dep: Spawn | Spawning | due never
            1 stop: Say(Stopping) | Stopping/unborn | due never
            2 up: Terminate | Stopping/terminated | due 10002
            3 exit1: Say(Stopped { killed: false }) | Stopped | due never
        "]],
    );
}

#[test]
fn without_a_process_stopping_is_immediate() {
    check(
        &rules(),
        "0 stop
         1 dep",
        expect![[r"
            0 stop: Say(Stopped { killed: false }) | Stopped | due never
            1 dep: - | Stopped | due never
        "]],
    );
    check(
        &rules(),
        "0 dep
         0 up
         5 exit1
         6 stop
         600 tick",
        expect![[r"
            0 dep: Spawn | Spawning | due never
            0 up: - | Starting | due 50
            5 exit1: Say(Restarts { after: 500ms, restarts: 1 }) | Backoff | due 505
            6 stop: Say(Stopped { killed: false }) | Stopped | due never
            600 tick: - | Stopped | due never
        "]],
    );
}

#[test]
fn a_missing_program_is_not_tried_again_but_a_busy_port_is() {
    check(
        &rules(),
        "0 dep
         1 missing",
        expect![[r"
            0 dep: Spawn | Spawning | due never
            1 missing: Say(Failed) | Failed | due never
        "]],
    );
    check(
        &rules(),
        "0 dep
         1 busy
         501 tick",
        expect![[r"
            0 dep: Spawn | Spawning | due never
            1 busy: Say(Restarts { after: 500ms, restarts: 1 }) | Backoff | due 501
            501 tick: Spawn | Spawning | due never
        "]],
    );
}

#[test]
fn a_job_is_done_when_its_rule_says_so() {
    for (when, exit, expected) in [
        (RestartWhen::Never, "exit0", "Done { success: true }"),
        (RestartWhen::Never, "exit1", "Done { success: false }"),
        (RestartWhen::OnFailure, "exit0", "Done { success: true }"),
        (RestartWhen::OnFailure, "exit1", "Backoff"),
        (RestartWhen::Always, "exit0", "Backoff"),
    ] {
        let mut machine = Machine::new(once(when), Chance::seeded(1));
        machine.on(Event::DependenciesReady, at(0));
        machine.on(Event::Spawned, at(0));
        machine.on(Event::Exited { success: exit == "exit0" }, at(1));
        let state = format!("{:?}", machine.state());
        assert!(state.starts_with(expected), "{when:?} {exit}: {state}");
    }
}

#[test]
fn without_a_limit_it_is_never_given_up_and_the_pause_stays_bounded() {
    let mut rules = rules();
    rules.restart.limit = 0;
    let mut machine = Machine::new(rules.clone(), Chance::seeded(1));
    let mut now = at(0);
    machine.on(Event::DependenciesReady, now);
    for _ in 0..200 {
        machine.on(Event::Spawned, now);
        machine.on(Event::Exited { success: false }, now);
        let due = machine.due().expect("it begins anew");
        assert!(due.since(now) <= rules.restart.backoff_max);
        now = due;
        assert_eq!(machine.on(Event::Tick, now), [Action::Spawn]);
    }
    assert_eq!(machine.restarts(), 200);
}

#[test]
fn no_pause_is_zero_whatever_the_manifest_says() {
    let mut command = Command::of(vec!["app".to_owned()]);
    command.restart.backoff = Duration::ZERO;
    command.health = Some(Health { interval: Duration::ZERO, failures: 0, ..Health::of(Check::Tcp) });
    let rules = Rules::of(&command);
    assert!(rules.backoff(0) > Duration::ZERO && rules.interval > Duration::ZERO && rules.failures == 1);
}

/// What the world may do next, drawn at random and then made possible.
#[derive(Clone, Copy, Debug)]
enum Move {
    Advance(u64),
    Dependencies,
    Spawn(u8),
    Check(bool),
    Exit(bool),
    Stop(Option<u64>),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        6 => (0u64..3000).prop_map(Move::Advance),
        1 => Just(Move::Dependencies),
        4 => (0u8..10).prop_map(Move::Spawn),
        4 => any::<bool>().prop_map(Move::Check),
        2 => any::<bool>().prop_map(Move::Exit),
        1 => proptest::option::of(0u64..2000).prop_map(Move::Stop),
    ];
    proptest::collection::vec(one, 1..120)
}

/// A world that has at most the processes the machine asked for.
struct World {
    machine: Machine,
    now: Moment,
    asked: u32,
    running: u32,
    checks: u32,
    terminated: bool,
    stop_wished: bool,
}

impl World {
    fn tell(&mut self, event: Event) {
        for action in self.machine.on(event, self.now) {
            match action {
                Action::Spawn => {
                    assert_eq!((self.asked, self.running), (0, 0), "never two processes of one instance");
                    assert!(!self.stop_wished, "nothing is started after a stop wish");
                    self.asked += 1;
                    self.terminated = false;
                }
                Action::Check { .. } => {
                    assert_eq!(self.checks, 0, "one check at a time");
                    self.checks += 1;
                }
                Action::Terminate => {
                    assert!(self.running == 1 && !self.terminated, "one SIGTERM, to a running process");
                    self.terminated = true;
                }
                Action::Kill => assert!(self.terminated, "SIGKILL only after SIGTERM"),
                Action::Say(_) => {}
            }
        }
    }

    fn play(&mut self, step: Move) {
        match step {
            Move::Advance(millis) => {
                self.now = self.now + Duration::from_millis(millis);
                self.tell(Event::Tick);
            }
            Move::Dependencies => self.tell(Event::DependenciesReady),
            Move::Spawn(luck) if self.asked == 1 => {
                self.asked = 0;
                match luck {
                    0 => self.tell(Event::SpawnFailed { again: false }),
                    1 => self.tell(Event::SpawnFailed { again: true }),
                    _ => {
                        self.running = 1;
                        self.tell(Event::Spawned);
                    }
                }
            }
            Move::Check(healthy) if self.checks == 1 => {
                self.checks = 0;
                let run = self.machine.run();
                self.tell(Event::Checked { run, healthy });
            }
            Move::Exit(success) if self.running == 1 => {
                self.running = 0;
                // The instance's process is gone, and with it the check that asked it.
                self.checks = 0;
                self.tell(Event::Exited { success });
            }
            Move::Stop(by) => {
                self.stop_wished = true;
                let by = by.map(|millis| self.now + Duration::from_millis(millis));
                self.tell(Event::Stop { by });
            }
            Move::Spawn(_) | Move::Check(_) | Move::Exit(_) => {}
        }
    }
}

proptest! {
    #[test]
    fn the_promises_hold_whatever_happens(steps in moves(), limit in 0u32..4, deaf in any::<bool>()) {
        let mut rules = rules();
        rules.restart.limit = limit;
        rules.restart.backoff_max = Duration::from_secs(2);
        rules.start_period = Duration::from_secs(1);
        rules.stop_grace = Duration::from_secs(3);
        let mut world = World {
            machine: Machine::new(rules, Chance::seeded(7)),
            now: Moment::default(),
            asked: 0,
            running: 0,
            checks: 0,
            terminated: false,
            stop_wished: false,
        };
        for step in steps {
            world.play(step);
            if let State::Backoff { until } = world.machine.state() {
                prop_assert!(until.since(world.now) <= Duration::from_secs(2));
            }
            prop_assert!(limit == 0 || world.machine.in_a_row <= limit);
        }
        // A stop wish ends in `Stopped`, even when the process is deaf and nobody tells of its end.
        world.play(Move::Stop(None));
        world.play(Move::Spawn(9));
        for _ in 0..4 {
            if !deaf {
                world.play(Move::Exit(true));
            }
            if let Some(due) = world.machine.due() {
                world.now = world.now.max(due);
                world.tell(Event::Tick);
            }
        }
        prop_assert_eq!(world.machine.state(), State::Stopped);
        prop_assert_eq!(world.machine.due(), None);
    }
}
