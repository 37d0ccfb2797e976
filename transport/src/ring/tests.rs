use super::*;

const EPOCH: Epoch = Epoch { writer: 1, reader: 1 };

fn ends(slots: usize) -> (SharedMemory, Writer, Reader) {
    let memory = SharedMemory::heap(SLOTS + slots * LINE);
    let (mut writer, mut reader) =
        (Writer::new(memory.clone()).unwrap(), Reader::new(memory.clone()).unwrap());
    writer.synchronise(EPOCH);
    reader.synchronise(EPOCH);
    (memory, writer, reader)
}

fn pop(reader: &mut Reader) -> Option<(Slot, Vec<u8>)> {
    let (slot, payload) = reader.pop()?;
    Some((slot, payload_bytes(&payload)[..slot.used].to_vec()))
}

fn push(writer: &mut Writer, bytes: &[u8]) -> Result<(), Full> {
    writer.push(Slot { place: Place::WHOLE, used: bytes.len() }, &payload(bytes))
}

#[test]
fn a_window_is_used_as_far_as_a_power_of_two_goes() {
    assert_eq!(slots_in(24 * 1024), Ok(256));
    assert_eq!(slots_in(SLOTS + 7 * LINE), Ok(4));
    assert_eq!(slots_in(SLOTS + LINE), Ok(1));
    assert_eq!(slots_in(SLOTS), Err(TooSmall));
    assert_eq!(slots_in(0), Err(TooSmall));
    assert_eq!(slots_in(usize::MAX), Ok(MAX_SLOTS as u32));
}

#[test]
fn payloads_of_all_lengths_keep_their_bytes() {
    let (_, mut writer, mut reader) = ends(4);
    for length in 0..=PAYLOAD_BYTES {
        let bytes: Vec<u8> = (1..=length as u8).collect();
        push(&mut writer, &bytes).unwrap();
        assert_eq!(pop(&mut reader), Some((Slot { place: Place::WHOLE, used: length }, bytes)));
    }
}

#[test]
fn a_full_ring_refuses_until_its_reader_tells() {
    let (_, mut writer, mut reader) = ends(8);
    (0..8).for_each(|byte| push(&mut writer, &[byte]).unwrap());
    assert_eq!(push(&mut writer, &[8]), Err(Full));
    pop(&mut reader).unwrap();
    assert_eq!(push(&mut writer, &[8]), Err(Full), "told each quarter only");
    pop(&mut reader).unwrap();
    assert_eq!(writer.free(), 2);
}

#[test]
fn sequences_wrap() {
    let (memory, mut writer, mut reader) = ends(4);
    let start = SEQUENCE - 5;
    (writer.next, writer.looked) = (start, start);
    (reader.next, reader.published, reader.looked) = (start, start, start);
    memory.word(POSITION).store(tagged(EPOCH.tag(), start), Relaxed);
    for byte in 0..20 {
        reader.arm();
        push(&mut writer, &[byte]).unwrap();
        assert!(writer.bell_due());
        assert!(reader.is_ready());
        assert_eq!(pop(&mut reader).unwrap().1, [byte]);
        assert!(!reader.is_ready());
    }
    (0..4).for_each(|byte| push(&mut writer, &[byte]).unwrap());
    assert_eq!(writer.free(), 0);
}

#[test]
fn impossible_positions_free_nothing_and_are_counted() {
    let (memory, mut writer, _) = ends(4);
    (0..4).for_each(|byte| push(&mut writer, &[byte]).unwrap());
    let tag = EPOCH.tag();
    let lies = [tagged(tag, 5), tagged(tag, SEQUENCE), tagged(tag, 1 << 24 | 1), tagged(tag, u32::MAX)];
    for (count, lie) in (1..).zip(lies) {
        memory.word(POSITION).store(lie, Relaxed);
        assert_eq!(writer.free(), 0);
        assert_eq!(writer.refused(), count);
    }
    memory.word(POSITION).store(tagged(tag + 1, 4), Relaxed);
    assert_eq!((writer.free(), writer.refused()), (0, 4), "another epoch's is no lie");
    memory.word(POSITION).store(tagged(tag, 4), Relaxed);
    assert_eq!(writer.free(), 4);
}

#[test]
fn tags_are_never_zero_and_neighbours_differ() {
    for generation in [1, 2, 0xfffe, 0xffff, 0x1_0000, u32::MAX - 1] {
        let tag = |writer, reader| Epoch { writer, reader }.tag();
        let here = tag(generation, generation);
        assert_ne!(here, 0);
        for other in [tag(generation + 1, generation), tag(generation, generation + 1)] {
            assert_ne!(here, other);
        }
    }
}

#[test]
fn a_cleared_ring_gives_nothing() {
    let (_, mut writer, mut reader) = ends(4);
    push(&mut writer, &[1]).unwrap();
    writer.synchronise(Epoch { writer: 2, reader: 1 });
    assert_eq!(pop(&mut reader), None);
}

#[test]
fn only_what_was_published_since_the_last_look_is_rung_for() {
    let (_, mut writer, mut reader) = ends(4);
    reader.arm();
    push(&mut writer, &[1]).unwrap();
    push(&mut writer, &[2]).unwrap();
    assert!(writer.bell_due());
    assert!(!writer.bell_due());
    push(&mut writer, &[3]).unwrap();
    assert!(!writer.bell_due(), "the reader was rung already");
    (0..3).for_each(|_| _ = pop(&mut reader).unwrap());
    reader.arm();
    assert!(!writer.bell_due(), "nothing new");
    push(&mut writer, &[4]).unwrap();
    assert!(writer.bell_due());
}

#[test]
fn sequences_are_what_the_page_says() {
    let page = include_str!("../../../docs/protocol.md");
    assert!(page.contains(&format!("| `ring::SEQUENCE` | {SEQUENCE} |")));
}

#[test]
fn only_the_first_incarnation_leaves_the_slots_alone_and_only_once() {
    let memory = SharedMemory::heap(SLOTS + 4 * LINE);
    let headers = |value| (0..4).all(|slot| memory.word(SLOTS + slot * LINE).load(Relaxed) == value);
    let fill = || (0..4).for_each(|slot| memory.word(SLOTS + slot * LINE).store(1, Relaxed));
    let mut first = Writer::new(memory.clone()).unwrap();
    fill();
    first.synchronise(EPOCH);
    assert!(headers(1));
    first.synchronise(Epoch { writer: 1, reader: 2 });
    assert!(headers(0));
    fill();
    Writer::new(memory.clone()).unwrap().synchronise(Epoch { writer: 2, reader: 1 });
    assert!(headers(0));
}
