//! `memcpy` and its kin, which compiled code calls.
//!
//! Under TCG, loops of 8-byte moves are the fastest copy (string instructions
//! run at a tenth of them); on a real processor `rep movsb` is. [`choose`]
//! picks at boot. They are written in assembly, so that the compiler cannot
//! turn a loop into a call of itself.

use core::arch::global_asm;
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// Not 0: string instructions are fast.
static FAST_STRINGS: AtomicU8 = AtomicU8::new(0);

unsafe extern "C" {
    safe static routines_start: u8;
    safe static routines_end: u8;
}

/// Whether an address is in one of the routines: they keep no frame.
pub fn is_routine(address: usize) -> bool {
    (&raw const routines_start as usize..&raw const routines_end as usize).contains(&address)
}

/// Chooses the routines: with string instructions or without.
pub fn choose(fast_strings: bool) {
    FAST_STRINGS.store(u8::from(fast_strings), Relaxed);
}

global_asm!(
    r#"
.text
.globl memcpy
.globl memmove
.globl memset
.globl memcmp
.globl bcmp
.globl strlen
.globl routines_start
.globl routines_end
.type memcpy, @function
.type memmove, @function
.type memset, @function
.type memcmp, @function
.type bcmp, @function
.type strlen, @function

routines_start:
# memmove(rdi: target, rsi: source, rdx: bytes) -> rax
.align 16
memmove:
    mov rax, rdi
    sub rax, rsi
    cmp rax, rdx
    jb 5f                       # the target begins within the source: backwards
# memcpy(rdi: target, rsi: source, rdx: bytes) -> rax
.align 16
memcpy:
    mov rax, rdi
    cmp rdx, 8
    jb 3f
    cmp rdx, 256
    jb 4f
    cmp byte ptr [rip + {fast_strings}], 0
    je 4f
    mov rcx, rdx
    rep movsb
    ret
4:  sub rdx, 32
    jb 2f
1:  mov rcx, [rsi]
    mov r8, [rsi + 8]
    mov r9, [rsi + 16]
    mov r10, [rsi + 24]
    mov [rdi], rcx
    mov [rdi + 8], r8
    mov [rdi + 16], r9
    mov [rdi + 24], r10
    add rsi, 32
    add rdi, 32
    sub rdx, 32
    jae 1b
2:  add rdx, 32                 # 0 to 31 bytes are left
    sub rdx, 8
    jb 2f
1:  mov rcx, [rsi]
    mov [rdi], rcx
    add rsi, 8
    add rdi, 8
    sub rdx, 8
    jae 1b
2:  add rdx, 8
3:  test rdx, rdx
    jz 2f
1:  mov cl, [rsi]
    mov [rdi], cl
    inc rsi
    inc rdi
    dec rdx
    jnz 1b
2:  ret

5:  mov rax, rdi
    sub rdx, 32
    jb 2f
1:  mov rcx, [rsi + rdx + 24]
    mov r8, [rsi + rdx + 16]
    mov r9, [rsi + rdx + 8]
    mov r10, [rsi + rdx]
    mov [rdi + rdx + 24], rcx
    mov [rdi + rdx + 16], r8
    mov [rdi + rdx + 8], r9
    mov [rdi + rdx], r10
    sub rdx, 32
    jae 1b
2:  add rdx, 32
    sub rdx, 8
    jb 2f
1:  mov rcx, [rsi + rdx]
    mov [rdi + rdx], rcx
    sub rdx, 8
    jae 1b
2:  add rdx, 8
    jz 2f
1:  mov cl, [rsi + rdx - 1]
    mov [rdi + rdx - 1], cl
    dec rdx
    jnz 1b
2:  ret

# memset(rdi: target, esi: byte, rdx: bytes) -> rax
.align 16
memset:
    mov r8, rdi
    movzx eax, sil
    cmp rdx, 8
    jb 3f
    cmp rdx, 256
    jb 4f
    cmp byte ptr [rip + {fast_strings}], 0
    je 4f
    mov rcx, rdx
    rep stosb
    mov rax, r8
    ret
4:  mov rcx, 0x0101010101010101
    imul rax, rcx
    sub rdx, 32
    jb 2f
1:  mov [rdi], rax
    mov [rdi + 8], rax
    mov [rdi + 16], rax
    mov [rdi + 24], rax
    add rdi, 32
    sub rdx, 32
    jae 1b
2:  add rdx, 32
    sub rdx, 8
    jb 2f
1:  mov [rdi], rax
    add rdi, 8
    sub rdx, 8
    jae 1b
2:  add rdx, 8
3:  test rdx, rdx
    jz 2f
1:  mov [rdi], al
    inc rdi
    dec rdx
    jnz 1b
2:  mov rax, r8
    ret

# memcmp(rdi, rsi, rdx: bytes) -> eax
.align 16
memcmp:
bcmp:
    sub rdx, 8
    jb 2f
1:  mov rax, [rdi]
    mov rcx, [rsi]
    cmp rax, rcx
    jne 4f
    add rdi, 8
    add rsi, 8
    sub rdx, 8
    jae 1b
2:  add rdx, 8
    jz 3f
1:  movzx eax, byte ptr [rdi]
    movzx ecx, byte ptr [rsi]
    sub eax, ecx
    jne 5f
    inc rdi
    inc rsi
    dec rdx
    jnz 1b
3:  xor eax, eax
5:  ret
4:  bswap rax
    bswap rcx
    cmp rax, rcx
    sbb eax, eax
    or eax, 1
    ret

# strlen(rdi) -> rax
.align 16
strlen:
    xor eax, eax
1:  cmp byte ptr [rdi + rax], 0
    je 2f
    inc rax
    jmp 1b
2:  ret
routines_end:
"#,
    fast_strings = sym FAST_STRINGS,
);
