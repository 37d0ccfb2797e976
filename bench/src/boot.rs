//! From starting QEMU to the first instruction of a user's `main`.

use crate::Bench;
use crate::bare::{self, Then};
use crate::report::median;
use anyhow::{Context, Result, bail};
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

const RUNS: usize = 11;

/// Starts an image that says so as the first thing in `main`, and one that
/// says so with its first instruction, in turns.
pub fn one_vm(bench: &mut Bench) -> Result<()> {
    bench.say("boot of one VM");
    let bare = bench.folder.path().join("bare-exit");
    std::fs::write(&bare, bare::image(Then::Exit))?;
    let (mut first, mut main) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        first.push(until_it_speaks(bench, &bare)?);
        main.push(until_main(bench)?);
    }
    let reference = ("bare QEMU's first instruction", median(first));
    bench.report.compare("boot: start of QEMU to main", (median(main), "ms"), reference, 2.0);
    Ok(())
}

/// Milliseconds from starting QEMU to the first thing in `main`.
pub fn until_main(bench: &Bench) -> Result<f64> {
    until_it_speaks(bench, &bench.images.join("bench-main"))
}

/// Milliseconds from starting QEMU to the image's `!`.
fn until_it_speaks(bench: &Bench, image: &Path) -> Result<f64> {
    let start = Instant::now();
    let mut qemu = Command::new(&bench.qemu)
        .args(["-nodefaults", "-no-user-config", "-no-reboot"])
        .args(["-M", "microvm,pcie=on,rtc=off,pit=off,isa-serial=on"])
        .args(["-accel", bench.accelerator(), "-cpu", "max", "-smp", "1,maxcpus=2", "-m", "64M"])
        .args(["-display", "none", "-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"])
        .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"])
        .arg("-kernel")
        .arg(image)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("{} cannot be started", bench.qemu.display()))?;
    let mut byte = [0];
    let spoken = qemu.stdout.take().is_some_and(|mut output| output.read_exact(&mut byte).is_ok());
    let spent = start.elapsed();
    let _ = qemu.kill();
    qemu.wait()?;
    if !spoken || byte != *b"!" {
        bail!("{} did not say that it runs", image.display());
    }
    Ok(spent.as_secs_f64() * 1e3)
}
