//! How exceptions and interrupts reach Rust, and how an interrupted thread goes on.
//!
//! A stub per vector pushes the vector; what follows is common: all general
//! registers and the FXSAVE state are saved on the trap's stack, and
//! [`dispatch`] runs with interrupts off. It may return (the interrupted code
//! goes on), or save the interrupted thread elsewhere and resume another one.

use super::{apic, cores, faults, shootdown};
use crate::{devices, threads};
use core::arch::{global_asm, naked_asm};

/// Vector of the local timer.
pub const TIMER: u8 = 0x40;
/// Vector of the doorbell, and of whatever else ends its wait.
pub const BELL: u8 = 0x41;
/// Vector by which a core has another one look what there is to do.
pub const LOOK: u8 = 0x42;
/// Vector of interrupts that went away before they were taken.
pub const SPURIOUS: u8 = 0xff;
/// All vectors that have a gate.
pub const VECTORS: [u8; 36] = {
    let mut vectors = [0; 36];
    let mut index = 0;
    while index < 32 {
        vectors[index] = index as u8;
        index += 1;
    }
    vectors[32] = TIMER;
    vectors[33] = BELL;
    vectors[34] = LOOK;
    vectors[35] = SPURIOUS;
    vectors
};

/// The general registers and what the processor pushed. The stubs know this layout.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
#[allow(missing_docs, reason = "the names are the registers'")]
pub struct TrapFrame {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub rdx: u64,
    pub rcx: u64,
    pub rax: u64,
    pub vector: u64,
    pub error: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

/// What FXSAVE saves: x87, MMX and SSE.
#[derive(Clone)]
#[repr(C, align(16))]
pub struct FloatState(pub [u8; 512]);

impl FloatState {
    /// As a program finds it: exceptions masked, double extended precision, round to nearest.
    pub const fn fresh() -> Self {
        let mut state = [0; 512];
        state[0] = 0x7f;
        state[1] = 0x03;
        state[24] = 0x80;
        state[25] = 0x1f;
        Self(state)
    }
}

global_asm!(
    r#"
.text
.macro trap_stub vector
.align 16
trap_stub_\vector:
    # The processor pushes an error code for these itself.
    .if (\vector == 8) || (\vector >= 10 && \vector <= 14) || (\vector == 17) || (\vector == 21) || (\vector == 29) || (\vector == 30)
    .else
    push 0
    .endif
    push \vector
    jmp trap_common
.endm

.altmacro
.set vector, 0
.rept 32
    trap_stub %vector
    .set vector, vector + 1
.endr
trap_stub 64
trap_stub 65
trap_stub 66
trap_stub 255

trap_common:
    push rax
    push rcx
    push rdx
    push rbx
    push rbp
    push rsi
    push rdi
    push r8
    push r9
    push r10
    push r11
    push r12
    push r13
    push r14
    push r15
    cld
    mov rdi, rsp
    mov rbx, rsp
    sub rsp, 512
    and rsp, -16
    fxsave64 [rsp]
    mov rsi, rsp
    call {dispatch}
    mov rsi, rsp
    mov rdi, rbx
    jmp {resume}

.section .rodata.trap_stubs, "a", @progbits
.align 8
.globl trap_stubs
trap_stubs:
.set vector, 0
.macro trap_address vector
    .quad trap_stub_\vector
.endm
.rept 32
    trap_address %vector
    .set vector, vector + 1
.endr
    .quad trap_stub_64
    .quad trap_stub_65
    .quad trap_stub_66
    .quad trap_stub_255
.text
.noaltmacro
"#,
    dispatch = sym dispatch,
    resume = sym resume,
);

unsafe extern "C" {
    safe static trap_stubs: [usize; VECTORS.len()];
}

/// The address of a vector's stub.
pub fn stub(vector: u8) -> usize {
    let index = match vector {
        TIMER => 32,
        BELL => 33,
        LOOK => 34,
        SPURIOUS => 35,
        exception => usize::from(exception),
    };
    trap_stubs[index]
}

/// Goes on where `frame` was interrupted, with `float`.
///
/// # Safety
/// Interrupts are off; the frame and the state were saved by a trap, or made
/// for a thread that has not run, and what they say is still so.
#[unsafe(naked)]
pub unsafe extern "C" fn resume(frame: *const TrapFrame, float: *const FloatState) -> ! {
    naked_asm!(
        "fxrstor64 [rsi]",
        "mov rsp, rdi",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop r11",
        "pop r10",
        "pop r9",
        "pop r8",
        "pop rdi",
        "pop rsi",
        "pop rbp",
        "pop rbx",
        "pop rdx",
        "pop rcx",
        "pop rax",
        "add rsp, 16",
        "iretq",
    )
}

/// What a trap does. Runs on the trap's stack, interrupts off.
extern "C" fn dispatch(frame: &TrapFrame, float: &FloatState) {
    match frame.vector as u8 {
        14 => faults::page_fault(frame),
        0..32 => faults::exception(frame),
        SPURIOUS => {}
        vector => {
            shootdown::wake_up();
            match vector {
                TIMER => threads::scheduler::on_timer(),
                BELL => devices::bell::on_interrupt(),
                LOOK => {
                    cores::check_clock();
                    threads::scheduler::on_look();
                }
                _ => {}
            }
            apic::end_of_interrupt();
            threads::scheduler::leave_interrupt(frame, float);
        }
    }
}
