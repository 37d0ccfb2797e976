//! A VM that sends any notices at all: nobody panics, the others talk on
//! (protocol.md N5, N6, N7, H6).

use super::anybody;
use super::network::{Network, incarnation};
use crate::executor::lock;
use crate::pipe::wire::{Kind, Open, Slot, word};
use crate::pipe::{MAX_SENDERS, MAX_SENDERS_OF_ONE, Sender, Target, WINDOW, wire};
use crate::protocol::encode;
use crate::protocol::tasks::TaskForceId;
use proptest::prelude::*;
use std::sync::{Arc, Mutex};

/// The VM that is not to be trusted.
const LIAR: usize = 2;

type Notice = (u32, u64, Vec<u8>);

fn slot() -> impl Strategy<Value = Slot> {
    (0..6u32, 0..3u32).prop_map(|(index, generation)| Slot { index, generation })
}

fn open_body() -> impl Strategy<Value = Vec<u8>> {
    let target = prop_oneof![
        (0..2u32, 0..3u32).prop_map(|(index, generation)| Target::Pipe(index, generation)),
        (0..2u16).prop_map(|index| Target::Mailbox(TaskForceId(1), index)),
    ];
    let activity = prop::option::of((0..2u64, 0..3u16).prop_map(|(id, index)| (TaskForceId(id), index)));
    (target, slot(), activity).prop_map(|(target, end, activity)| encode(&Open { target, end, activity }))
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        open_body(),
        slot().prop_map(|slot| encode(&slot)),
        prop::collection::vec(any::<u8>(), 0..40),
        (0..70_000usize).prop_map(|size| vec![0; size]),
    ]
}

fn kind() -> impl Strategy<Value = Kind> {
    use Kind::{Close, Closed, Credit, Data, Open, Opened, Refused};
    prop::sample::select(vec![Close, Closed, Credit, Data, Data, Data, Open, Opened, Refused])
}

fn notice() -> impl Strategy<Value = Notice> {
    let argument = prop_oneof![0..200_000u32, Just(wire::MAX_ARGUMENT)];
    let sensible = (kind(), argument, slot(), body());
    prop_oneof![
        2 => open_body().prop_map(|body| (0, word(Kind::Open, 0, 0), body)),
        7 => sensible.prop_map(|(kind, argument, slot, body)| {
            (slot.index, word(kind, argument, slot.generation), body)
        }),
        1 => (any::<u32>(), any::<u64>(), body()),
    ]
}

/// Opens a sending end from VM 1 to the only pipe of VM 0.
fn open(network: &Network) -> Sender {
    let result = Arc::new(Mutex::new(None));
    let (pipes, opened) = (network.pipes[1].clone(), result.clone());
    network.spawn(1, async move {
        *lock(&opened) = Some(pipes.open_at(incarnation(0), Target::Pipe(0, 1), None).await);
    });
    network.settle();
    lock(&result).take().expect("it is answered").expect("it is let in")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn a_liar_spoils_nothing_but_its_own(notices in prop::collection::vec((0..2usize, notice()), 0..300)) {
        let mut network = Network::new(3, 1_000_000);
        network.deaf = Some(LIAR);
        let receiver = network.pipes[0].create(anybody());
        let sender = open(&network);
        for (number, (vm, (index, word, body))) in notices.into_iter().enumerate() {
            network.pipes[vm].take(incarnation(LIAR), index, word, body.into());
            if number % 10 == 0 {
                let mark = (number as u32).to_le_bytes();
                sender.try_send(&mark).expect("there is room");
                network.settle();
                let mut waiting = 0;
                loop {
                    let message = receiver.try_receive().expect("what was sent");
                    if message.origin.vm == incarnation(1) {
                        prop_assert_eq!(message.body, mark);
                        break;
                    }
                    waiting += message.body.len();
                }
                prop_assert!(waiting <= MAX_SENDERS * WINDOW as usize);
            }
            let (_, inlets, _) = network.pipes[0].ends();
            // One activity unnamed and six named ones, as the notices have it.
            prop_assert!(inlets <= 1 + 7 * MAX_SENDERS_OF_ONE);
        }
        network.kill(LIAR, 0);
        prop_assert_eq!(network.pipes[0].ends(), (1, 1, 0));
        prop_assert_eq!(network.pipes[1].ends(), (0, 0, 1));
    }
}
