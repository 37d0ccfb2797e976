//! The least image that QEMU boots: it says `!` on the serial port as its
//! first act, then ends its VM or halts. What bare QEMU costs, it costs.

/// What the image does after it has said so.
#[derive(Clone, Copy)]
pub enum Then {
    /// It halts for good.
    Halt,
    /// It ends its VM.
    Exit,
}

/// Where it is loaded.
const BASE: u32 = 0x20_0000;
/// Where its note is in the file: behind the header and two program headers.
const NOTE: u32 = 64 + 2 * 56;
const CODE: u32 = NOTE + 20;

/// The image: an ELF header, two program headers, a PVH note, 32-bit code.
pub fn image(then: Then) -> Vec<u8> {
    let code = code(then);
    let size = u64::from(CODE) + code.len() as u64;
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    elf.extend([2, 0, 62, 0]); // executable, x86-64
    elf.extend(1_u32.to_le_bytes());
    elf.extend(u64::from(BASE + CODE).to_le_bytes()); // entry
    elf.extend(64_u64.to_le_bytes()); // program headers
    elf.extend(0_u64.to_le_bytes()); // section headers
    elf.extend(0_u32.to_le_bytes());
    for half in [64_u16, 56, 2, 64, 0, 0] {
        elf.extend(half.to_le_bytes());
    }
    segment(&mut elf, 1, 0, size); // load
    segment(&mut elf, 4, u64::from(NOTE), 20);
    // The note of the 32-bit entry point: lengths, type, name, value.
    for word in [4, 4, 18, u32::from_le_bytes(*b"Xen\0"), BASE + CODE] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend(code);
    elf
}

/// A program header.
fn segment(elf: &mut Vec<u8>, kind: u32, offset: u64, bytes: u64) {
    elf.extend(kind.to_le_bytes());
    elf.extend(7_u32.to_le_bytes()); // readable, writable, executable
    let address = u64::from(BASE) + offset;
    for long in [offset, address, address, bytes, bytes, 4] {
        elf.extend(long.to_le_bytes());
    }
}

fn code(then: Then) -> Vec<u8> {
    let mut code = vec![0x66, 0xba, 0xf8, 0x03]; // mov dx, 0x3f8
    code.extend([0xb0, b'!', 0xee]); // mov al, '!'; out dx, al
    if let Then::Exit = then {
        code.extend([0x66, 0xba, 0xf4, 0x00, 0xb0, 0x10, 0xee]); // mov dx, 0xf4; mov al, 0x10; out dx, al
    }
    code.extend([0xfa, 0xf4, 0xeb, 0xfd]); // cli; again: hlt; jmp again
    code
}
