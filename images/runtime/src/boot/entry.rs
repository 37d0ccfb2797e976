//! From the PVH entry to Rust: 32-bit protected mode to long mode.
//!
//! The PVH boot ABI (Xen's `docs/misc/pvh.pandoc`) enters at the address named
//! by an ELF note, in 32-bit protected mode without paging, with the physical
//! address of the start info in `ebx`. These lines build the least page tables
//! that reach everything the boot needs (the first GiB, identity-mapped with
//! 2 MiB pages), switch on SSE and no-execute, and call [`super::start`]. The
//! stack used here becomes the idle loop's of the first core.
//!
//! The other cores enter in real mode (Intel's manual, volume 3, "multiple-processor
//! management"), in a page below 1 MiB to which [`place_trampoline`] copied a few
//! instructions. These lead to 32-bit code here, which switches to the page tables of the
//! running system, in which that page is not, and calls [`super::cores::begin`] on
//! the core's own stack.
//!
//! CR4.OSXSAVE stays clear, so that programs find no AVX: the scheduler saves
//! FXSAVE state only.

use crate::processor::cores::{CORE_BYTES, CORES, STACK_TOP};
use core::arch::global_asm;
use core::sync::atomic::AtomicU32;

global_asm!(
    r#"
.section .note.pvh, "a", @note
.align 4
    .long 4                     # length of the name
    .long 4                     # length of the value
    .long 18                    # XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .long pvh_entry

.section .text.boot, "ax", @progbits
.code32
.globl pvh_entry
pvh_entry:
    cld
    mov esp, offset boot_stack_top
    mov eax, offset boot_pdpt
    or eax, 3
    mov [boot_pml4], eax
    mov eax, offset boot_pd
    or eax, 3
    mov [boot_pdpt], eax
    xor ecx, ecx
2:  mov eax, ecx
    shl eax, 21
    or eax, 0x83                # present, writable, 2 MiB
    mov [boot_pd + ecx * 8], eax
    inc ecx
    cmp ecx, 512
    jne 2b

    mov eax, cr4
    or eax, 0x620               # PAE, OSFXSR, OSXMMEXCPT
    mov cr4, eax
    mov eax, offset boot_pml4
    mov cr3, eax
    mov ecx, 0xc0000080         # EFER: long mode, no-execute
    rdmsr
    or eax, 0x900
    wrmsr
    mov eax, cr0
    and eax, 0xfffffffb         # no x87 emulation
    or eax, 0x80010023          # paging, write protection, NE, MP, PE
    mov cr0, eax
    lgdt [boot_gdt_pointer]
    .byte 0xea                  # far jump, which the assembler cannot spell here
    .long long_mode
    .word 8

.code64
long_mode:
    mov eax, 16
    mov ds, eax
    mov es, eax
    mov ss, eax
    xor eax, eax
    mov fs, eax
    mov gs, eax
    mov esp, offset boot_stack_top
    fninit
    mov edi, ebx
    xor ebp, ebp
    call {start}
    ud2

.code32
other_entry:
    mov eax, 16
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov eax, cr4
    or eax, 0x620               # PAE, OSFXSR, OSXMMEXCPT
    mov cr4, eax
    mov eax, [{root}]
    mov cr3, eax
    mov ecx, 0xc0000080         # EFER: long mode, no-execute
    rdmsr
    or eax, 0x900
    wrmsr
    mov eax, cr0
    and eax, 0x9ffffffb         # caches on, no x87 emulation
    or eax, 0x80010023          # paging, write protection, NE, MP, PE
    mov cr0, eax
    .byte 0xea
    .long other_long_mode
    .word 8

.code64
other_long_mode:
    xor eax, eax
    mov fs, eax
    mov gs, eax
    fninit
    mov edi, 1
    lock xadd [rip + {arrived}], edi
    inc edi                     # the first core is 0
    cmp edi, [rip + {count}]
    jae 3f
    imul eax, edi, {core_bytes}
    mov rsp, [{cores} + rax + {stack_top}]
    xor ebp, ebp
    call {begin}
    ud2
3:  cli                         # more than there is room for
    hlt
    jmp 3b

# In real mode, at offset 0 of its segment. The assembler does not spell these.
.section .rodata.boot, "a", @progbits
.globl trampoline
.globl trampoline_end
trampoline:
    .byte 0xfa                  # cli
    .byte 0x2e, 0x66, 0x0f, 0x01, 0x16 # lgdt cs:[...]
    .word trampoline_gdt_pointer - trampoline
    .byte 0x0f, 0x20, 0xc0      # mov eax, cr0
    .byte 0x0c, 0x01            # or al, 1
    .byte 0x0f, 0x22, 0xc0      # mov cr0, eax
    .byte 0x66, 0xea            # far jump
    .long other_entry
    .word 24
trampoline_gdt_pointer:
    .word 31
    .long boot_gdt
trampoline_end:
.align 8
boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff    # 64-bit code
    .quad 0x00cf93000000ffff    # data
    .quad 0x00cf9b000000ffff    # 32-bit code
boot_gdt_pointer:
    .word 31
    .quad boot_gdt

.section .bss.boot, "aw", @nobits
.align 4096
boot_pml4: .skip 4096
boot_pdpt: .skip 4096
boot_pd:   .skip 4096
           .skip 16384
.globl boot_stack_top
boot_stack_top:
.text
"#,
    start = sym super::start,
    begin = sym super::cores::begin,
    root = sym ROOT,
    arrived = sym ARRIVED,
    count = sym COUNT,
    cores = sym CORES,
    core_bytes = const CORE_BYTES,
    stack_top = const STACK_TOP,
);

/// The page tables that the other cores switch to.
pub static ROOT: AtomicU32 = AtomicU32::new(0);
/// How many of them came this way.
static ARRIVED: AtomicU32 = AtomicU32::new(0);
/// How many cores there are at most; whichever comes after those halts for good.
pub static COUNT: AtomicU32 = AtomicU32::new(1);

/// Where the other cores begin.
pub const TRAMPOLINE: u32 = 0x8000;

unsafe extern "C" {
    /// The end of the stack that the boot and then the idle loop runs on.
    pub safe static boot_stack_top: u8;
    safe static trampoline: u8;
    safe static trampoline_end: u8;
}

/// Copies what the other cores run first to where they begin.
///
/// # Safety
/// The first MiB is mapped one to one, and nobody wants what is in it.
pub unsafe fn place_trampoline() {
    let source = &raw const trampoline;
    let bytes = &raw const trampoline_end as usize - source as usize;
    // SAFETY: the caller's promise: the target is RAM, below what a PC's firmware keeps for itself.
    unsafe { core::ptr::copy_nonoverlapping(source, TRAMPOLINE as usize as *mut u8, bytes) };
}
