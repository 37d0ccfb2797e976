//! From the PVH entry to Rust: 32-bit protected mode to long mode.
//!
//! The PVH boot ABI (Xen's `docs/misc/pvh.pandoc`) enters at the address named
//! by an ELF note, in 32-bit protected mode without paging, with the physical
//! address of the start info in `ebx`. These lines build the least page tables
//! that reach everything the boot needs (the first GiB, identity-mapped with
//! 2 MiB pages), switch on SSE and no-execute, and call [`super::start`]. The
//! stack used here becomes the idle loop's.
//!
//! CR4.OSXSAVE stays clear, so that programs find no AVX: the scheduler saves
//! FXSAVE state only.

use core::arch::global_asm;

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

.section .rodata.boot, "a", @progbits
.align 8
boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff    # 64-bit code
    .quad 0x00cf93000000ffff    # data
boot_gdt_pointer:
    .word 23
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
);

unsafe extern "C" {
    /// The end of the stack that the boot and then the idle loop runs on.
    pub safe static boot_stack_top: u8;
}
