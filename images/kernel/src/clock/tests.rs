//! A simulated host whose clock drifts and is corrected, and VMs on it, from
//! seeds that proptest prints.

use super::exchange::{Answerer, Asker, EXCHANGE_BYTES};
use super::keeper::{Keeper, LEAD_NS, MOST_SLEW_PPM, Reading};
use super::line::{Line, Timeline, nanoseconds, scale, ticks};
use super::offset::{Bounds, Offset, Round};
use super::page::{PAGE_BYTES, Page};
use super::steering::{Map, RECHECK_NS, SLEW, Steering};
use proptest::prelude::*;
use transport::memory::SharedMemory;

const SECOND: u64 = 1_000_000_000;

/// A small generator of choices (Steele, Lea and Flood, "SplitMix", 2014).
struct Choices(u64);

impl Choices {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end.max(1)
    }

    /// Some microseconds, and now and then a stall of up to two seconds.
    fn delay(&mut self, least: u64, spread: u64) -> u64 {
        let stall = if self.below(20) == 0 { self.below(2 * SECOND) } else { 0 };
        least + self.below(spread) + stall
    }
}

/// A host: true nanoseconds, its ticks, and its clock, whose rate the host changes.
struct Host {
    now: u64,
    /// Ticks per second.
    hertz: u64,
    /// The host's clock goes through here...
    clock: (u64, u64),
    /// ...at this many millionths more or less than the true rate.
    drift_ppm: i64,
    wall_at_0: u64,
}

impl Host {
    fn ticks_at(&self, ns: u64) -> u64 {
        (u128::from(ns) * u128::from(self.hertz) / u128::from(SECOND)) as u64
    }

    fn clock_at(&self, ns: u64) -> u64 {
        let passed = (ns - self.clock.0) as i64;
        self.clock.1 + (passed + (i128::from(passed) * i128::from(self.drift_ppm) / 1_000_000) as i64) as u64
    }

    fn correct(&mut self, drift_ppm: i64) {
        self.clock = (self.now, self.clock_at(self.now));
        self.drift_ppm = drift_ppm;
    }

    /// As the launcher reads it: ticks and clock 100 ns apart at most.
    fn reading(&self, choices: &mut Choices) -> Reading {
        let monotonic_ns = self.clock_at(self.now + choices.below(100));
        let ticks = self.ticks_at(self.now + choices.below(100));
        Reading { ticks, monotonic_ns, wall_ns: self.wall_at_0 + monotonic_ns }
    }
}

/// A VM: where its ticks began, and what it knows and shows.
struct Vm {
    born: u64,
    offset: Offset,
    steering: Steering,
    map: Map,
    last: u64,
    last_width: u64,
}

impl Vm {
    fn new(page: &Page, host: &Host) -> Self {
        let steering = Steering::new(page.clone(), host.ticks_at(host.now) as i64);
        // Its ticks begin some milliseconds after it was started.
        let born = host.ticks_at(host.now + 20_000_000);
        let map = steering.map(0, 0).expect("there is a timeline");
        Self { born, offset: Offset::default(), steering, map, last: 0, last_width: u64::MAX }
    }

    fn ticks_at(&self, host: &Host, ns: u64) -> u64 {
        host.ticks_at(ns).saturating_sub(self.born)
    }

    /// What it shows now, as the runtime does it.
    fn read(&mut self, host: &Host) -> u64 {
        let now = self.ticks_at(host, host.now);
        if now >= self.map.until {
            let shown = self.map.line.at(self.map.until);
            self.map = self.steering.map(now, shown).expect("there is a timeline");
        }
        let shown = self.map.line.at(now);
        assert!(shown >= self.last, "it went back from {} to {shown}", self.last);
        self.last = shown;
        shown
    }

    /// An exchange of a few rounds, each with its own delays both ways.
    fn exchange(&mut self, host: &mut Host, era: u64, choices: &mut Choices, quick: bool) {
        let spread = if quick { 500 } else { 50_000 };
        let mut delay =
            |least, spread| if quick { least + choices.below(spread) } else { choices.delay(least, spread) };
        let rounds: Vec<Round> = (0..4)
            .map(|_| {
                let sent = self.ticks_at(host, host.now);
                host.now += delay(200, spread);
                let read = host.ticks_at(host.now);
                host.now += delay(200, spread / 3);
                Round { sent, host: read, received: self.ticks_at(host, host.now) }
            })
            .collect();
        assert!(!self.offset.take(era, &rounds), "true rounds contradict each other");
        let bounds = self.offset.bounds().expect("there were rounds");
        assert!(bounds.holds(self.born as i64), "{bounds:?} does not hold {}", self.born);
        assert!(bounds.width() <= self.last_width, "what is known became less");
        self.last_width = bounds.width();
        let shown = self.read(host);
        self.steering.set_offset(bounds, era);
        let now = self.ticks_at(host, host.now);
        self.map = self.steering.map(now, shown).expect("there is a timeline");
    }
}

/// How far two times are from each other.
fn apart(a: u64, b: u64) -> u64 {
    a.abs_diff(b)
}

fn page() -> Page {
    Page::new(SharedMemory::heap(PAGE_BYTES)).expect("it is large enough")
}

/// A machine of `vms` VMs for `steps` steps. Calls `look` with the worst
/// disagreement of each step that nobody's uncertainty explains.
fn simulate(seed: u64, hertz: u64, steps: usize, quick: bool) -> (Vec<Vm>, Host, Keeper) {
    let mut choices = Choices(seed);
    let mut host = Host { now: 5 * SECOND, hertz, clock: (0, 0), drift_ppm: 17, wall_at_0: 1 << 60 };
    let first = host.reading(&mut choices);
    host.now += 20_000_000;
    let mut keeper = Keeper::new(first, host.reading(&mut choices));
    let page = page();
    page.write(keeper.timeline());
    let mut vms: Vec<Vm> = Vec::new();
    let mut due = host.now + keeper.wait_ns();
    for _ in 0..steps {
        host.now += choices.below(SECOND / 2);
        match choices.below(8) {
            0 if vms.len() < 4 => vms.push(Vm::new(&page, &host)),
            1 => host.correct(choices.below(200) as i64 - 100),
            2 | 3 if !vms.is_empty() => {
                let index = choices.below(vms.len() as u64) as usize;
                // A VM that has not begun to count takes part in nothing.
                if vms[index].ticks_at(&host, host.now) > 0 {
                    vms[index].exchange(&mut host, keeper.timeline().era, &mut choices, quick);
                }
            }
            _ => {}
        }
        // The launcher is late now and then, as it may be.
        if host.now >= due + choices.below(4) * choices.below(SECOND) {
            let old = *keeper.timeline();
            if keeper.take(host.reading(&mut choices)) {
                check_joint(&old, keeper.timeline());
                page.write(keeper.timeline());
            }
            due = host.now + keeper.wait_ns();
        }
        check(&mut vms, &host, keeper.timeline());
    }
    (vms, host, keeper)
}

/// Nothing that was shown changes, nor the time at the joint; the rate hardly does.
fn check_joint(old: &Timeline, new: &Timeline) {
    assert_eq!(new.before, old.after);
    let joint = new.after.ticks;
    assert_eq!(new.after.ns, old.at(joint), "it is continuous");
    let most = u128::from(new.before.scale) * u128::from(2 * MOST_SLEW_PPM + 500) / 1_000_000;
    assert!(u128::from(new.after.scale.abs_diff(new.before.scale)) <= most, "it turns too sharply");
}

/// All VMs agree with the machine's time, and so with each other, as well as they say.
fn check(vms: &mut [Vm], host: &Host, timeline: &Timeline) {
    let truth = timeline.at(host.ticks_at(host.now));
    for vm in vms {
        let now = vm.ticks_at(host, host.now);
        let shown = vm.read(host);
        if let Some(error) = vm.steering.uncertainty_ns(now, shown) {
            assert!(apart(shown, truth) <= error, "{shown} is not within {error} of {truth}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever stalls: intervals hold the truth, nothing goes back, all that is claimed is so.
    #[test]
    fn what_a_vm_says_of_its_clock_is_so(seed: u64, hertz in 20_000_000u64..6_000_000_000) {
        simulate(seed, hertz, 400, false);
    }

    /// Where rounds take a microsecond, VMs agree within 5, and with the host's clock.
    #[test]
    fn quick_rounds_make_clocks_agree(seed: u64, hertz in 500_000_000u64..6_000_000_000) {
        let (mut vms, mut host, mut keeper) = simulate(seed, hertz, 400, true);
        for vm in &mut vms {
            if vm.ticks_at(&host, host.now) > 0 {
                vm.exchange(&mut host, 1, &mut Choices(seed), true);
            }
            host.now += 10_000_000;
            let now = vm.ticks_at(&host, host.now);
            let shown = vm.read(&host);
            let error = vm.steering.uncertainty_ns(now, shown).expect("there was an exchange");
            prop_assert!(error < 2_500, "{error}");
        }
        // The host stops correcting its clock: the machine's meets it.
        for _ in 0..20 {
            host.now += keeper.wait_ns() + LEAD_NS;
            keeper.take(host.reading(&mut Choices(seed)));
        }
        let off = apart(keeper.timeline().at(host.ticks_at(host.now)), host.clock_at(host.now));
        prop_assert!(off < 2_000, "{off} ns from the host's clock");
    }

    /// A time that is ahead runs slower until it is right, and no slower than it may.
    #[test]
    fn a_time_that_is_ahead_is_slewed(ahead in 0u64..50_000, hertz in 500_000_000u64..6_000_000_000) {
        let page = page();
        let line = Line { ticks: 0, ns: 0, scale: scale(SECOND, hertz).unwrap() };
        page.write(&Timeline { before: line, after: line, wall_before: 0, wall_after: 0, era: 1 });
        let steering = Steering::new(page, 0);
        let mut now = hertz;
        let mut shown = line.at(now) + ahead;
        while shown > line.at(now) {
            let map = steering.map(now, shown).unwrap();
            prop_assert!(map.line.scale >= line.scale - line.scale / SLEW, "slower than it may be");
            prop_assert!(map.until > now && map.until - now <= ticks(RECHECK_NS, line.scale));
            let then = map.line.at(map.until);
            prop_assert!(then >= shown && then.saturating_sub(line.at(map.until)) <= shown - line.at(now));
            (now, shown) = (map.until, then);
        }
        prop_assert!(nanoseconds(now - hertz, line.scale) <= ahead * (SLEW + 1) + RECHECK_NS);
        // What is behind is shown at once.
        prop_assert_eq!(steering.map(now, 0).unwrap().line.ns, line.at(now));
    }
}

#[test]
fn rounds_that_contradict_what_was_known_replace_it() {
    let round = |offset: u64| Round { sent: 100, host: 150 + offset, received: 200 };
    let mut offset = Offset::default();
    assert!(!offset.take(1, &[round(0), round(30)]));
    let both = offset.bounds().unwrap();
    assert!(both.holds(0) && both.holds(30) && both.width() == 70);
    // The VM was stopped meanwhile: its ticks stood still.
    assert!(offset.take(1, &[round(10_000)]));
    assert!(offset.bounds().unwrap().holds(10_000) && offset.contradictions() == 1);
    // In another era nothing that was known means anything.
    assert!(!offset.take(2, &[round(0)]));
    assert!(offset.bounds().unwrap().holds(0) && offset.era() == 2);
    assert!(!offset.take(2, &[]), "no rounds tell nothing");
    assert_eq!(Bounds::of(&Round { sent: 5, host: 0, received: 4 }), None, "out of order");
    assert_eq!((offset.rounds(), offset.contradictions()), (4, 1));
}

#[test]
fn a_host_whose_ticks_jump_begins_an_era() {
    let reading = |seconds: u64, ticks: u64| Reading { ticks, monotonic_ns: seconds * SECOND, wall_ns: 0 };
    for jumped in [7, 100 * SECOND] {
        let mut keeper = Keeper::new(reading(1, SECOND), reading(2, 2 * SECOND));
        assert!(keeper.take(reading(3, 3 * SECOND)) && keeper.timeline().era == 1);
        assert!(!keeper.take(reading(3, 3 * SECOND + 1)), "the last line does not count yet");
        assert!(keeper.take(reading(4, jumped)) && keeper.timeline().era == 2);
        assert_eq!(keeper.timeline().at(jumped), 4 * SECOND);
        // What was known of offsets is known no more.
        let page = page();
        page.write(keeper.timeline());
        let steering = Steering::new(page, 0);
        let bounds = Bounds::of(&Round { sent: 1, host: 1, received: 1 }).unwrap();
        steering.set_offset(bounds, 1);
        assert_eq!(steering.uncertainty_ns(0, 0), None);
        steering.set_offset(bounds, 2);
        assert!(steering.uncertainty_ns(0, 0).is_some());
    }
}

#[test]
fn a_date_that_is_set_is_followed_at_one_tick() {
    let reading = |seconds: u64, wall: u64| Reading {
        ticks: seconds * SECOND,
        monotonic_ns: seconds * SECOND,
        wall_ns: wall + seconds * SECOND,
    };
    let mut keeper = Keeper::new(reading(1, 500), reading(2, 500));
    assert!(keeper.take(reading(3, 600)));
    assert_eq!(keeper.timeline().wall_after, 500, "readings are not as exact");
    assert!(keeper.take(reading(4, 900 * SECOND)));
    let joint = keeper.timeline().after.ticks;
    assert_eq!(keeper.timeline().line(joint - 1).1, 500);
    assert_eq!(keeper.timeline().line(joint).1, 900 * SECOND);
}

#[test]
fn the_page_holds_what_was_written_last() {
    let page = page();
    assert_eq!(page.read(), None);
    assert_eq!(Steering::new(page.clone(), 0).map(0, 0), None, "nobody knows the time yet");
    for era in 1..5 {
        let line = |ns| Line { ticks: era, ns, scale: 3 * era };
        let timeline = Timeline { before: line(1), after: line(2), wall_before: 8, wall_after: 9, era };
        page.write(&timeline);
        assert_eq!(page.read(), Some(timeline));
    }
    assert!(Page::new(SharedMemory::heap(64)).is_none());
}

/// Whatever a reader meets, it is one timeline, never parts of two.
#[test]
fn a_page_is_read_whole_while_it_is_written() {
    let page = page();
    let writer = page.clone();
    let write = move || {
        for n in 1..200_000 {
            let line = Line { ticks: n, ns: n, scale: n };
            writer.write(&Timeline { before: line, after: line, wall_before: n, wall_after: n, era: n });
        }
    };
    let writing = std::thread::spawn(write);
    while !writing.is_finished() {
        if let Some(Timeline { before, after, wall_before, wall_after, era }) = page.read() {
            let all = [before.ns, before.scale, after.ticks, after.ns, wall_before, wall_after, era];
            assert!(all.iter().all(|&word| word == before.ticks), "{all:?}");
        }
    }
    writing.join().unwrap();
    assert_eq!(page.read().unwrap().era, 199_999);
}

#[test]
fn asks_are_answered_once_and_by_number() {
    let words = SharedMemory::heap(EXCHANGE_BYTES);
    let mut asker = Asker::new(words.clone(), 7).unwrap();
    let mut answerer = Answerer::new(words.clone()).unwrap();
    asker.ask();
    assert_eq!(asker.answer(), None);
    assert!(answerer.answer(|| 55) && !answerer.answer(|| 66));
    assert_eq!(asker.answer(), Some(55));
    // An answer to an ask that was given up is none to the next one.
    asker.ask();
    asker.ask();
    assert_eq!(asker.answer(), None);
    // The words are those of the page that states the protocol.
    assert_eq!(words.word(64).load(std::sync::atomic::Ordering::Relaxed), 7 << 32 | 3);
    assert!(Asker::new(SharedMemory::heap(64), 1).is_none());
}
