//! GDT, TSS and IDT: segments, and the stacks that exceptions and interrupts run on.
//! The IDT is everybody's; each core has the others for itself.
//!
//! Every exception and interrupt switches to a stack of its own (IST), so a
//! handler never needs the interrupted thread's stack: that may be full, or its
//! next page not yet mapped, and what lies below its pointer (the red zone)
//! stays as it is.

use super::cores::MAX_CORES;
use super::critical::Locked;
use super::traps;
use core::cell::UnsafeCell;
use x86_64::VirtAddr;
use x86_64::instructions::segmentation::{CS, SS, Segment};
use x86_64::instructions::tables::{lidt, load_tss};
use x86_64::structures::DescriptorTablePointer;
use x86_64::structures::gdt::{Descriptor, GlobalDescriptorTable};
use x86_64::structures::tss::TaskStateSegment;

/// Selector of the code segment.
pub const CODE: u64 = 8;
/// Selector of the data segment.
pub const DATA: u64 = 16;
/// Bytes of each of the stacks for exceptions and interrupts.
pub const STACK: usize = 16 * 1024;
/// How many of them a core has.
pub const STACK_COUNT: usize = 4;

/// Which of the stacks a vector runs on; the numbers are the IDT's.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Stack {
    Interrupt = 1,
    PageFault = 2,
    DoubleFault = 3,
    Exception = 4,
}

#[repr(C, align(16))]
struct Stacks(UnsafeCell<[[u8; STACK]; STACK_COUNT]>);

// SAFETY: only the processor writes here, as stacks.
unsafe impl Sync for Stacks {}

/// Those of the first core.
static STACKS: Stacks = Stacks(UnsafeCell::new([[0; STACK]; STACK_COUNT]));

/// An entry of the IDT: an interrupt gate.
#[derive(Clone, Copy)]
#[repr(C)]
struct Gate {
    offset_low: u16,
    selector: u16,
    stack: u8,
    kind: u8,
    offset_middle: u16,
    offset_high: u32,
    reserved: u32,
}

impl Gate {
    const ABSENT: Self =
        Self { offset_low: 0, selector: 0, stack: 0, kind: 0, offset_middle: 0, offset_high: 0, reserved: 0 };

    fn new(handler: usize, stack: Stack) -> Self {
        Self {
            offset_low: handler as u16,
            selector: CODE as u16,
            stack: stack as u8,
            kind: 0x8e,
            offset_middle: (handler >> 16) as u16,
            offset_high: (handler >> 32) as u32,
            reserved: 0,
        }
    }
}

/// A core's own tables, which it reads as long as the VM runs.
struct Tables {
    gdt: GlobalDescriptorTable,
    tss: TaskStateSegment,
}

static TABLES: [Locked<Tables>; MAX_CORES] =
    [const { Locked::new(Tables { gdt: GlobalDescriptorTable::new(), tss: TaskStateSegment::new() }) };
        MAX_CORES];

static IDT: Locked<[Gate; 256]> = Locked::new([Gate::ABSENT; 256]);

/// The tops of the first core's stacks.
fn first_tops() -> [usize; STACK_COUNT] {
    core::array::from_fn(|index| STACKS.0.get() as usize + (index + 1) * STACK)
}

/// Fills the tables that all share, and loads the first core's.
pub fn initialize() {
    IDT.with(|idt| {
        for vector in traps::VECTORS {
            let stack = match vector {
                8 => Stack::DoubleFault,
                14 => Stack::PageFault,
                0..32 => Stack::Exception,
                _ => Stack::Interrupt,
            };
            idt[usize::from(vector)] = Gate::new(traps::stub(vector), stack);
        }
    });
    load(0, first_tops());
}

/// Fills and loads the tables of core `index`, which this is. Its traps run on
/// the stacks that end at `tops`.
pub fn load(index: usize, tops: [usize; STACK_COUNT]) {
    TABLES[index].with(|tables| {
        // SAFETY: the tables are static, and nobody changes them after this.
        let tables: &'static mut Tables = unsafe { &mut *core::ptr::from_mut(tables) };
        for (index, top) in tops.into_iter().enumerate() {
            tables.tss.interrupt_stack_table[index] = VirtAddr::new(top as u64);
        }
        let code = tables.gdt.append(Descriptor::kernel_code_segment());
        let data = tables.gdt.append(Descriptor::kernel_data_segment());
        let task = tables.gdt.append(Descriptor::tss_segment(&tables.tss));
        assert_eq!((u64::from(code.0), u64::from(data.0)), (CODE, DATA));
        tables.gdt.load();
        // SAFETY: the selectors are of the table just loaded.
        unsafe {
            CS::set_reg(code);
            SS::set_reg(data);
            load_tss(task);
        }
    });
    IDT.with(|idt| {
        let pointer = DescriptorTablePointer {
            limit: (size_of_val(idt) - 1) as u16,
            base: VirtAddr::from_ptr(core::ptr::from_ref(idt)),
        };
        // SAFETY: the table is static and full, and its gates lead to the stubs.
        unsafe { lidt(&pointer) };
    });
}
