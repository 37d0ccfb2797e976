//! The smallest image, for tests: an ELF header, two program headers, the note of
//! the entry point, and 32-bit code.

const BASE: u32 = 0x20_0000;
const NOTE: u32 = 64 + 2 * 56;
const CODE: u32 = NOTE + 20;

/// An image that a VM enters at the start of `code`.
pub fn image(code: &[u8]) -> Vec<u8> {
    let size = u64::from(CODE) + code.len() as u64;
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let half = |elf: &mut Vec<u8>, value: u16| elf.extend(value.to_le_bytes());
    let word = |elf: &mut Vec<u8>, value: u32| elf.extend(value.to_le_bytes());
    let long = |elf: &mut Vec<u8>, value: u64| elf.extend(value.to_le_bytes());
    half(&mut elf, 2); // executable
    half(&mut elf, 62); // x86-64
    word(&mut elf, 1);
    long(&mut elf, u64::from(BASE + CODE));
    long(&mut elf, 64); // program headers
    long(&mut elf, 0);
    word(&mut elf, 0);
    for value in [64, 56, 2, 64, 0, 0] {
        half(&mut elf, value);
    }
    // Type, flags, offset, addresses, sizes, alignment.
    for (kind, offset, bytes) in [(1, 0, size), (4, u64::from(NOTE), 20)] {
        word(&mut elf, kind);
        word(&mut elf, 7);
        long(&mut elf, offset);
        long(&mut elf, u64::from(BASE) + offset);
        long(&mut elf, u64::from(BASE) + offset);
        long(&mut elf, bytes);
        long(&mut elf, bytes);
        long(&mut elf, 4);
    }
    // The note of the 32-bit entry point: lengths, type, name, value.
    for value in [4, 4, 18, u32::from_le_bytes(*b"Xen\0"), BASE + CODE] {
        word(&mut elf, value);
    }
    elf.extend(code);
    elf
}
