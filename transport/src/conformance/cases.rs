//! The cases. Over rings they are what protocol.md promises of R8, D2, D3, D4, E6
//! and E7, over an Ethernet of W6 and W7; the last is about H1 and H7.

use super::{Case, End, World};
use crate::link::MAX_MESSAGE;

/// Everything that a link is held to.
pub const CASES: &[Case] = &[
    ("messages arrive whole and in order", messages_arrive_whole_and_in_order),
    ("a slow end pushes back", a_slow_end_pushes_back),
    ("no wake-up is lost, and who has nothing to do sleeps", no_wake_up_is_lost),
    ("a partition is a delay", a_partition_is_a_delay),
    ("an end restarts", an_end_restarts),
    ("both ends restart at once", both_ends_restart_at_once),
    ("what the dead sent arrives in order or not at all", what_the_dead_sent),
    ("a hostile end spoils its own conversation", a_hostile_end_spoils_its_own_conversation),
];

/// Bytes that may be under way at most when one end does not read.
const MOST_UNDER_WAY: usize = 1 << 20;

/// Each end writes some messages.
fn write_some(world: &mut World, most: u64) {
    for end in [0, 1] {
        for _ in 0..world.random.below(most) {
            let length = world.some_length();
            world.write(end, length);
        }
    }
}

/// A conversation that goes on for a while.
fn talk(world: &mut World, rounds: usize) {
    for _ in 0..rounds {
        write_some(world, 12);
        let pause = world.random.below(3_000_000);
        world.run_for(pause);
    }
    world.run_until(World::all_arrived);
}

fn messages_arrive_whole_and_in_order(world: &mut World) {
    talk(world, 12);
    for length in [24, MAX_MESSAGE, 25, MAX_MESSAGE - 1, MAX_MESSAGE] {
        world.write(0, length);
        world.write(1, length);
    }
    world.run_until(World::all_arrived);
}

fn a_slow_end_pushes_back(world: &mut World) {
    let slow = world.random.below(2) as End;
    talk(world, 1);
    world.freeze(slow, true);
    let length = 24 + world.random.below(8000) as usize;
    let count = 2 * MOST_UNDER_WAY / length;
    (0..count).for_each(|_| world.write(1 - slow, length));
    world.run_for(200_000_000);
    if (count - world.waiting(1 - slow)) * length > MOST_UNDER_WAY {
        world.fail("there is no end to what can be sent to an end that does not read");
    }
    world.freeze(slow, false);
    world.run_until(World::all_arrived);
}

fn no_wake_up_is_lost(world: &mut World) {
    for _ in 0..40 {
        write_some(world, 4);
        // From nothing under way to much, at any moment.
        match world.random.below(3) {
            0 => world.run_until(World::all_arrived),
            1 => world.run_until_quiet(),
            _ => {
                let pause = world.random.below(200_000);
                world.run_for(pause);
            }
        }
    }
    world.run_until(World::all_arrived);
    // It ends: no timer goes on while nothing is under way.
    world.run_until_quiet();
}

fn a_partition_is_a_delay(world: &mut World) {
    for _ in 0..3 {
        write_some(world, 10);
        let before = world.random.below(1_000_000);
        world.run_for(before);
        world.cut(true);
        write_some(world, 10);
        let partitioned = world.random.below(30_000_000_000);
        world.run_for(partitioned);
        world.cut(false);
        world.run_until(World::all_arrived);
    }
}

/// An end that died at any moment meets its peer again, which noticed at any
/// other moment.
fn come_back(world: &mut World, end: End) {
    world.restart(end);
    let (dead, boots) = (world.random.below(3_000_000), world.random.below(3_000_000));
    if world.random.happens(0.5) {
        world.run_for(dead);
        world.bury(1 - end);
        world.meet(1 - end);
        write_some(world, 6);
        world.run_for(boots);
        world.meet(end);
    } else {
        world.run_for(boots);
        world.meet(end);
        write_once(world, end);
        world.run_for(dead);
        world.bury(1 - end);
        world.meet(1 - end);
    }
}

fn write_once(world: &mut World, end: End) {
    let length = world.some_length();
    world.write(end, length);
}

fn an_end_restarts(world: &mut World) {
    for _ in 0..4 {
        write_some(world, 12);
        let pause = world.random.below(2_000_000);
        world.run_for(pause);
        let end = world.random.below(2) as End;
        come_back(world, end);
        talk(world, 2);
    }
}

fn both_ends_restart_at_once(world: &mut World) {
    for _ in 0..4 {
        write_some(world, 12);
        let pause = world.random.below(2_000_000);
        world.run_for(pause);
        world.restart(0);
        world.restart(1);
        let first = world.random.below(2) as End;
        world.meet(first);
        write_once(world, first);
        let pause = world.random.below(4_000_000);
        world.run_for(pause);
        world.meet(1 - first);
        talk(world, 2);
    }
}

fn what_the_dead_sent(world: &mut World) {
    let dead = world.random.below(2) as End;
    talk(world, 1);
    let before = world.received(1 - dead);
    world.freeze(1 - dead, true);
    let count = 1 + world.random.below(20) as u32;
    (0..count).for_each(|_| world.write(dead, 24 + count as usize));
    world.run_for(1_000_000);
    let sent = count - world.waiting(dead) as u32;
    world.restart(dead);
    world.freeze(1 - dead, false);
    // What is received here is checked as ever: a beginning of what was sent.
    world.bury(1 - dead);
    let arrived = world.received(1 - dead) - before;
    if arrived > sent || world.keeps() && arrived < sent {
        world.fail(&format!("of {sent} messages of the dead, {arrived} arrived"));
    }
    world.meet(1 - dead);
    world.meet(dead);
    talk(world, 1);
}

fn a_hostile_end_spoils_its_own_conversation(world: &mut World) {
    let hostile = world.random.below(2) as End;
    talk(world, 1);
    world.freeze(hostile, true);
    world.check_received(false);
    for _ in 0..300 {
        world.spoil(hostile);
        if world.random.happens(0.2) {
            write_once(world, 1 - hostile);
        }
        let pause = world.random.below(100_000);
        world.run_for(pause);
    }
    // Its next life is as honest as any, and begins afresh.
    world.bury(1 - hostile);
    world.restart(hostile);
    world.check_received(true);
    world.meet(1 - hostile);
    world.meet(hostile);
    talk(world, 2);
}
