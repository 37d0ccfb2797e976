//! The machine's clock: what nodes say of it, and what a measurement between
//! them finds that the launcher has no part in.

use rustix::process::Signal;
use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};
use tests::command::signal_process;
use tests::machine::{Machine, TWO_CLUSTERS};
use tests::wait_until;

/// For so long clocks may get better before they are looked at.
const SETTLE: Duration = Duration::from_secs(10);
/// No two clocks may differ by more, in nanoseconds, on whatever host: that is
/// five hundred times what they agree within on one that is not overloaded.
const MOST: u64 = 1_000_000;

/// What `ps --clocks --json` says of each clock: its uncertainty.
fn uncertainties(machine: &Machine) -> BTreeMap<String, Option<u64>> {
    let told: serde_json::Value =
        serde_json::from_str(&machine.call(&["ps", "--clocks", "--json"]).well()).expect("it is JSON");
    assert_eq!(told["silent"].as_array().map(Vec::len), Some(0), "{told}");
    let clocks = told["clocks"].as_array().expect("a list of clocks");
    let clock = |clock: &serde_json::Value| {
        (clock["vm"].as_str().expect("a name").to_owned(), clock["uncertainty_ns"].as_u64())
    };
    clocks.iter().map(clock).collect()
}

/// Gives the clocks time to be known to 2 us. Where VMs and launcher never run
/// at once that does not happen, and they are looked at once they are known well
/// enough not to differ by more than [`MOST`].
fn settle(machine: &Machine) {
    let start = Instant::now();
    let good = |error: &Option<u64>| error.is_some_and(|error| error <= 2000);
    while start.elapsed() < SETTLE && !uncertainties(machine).values().all(good) {
        sleep(Duration::from_millis(20));
    }
    let known = uncertainties(machine);
    println!("{known:?}");
    assert!(known.values().all(Option::is_some), "a VM that is ready knows its clock: {known:?}");
    let fair = |error: &Option<u64>| error.is_some_and(|error| error <= MOST / 2);
    wait_until("every clock is known fairly well", || uncertainties(machine).values().all(fair));
}

/// The numbers of the lines that begin with this word.
fn lines(said: &str, word: &str) -> Vec<Vec<i64>> {
    let numbers = |line: &str| -> Option<Vec<i64>> {
        let numbers = line.strip_prefix(word)?.split_whitespace();
        Some(numbers.map(|number| number.parse().expect("a number")).collect())
    };
    said.lines().filter_map(numbers).collect()
}

/// The clocks of four nodes agree as well as they say, and in any case within [`MOST`].
fn check(machine: &Machine) {
    settle(machine);
    let said = machine.run(4, &["clocks"]);
    println!("{said}");
    let errors: BTreeMap<i64, i64> =
        lines(&said, "uncertainty ").iter().map(|line| (line[0], line[1])).collect();
    assert_eq!(errors.len(), 4, "everybody knows how well: {said}");
    let pairs = lines(&said, "pair ");
    assert_eq!(pairs.len(), 6, "{said}");
    for pair in &pairs {
        let [b, a, low, high] = pair[..] else { panic!("{pair:?}") };
        let most = errors[&a] + errors[&b];
        assert!(low <= most && high >= -most, "{a} and {b} differ by {low} to {high} ns, not by {most}");
        // What is between the ends of a reading, however long it took, is no difference.
        let most = MOST as i64;
        assert!(low <= most && high >= -most, "{a} and {b} differ by {low} to {high} ns, whatever they say");
    }
    // SystemTime is the same clock, and Instant goes on with it.
    let walls = lines(&said, "wall ");
    let low = walls.iter().map(|wall| wall[1]).max();
    let high = walls.iter().map(|wall| wall[2]).min();
    assert!(walls.len() == 4 && low <= high, "they do not agree when the machine started: {walls:?}");
    let instants = lines(&said, "instant ");
    assert!(instants.len() == 4 && instants.iter().all(|line| line[1] <= 0 && line[2] >= 0), "{instants:?}");
}

#[test]
fn clocks_agree_as_well_as_they_say_also_after_stalls_and_restarts() {
    let machine = Machine::up(&format!("{TWO_CLUSTERS}[vm]\nrestart = \"always\"\n"));
    check(&machine);
    // A VM that stands still for a while finds the time where it is.
    let stalled = machine.qemu("node-a1");
    signal_process(stalled, Signal::STOP);
    sleep(Duration::from_millis(300));
    signal_process(stalled, Signal::CONT);
    check(&machine);
    // So do all, if nobody keeps it.
    let launcher = machine.launcher().id();
    signal_process(launcher, Signal::STOP);
    sleep(Duration::from_millis(700));
    signal_process(launcher, Signal::CONT);
    check(&machine);
    // A VM that starts again has other ticks, and the same time.
    for vm in ["node-b0", "files-a0"] {
        signal_process(machine.qemu(vm), Signal::KILL);
        wait_until("it is back", || {
            let vm = machine.vm(vm);
            (vm.state.as_str(), vm.generation) == ("ready", 2)
        });
    }
    check(&machine);
    let table = machine.call(&["ps", "--clocks"]).well();
    assert!(table.lines().count() == 9 && !table.contains("does not answer"), "{table}");
}

#[test]
fn clocks_agree_across_an_ethernet() {
    let link = "[[links]]\nbetween = [\"a\", \"b\"]\nkind = \"virtio-net\"\ndelay = \"50 us\"\n";
    check(&Machine::up(&format!("{TWO_CLUSTERS}{link}")));
}
