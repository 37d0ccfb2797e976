use super::*;

const COST: u64 = 10_000;

#[test]
fn short_waits_are_polled_for() {
    let mut pause = Pause::new(COST);
    (0..REMEMBERED).for_each(|_| pause.waited(700));
    assert_eq!(pause.budget(), 700);
}

#[test]
fn long_waits_are_not_polled_for() {
    let mut pause = Pause::new(COST);
    (0..REMEMBERED).for_each(|_| pause.waited(100 * COST));
    assert_eq!(pause.budget(), 0);
}

#[test]
fn after_long_waits_short_ones_are_noticed() {
    let mut pause = Pause::new(COST);
    (0..REMEMBERED).for_each(|_| pause.waited(100 * COST));
    // It sleeps at once, so a wait of 500 is measured with the waking.
    (0..REMEMBERED).for_each(|_| pause.waited(500 + COST));
    assert_eq!(pause.budget(), 500);
}

#[test]
fn few_short_waits_among_long_ones_are_polled_for_if_that_is_cheap() {
    let mut pause = Pause::new(COST);
    for _ in 0..REMEMBERED {
        pause.waited(100);
        pause.waited(100 * COST);
    }
    assert_eq!(pause.budget(), 100);
}
