//! Files that are images, nearly images, and anything at all.

use super::*;
use crate::image::{Images, sample};
use crate::machine_file::MachineFile;
use proptest::prelude::*;
use std::path::Path;

/// Where things stand in the sample: its header, its two program headers.
const KIND: usize = 16;
const MACHINE: usize = 18;
const LOADED: usize = 64;
const NOTE: usize = 64 + 56;
/// And within a program header.
const FLAGS: usize = 4;
const ADDRESS: usize = 24;
const FILE_BYTES: usize = 32;
const MEMORY_BYTES: usize = 40;

fn with(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = sample::image(&[0xf4]);
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
}

fn refusal(file: &[u8]) -> String {
    let sentence = Shape::of(file).expect_err("no image").to_string();
    println!("{sentence}");
    sentence
}

#[test]
fn the_sample_is_an_image() {
    let file = sample::image(&[0xf4]);
    let shape = Shape::of(&file[..]).unwrap();
    assert_eq!(shape.addresses, 0x20_0000..0x20_0000 + file.len() as u64);
    assert_eq!(shape.entry, 0x20_0000 + file.len() as u64 - 1);
    assert_eq!(shape.least_memory(), Size::mebibytes(11));
}

#[test]
fn each_kind_of_unfit_file_has_its_sentence() {
    let broken = |what: &str| format!("is a broken ELF file: {what}");
    for (file, expected) in [
        (Vec::new(), "is no ELF file".into()),
        (b"#!/bin/sh\necho this is a script\n".to_vec(), "is no ELF file".into()),
        (b"\x7fELF".to_vec(), "is no ELF file".into()),
        (with(MACHINE, &[183, 0]), "is an ELF file for AArch64, and VMs are x86-64".into()),
        (with(MACHINE, &[243, 0]), "is an ELF file for RISC-V, and VMs are x86-64".into()),
        (with(MACHINE, &[1, 9]), "is an ELF file for another processor (number 2305), and VMs are x86-64".into()),
        (with(4, &[1]), "is an ELF file for x86-64 with 32-bit addresses, and VMs are x86-64".into()),
        (with(KIND, &[1]), "is an ELF file, but an object file and no executable at fixed addresses".into()),
        (
            with(KIND, &[3]),
            "is an ELF file, but a shared library or position-independent and no executable at fixed addresses".into(),
        ),
        (with(NOTE, &[1]), Unfit::NotBootable.to_string()),
        (with(LOADED + FLAGS, &[6]), broken("a VM would enter it where it has no code")),
        (with(LOADED, &[7]), broken("nothing of it is loaded")),
        (with(LOADED + MEMORY_BYTES, &[1, 0]), broken("a part of it is larger in the file than in memory")),
        (with(LOADED + ADDRESS, &[0; 8]), broken("a part of it goes where a VM has no memory for it")),
        (with(LOADED + MEMORY_BYTES, &[0xff; 8]), broken("a part of it goes where a VM has no memory for it")),
        (with(LOADED + FILE_BYTES, &[0xff; 8]), "is cut off: it has 197 bytes, and its header speaks of".into()),
        (with(NOTE + 8, &[0xff; 8]), broken("it has parts at offsets that no file has")),
        (with(54, &[57, 0]), broken("its program headers are none")),
    ] {
        let sentence = refusal(&file);
        assert!(sentence.starts_with(&expected), "{sentence:?} is not {expected:?}");
    }
}

#[test]
fn a_program_of_the_host_is_none() {
    let own = std::fs::read("/proc/self/exe").unwrap();
    assert_eq!(Shape::of(&own[..]), Err(Unfit::NotBootable));
}

#[test]
fn a_file_that_is_cut_off_anywhere_is_refused() {
    let file = sample::image(&[0xf4; 40]);
    for length in 0..file.len() {
        assert!(Shape::of(&file[..length]).is_err(), "{length} of {} bytes", file.len());
    }
}

#[test]
fn an_image_must_fit_the_smallest_of_its_vms() {
    let folder = tempfile::tempdir().unwrap();
    let images = Images::in_folder(folder.path());
    let large = with(LOADED + MEMORY_BYTES, &(50_u64 << 20).to_le_bytes());
    std::fs::write(&images.node, large).unwrap();
    std::fs::write(&images.utility, sample::image(&[0xf4])).unwrap();
    let check = |memory: &str| {
        let text = format!("[clusters.a]\nnodes = 1\n[vm.node]\nmemory = \"{memory}\"\n");
        images.check_for(&MachineFile::parse(Path::new("m.toml"), &text).unwrap())
    };
    check("60 MiB").unwrap();
    let sentence = check("59 MiB").unwrap_err().to_string();
    let expected = format!(
        "the node image {} is too large for node-a0: it wants a VM of 60 MiB, and this one has 59 MiB; give it more \
         memory in the machine file ([vm.node])",
        images.node.display()
    );
    assert_eq!(sentence, expected);
    images.check().unwrap();
}

proptest! {
    #[test]
    fn any_file_is_told(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Shape::of(&bytes[..]);
    }

    #[test]
    fn what_is_accepted_lies_in_a_vms_memory(
        changes in proptest::collection::vec((0_usize..197, any::<u8>()), 0..8),
        length in 0_usize..=197,
    ) {
        let mut file = sample::image(&[0xf4]);
        changes.iter().for_each(|&(at, byte)| file[at] = byte);
        file.truncate(length.max(190));
        if let Ok(Shape { addresses, entry }) = Shape::of(&file[..]) {
            prop_assert!(addresses.start >= LEAST_ADDRESS && addresses.end <= LOW_MEMORY);
            prop_assert!(addresses.contains(&entry));
        }
    }
}
