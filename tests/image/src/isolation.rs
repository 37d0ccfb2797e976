//! What a VM can reach that it should not.

use ivshmem::layout::{DeviceAddress, PCI_ID};
use std::sync::atomic::Ordering::SeqCst;

/// Lists the shared-memory devices on its bus, and tries to write the control
/// region through the device that it has.
pub fn intruder() {
    let me = cyanea::activity().index;
    let own = runtime::bell::own_peer().expect("every VM has a doorbell");
    let mut addresses = Vec::new();
    for device in runtime::regions::devices() {
        if (device.vendor, device.device) == PCI_ID {
            addresses.push(device.address);
        }
    }
    for address in &addresses {
        println!("activity {me}: device {address}");
    }
    assert!(!addresses.contains(&DeviceAddress::UTILITY), "a node has a utility's region");
    assert!(!addresses.contains(&DeviceAddress::pair(own)), "a pair region with oneself");
    println!("activity {me}: own peer {own}");
    let control = runtime::regions::control().expect("every VM has the control region");
    let mut changed = 0;
    for offset in (0..control.len()).step_by(8) {
        let word = control.word(offset);
        let before = word.load(SeqCst);
        word.store(!before, SeqCst);
        changed += u32::from(word.load(SeqCst) != before);
    }
    let words = control.len() / 8;
    println!("activity {me}: wrote {words} words of the control region, {changed} changed");
}

/// Says how many words of its cluster's pool it can use.
pub fn pool() {
    let pool = cyanea::pool().expect("a node has its cluster's pool");
    pool.iter().for_each(|word| word.store(0, SeqCst));
    println!("activity {} has {} words", cyanea::activity().index, pool.len());
}
