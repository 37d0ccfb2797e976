//! Machines whose files say what distance costs: programs measure it.
//!
//! The host's own noise spoils a measurement now and then, so each is tried a
//! few times, and the best counts.

use rustix::process::Signal;
use serde_json::Value;
use tests::command::signal_process;
use tests::input::{Random, sources};
use tests::machine::{Machine, TWO_CLUSTERS};
use tests::wait_until;

/// Most calibrations until the ratios come out.
const TRIES: usize = 8;
/// A ratio that is off by no more than this factor has come out. (What it is to
/// be on a quiet host, `make bench` measures.)
const ROUGHLY: f64 = 1.25;

fn machine(locality: &str) -> Machine {
    Machine::up(&format!("{TWO_CLUSTERS}[locality]\n{locality}"))
}

/// What `distance` measures within and between clusters, of a local message.
fn ratios(machine: &Machine) -> [f64; 2] {
    let costs: Value = serde_json::from_str(&machine.run(8, &["distance", "--json"])).expect("JSON");
    let cost = |distance: &str| costs[distance].as_f64().unwrap_or_else(|| panic!("no {distance}: {costs}"));
    println!("{costs}");
    ["within", "between"].map(|distance| cost(distance) / cost("local"))
}

/// By what factor at most ratios are off.
fn off_by(ratios: [f64; 2], configured: [f64; 2]) -> f64 {
    let off = ratios.iter().zip(configured).map(|(ratio, configured)| ratio / configured);
    off.map(|off| off.max(1.0 / off)).fold(1.0, f64::max)
}

/// Calibrates until what a program measures afterwards is as configured, roughly.
fn comes_out(machine: &Machine, configured: [f64; 2]) {
    let mut best = f64::INFINITY;
    for _ in 0..TRIES {
        machine.call(&["calibrate"]).well();
        best = off_by(ratios(machine), configured).min(best);
        if best <= ROUGHLY {
            return;
        }
    }
    panic!("the ratios are to be {configured:?} and are off by {best} at best");
}

#[test]
fn messages_cost_what_the_file_says() {
    for (locality, configured) in [("", [3.0, 9.0]), ("within = 2\nbetween = 4\n", [2.0, 4.0])] {
        let machine = machine(locality);
        let said = machine.launcher().out();
        assert!(said.contains("8 VMs up in ") && said.contains(" s, distances within "), "{said}");
        comes_out(&machine, configured);
    }
}

#[test]
fn what_calibrate_says_is_for_people_and_for_programs() {
    let machine = machine("within = 4\n");
    let table = machine.call(&["calibrate"]).well();
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0].join(" "), "DISTANCE NATURAL ADDED MESSAGE OF LOCAL CONFIGURED");
    let ends: Vec<_> = lines[1..].iter().map(|line| (line[0], line[line.len() - 1])).collect();
    assert_eq!(ends, [("local", "1"), ("within", "4"), ("between", "9")]);
    let told: Value = serde_json::from_str(&machine.call(&["calibrate", "--json"]).well()).unwrap();
    for (row, distance) in told["distances"].as_array().unwrap().iter().zip(["local", "within", "between"]) {
        assert_eq!(row["distance"], distance);
        let number = |key: &str| row[key].as_f64().unwrap_or_else(|| panic!("no {key}: {row}"));
        assert!(number("natural_ns") > 0.0 && number("message_ns") > 0.0 && number("added_ns") >= 0.0);
        let ratio = number("message_ns") / told["distances"][0]["message_ns"].as_f64().unwrap();
        assert!((ratio - number("ratio")).abs() < 1e-6, "{told}");
    }
}

#[test]
fn a_machine_without_the_table_is_left_as_it_is() {
    let machine = Machine::up(TWO_CLUSTERS);
    assert!(!machine.launcher().out().contains("distances"));
    let sentence = machine.call(&["calibrate"]).sentence();
    assert!(
        sentence.starts_with("this machine adds no distance to messages; write [locality]"),
        "{sentence}"
    );
    assert!(machine.call(&["calibrate", "--json"]).sentence() == sentence);
    // It can be measured all the same, where there is anybody.
    let all = machine.run(8, &["distance"]);
    assert!(all.lines().count() == 4 && !all.contains(" -"), "{all}");
    let alone = machine.run(1, &["distance"]);
    assert!(alone.contains("run it with twice as many activities"), "{alone}");
    assert_eq!(machine.run(1, &["distance", "--json"]).matches("null").count(), 3);
    let usage = machine.call(&["run", "distance", "--jason"]);
    assert_eq!(
        (usage.code(), usage.err.lines().next()),
        (Some(2), Some("distance: it takes --json or nothing"))
    );
}

#[test]
fn one_cluster_has_nothing_between() {
    let machine = Machine::up("[clusters.a]\nnodes = 2\n[locality]\n");
    let told: Value = serde_json::from_str(&machine.call(&["calibrate", "--json"]).well()).unwrap();
    let between = &told["distances"][2];
    assert!(between["message_ns"].is_null() && between["ratio"].is_null(), "{told}");
    assert!(told["distances"][1]["ratio"].as_f64().is_some_and(|ratio| ratio > 1.0), "{told}");
}

#[test]
fn programs_notice_nothing_of_distance_but_the_time() {
    let mut random = Random::seeded();
    let machine = machine("[vm.node]\nrestart = \"always\"\n");
    let totals = sources(&machine.host.folder().join("input"), 120, &mut random);
    machine.call(&["cp", "host:input", "/input"]).well();
    let count = |machine: &Machine| {
        let said = machine.run(4, &["wordcount", "/input"]);
        assert!(said.lines().last().is_some_and(|line| line.starts_with(&totals)), "{said} is not {totals}");
    };
    count(&machine);
    for activities in [2, 4, 7] {
        let said = machine.run(activities, &["echo"]);
        assert_eq!(said, format!("echo: 11 sizes to {} activities\n", activities - 1));
    }
    machine.kill("files-a0");
    count(&machine);
    // Messages are under way all the time when a node dies.
    let running = machine.start_program(4, &["chatter"]);
    std::thread::sleep(std::time::Duration::from_millis(100 + random.below(200)));
    signal_process(machine.qemu("node-b1"), Signal::KILL);
    let sentence = running.end().sentence();
    assert!(sentence.contains("died with its node node-b1"), "{sentence}");
    // Its next incarnation is as far away as it was.
    wait_until("node-b1 is back", || {
        let vm = machine.vm("node-b1");
        vm.state == "ready" && vm.generation == 2
    });
    assert_eq!(machine.run(8, &["hello"]).lines().count(), 8);
    let [within, between] = ratios(&machine);
    assert!(within > 1.0 && between > 2.0, "within {within}, between {between}");
    machine.wait_until_idle();
}
