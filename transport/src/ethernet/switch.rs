//! An Ethernet switch as a function: frames in, time, frames out.
//!
//! A *line* joins two ports; what it does to frames is in [`Faults`]. A frame
//! that does not come from its port's own address, or goes where no line leads,
//! is dropped and counted: identity cannot be forged. So many frames are on
//! their way between two ports and no more; further ones are lost, as on any
//! Ethernet.

use super::faults::Faults;
use super::{MAX_FRAME, ends};
use alloc::collections::{BTreeMap, BinaryHeap};
use alloc::vec::Vec;
use core::cmp::Reverse;

/// Most frames that are on their way from one port to another.
pub const MOST_ON_THE_WAY: usize = 64;

/// What has become of frames since the switch was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SwitchCounters {
    /// Frames handed on, copies included.
    pub delivered: u64,
    /// Frames lost because their line's faults, or a partition, had it so.
    pub lost: u64,
    /// Frames dropped because too many were on their way.
    pub overrun: u64,
    /// Frames dropped because they were not from their port's address, too
    /// long, or for nobody.
    pub refused: u64,
}

/// One way of a line.
#[derive(Debug, Default)]
struct Way {
    faults: Faults,
    /// Nothing passes.
    cut: bool,
    /// Frames that were sent this way.
    sent: u64,
    on_the_way: usize,
}

/// A frame on its way; the earliest due, then the first sent, comes first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Travelling {
    due_ns: u64,
    sequence: u64,
    from: u16,
    to: u16,
    frame: Vec<u8>,
}

/// The switch.
#[derive(Debug, Default)]
pub struct Switch {
    ways: BTreeMap<(u16, u16), Way>,
    travelling: BinaryHeap<Reverse<Travelling>>,
    sequence: u64,
    counters: SwitchCounters,
}

impl Switch {
    /// Joins the ports of two peers, both ways.
    pub fn join(&mut self, a: u16, b: u16, faults: Faults) {
        for way in [(a, b), (b, a)] {
            self.ways.entry(way).or_default().faults = faults;
        }
    }

    /// Cuts the line between two ports, or mends it. What is on its way arrives.
    pub fn cut(&mut self, a: u16, b: u16, cut: bool) {
        for way in [(a, b), (b, a)] {
            if let Some(way) = self.ways.get_mut(&way) {
                way.cut = cut;
            }
        }
    }

    /// Takes a frame that came in at a port.
    pub fn accept(&mut self, now_ns: u64, port: u16, frame: &[u8]) {
        let to = ends(frame).filter(|&(from, _)| from == port && frame.len() <= MAX_FRAME);
        let Some((to, way)) = to.and_then(|(_, to)| Some((to, self.ways.get_mut(&(port, to))?))) else {
            self.counters.refused += 1;
            return;
        };
        let number = way.sent;
        way.sent += 1;
        let fate = if way.cut { [None, None] } else { way.faults.fate(port, to, number) };
        self.counters.lost += u64::from(fate[0].is_none());
        for delay in fate.into_iter().flatten() {
            if way.on_the_way == MOST_ON_THE_WAY {
                self.counters.overrun += 1;
                return;
            }
            way.on_the_way += 1;
            self.sequence += 1;
            let (due_ns, sequence) = (now_ns.saturating_add(delay), self.sequence);
            let travelling = Travelling { due_ns, sequence, from: port, to, frame: frame.to_vec() };
            self.travelling.push(Reverse(travelling));
        }
    }

    /// The next frame that is due, and the port that it goes out of.
    pub fn deliver(&mut self, now_ns: u64) -> Option<(u16, Vec<u8>)> {
        if self.deadline()? > now_ns {
            return None;
        }
        let Reverse(Travelling { from, to, frame, .. }) = self.travelling.pop()?;
        if let Some(way) = self.ways.get_mut(&(from, to)) {
            way.on_the_way -= 1;
        }
        self.counters.delivered += 1;
        Some((to, frame))
    }

    /// When the next frame is due.
    pub fn deadline(&self) -> Option<u64> {
        self.travelling.peek().map(|Reverse(first)| first.due_ns)
    }

    /// What has become of frames.
    pub fn counters(&self) -> SwitchCounters {
        self.counters
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ethernet::frame_header;

    fn switch(faults: Faults) -> Switch {
        let mut switch = Switch::default();
        switch.join(1, 2, faults);
        switch
    }

    fn frame(from: u16, to: u16, content: u8) -> Vec<u8> {
        [&frame_header(from, to)[..], &[content]].concat()
    }

    #[test]
    fn a_frame_arrives_after_the_delay_in_order() {
        let mut switch = switch(Faults { delay_ns: 10, ..Faults::default() });
        switch.accept(0, 1, &frame(1, 2, 7));
        switch.accept(5, 1, &frame(1, 2, 8));
        switch.accept(5, 2, &frame(2, 1, 9));
        assert_eq!((switch.deadline(), switch.deliver(9)), (Some(10), None));
        assert_eq!(switch.deliver(15), Some((2, frame(1, 2, 7))));
        assert_eq!(switch.deliver(15), Some((2, frame(1, 2, 8))));
        assert_eq!(switch.deliver(15), Some((1, frame(2, 1, 9))));
        assert_eq!((switch.deadline(), switch.deliver(15)), (None, None));
        assert_eq!(switch.counters(), SwitchCounters { delivered: 3, ..SwitchCounters::default() });
    }

    #[test]
    fn a_port_cannot_speak_for_another_nor_to_whom_it_has_no_line() {
        let mut switch = switch(Faults::default());
        switch.join(2, 3, Faults::default());
        for bad in [frame(2, 1, 0), frame(1, 3, 0), frame(1, 1, 0), vec![], vec![0; 64], {
            let mut long = frame(1, 2, 0);
            long.resize(MAX_FRAME + 1, 0);
            long
        }] {
            switch.accept(0, 1, &bad);
        }
        assert_eq!(switch.deliver(u64::MAX), None);
        assert_eq!(switch.counters().refused, 6);
    }

    #[test]
    fn a_cut_line_loses_everything_until_it_is_mended() {
        let mut switch = switch(Faults::default());
        switch.cut(2, 1, true);
        switch.accept(0, 1, &frame(1, 2, 0));
        switch.accept(0, 2, &frame(2, 1, 0));
        assert_eq!((switch.deliver(0), switch.counters().lost), (None, 2));
        switch.cut(1, 2, false);
        switch.accept(0, 1, &frame(1, 2, 3));
        assert_eq!(switch.deliver(0), Some((2, frame(1, 2, 3))));
    }

    #[test]
    fn what_is_on_its_way_is_bounded() {
        let mut switch = switch(Faults { delay_ns: 1, ..Faults::default() });
        for _ in 0..3 * MOST_ON_THE_WAY {
            switch.accept(0, 1, &frame(1, 2, 0));
        }
        assert_eq!(switch.counters().overrun, 2 * MOST_ON_THE_WAY as u64);
        assert_eq!(core::iter::from_fn(|| switch.deliver(1)).count(), MOST_ON_THE_WAY);
        switch.accept(1, 1, &frame(1, 2, 5));
        assert_eq!(switch.deliver(2), Some((2, frame(1, 2, 5))));
    }
}
