//! `std::io`: readers, writers, what they add, and errors.

use crate::{Outcome, checksum, path, say, tell, text};
use std::fs::File;
use std::io::{
    self, BufRead, BufReader, BufWriter, Cursor, Error, ErrorKind, IoSlice, IoSliceMut, IsTerminal,
    LineWriter, Read, Seek, SeekFrom, Write,
};

pub fn main() -> Outcome {
    standard()?;
    cursors()?;
    buffered()?;
    adapters()?;
    several_buffers()?;
    errors();
    tell("a pipe", io::pipe().map(|_| ()));
    Ok(())
}

fn standard() -> Outcome {
    let mut line = String::new();
    tell("a line of standard input", io::stdin().read_line(&mut line));
    tell("the rest of it", io::stdin().lock().read_to_string(&mut line));
    say("terminals", (io::stdin().is_terminal(), io::stdout().is_terminal()));
    let mut out = io::stdout().lock();
    out.write_all(b"part by ")?;
    out.write_all(b"part\n")?;
    out.flush()?;
    drop(out);
    io::stdout().write_all("not text \u{fffd}\n".as_bytes())?;
    eprintln!("standard error is another one");
    let lines: Vec<String> = (0..200).map(|i| format!("line {i} of many")).collect();
    println!("{}", lines.join("\n"));
    Ok(())
}

fn cursors() -> Outcome {
    let mut cursor = Cursor::new(Vec::new());
    cursor.write_all(b"hello, world")?;
    tell("back", cursor.seek(SeekFrom::End(-5)));
    let mut rest = String::new();
    cursor.read_to_string(&mut rest)?;
    say("rest", (rest, cursor.position()));
    tell("before the start", cursor.seek(SeekFrom::Current(-100)));
    cursor.set_position(20);
    cursor.write_all(b"!")?;
    say("a gap", checksum(cursor.get_ref().iter().copied()));
    let mut small = [0u8; 4];
    let mut target = &mut small[..];
    tell("more than there is room", target.write_all(b"12345"));
    say("what fitted", small);
    let mut source = &b"abc"[..];
    tell("too few bytes", source.read_exact(&mut [0; 4]));
    Ok(())
}

fn buffered() -> Outcome {
    let name = path("lines");
    let mut writer = BufWriter::with_capacity(100, File::create(&name)?);
    for i in 0..1000 {
        writeln!(writer, "line {i}")?;
    }
    writer.flush()?;
    say("buffered", writer.buffer().len());
    drop(writer);
    let mut reader = BufReader::with_capacity(64, File::open(&name)?);
    let mut first = String::new();
    tell("first", reader.read_line(&mut first));
    say("its text", first);
    say("in the buffer", !reader.buffer().is_empty());
    reader.seek_relative(8)?;
    let mut bytes = Vec::new();
    tell("until", reader.read_until(b'4', &mut bytes));
    say("those bytes", String::from_utf8_lossy(&bytes));
    let lines = reader.lines().collect::<io::Result<Vec<_>>>()?;
    say("lines", (lines.len(), lines.first(), lines.last()));
    let mut writer = LineWriter::new(Vec::new());
    writer.write_all(b"a whole line\nand a part")?;
    say("by lines", String::from_utf8_lossy(writer.get_ref()));
    say("in the end", String::from_utf8(writer.into_inner()?)?);
    Ok(())
}

fn adapters() -> Outcome {
    let mut text = String::new();
    let mut reader = (&b"first "[..]).chain(&b"second "[..]).chain(&b"third"[..]).take(14);
    reader.read_to_string(&mut text)?;
    say("chained", text);
    let mut bytes = Vec::new();
    tell("copied", io::copy(&mut io::repeat(7).take(100_000), &mut bytes));
    say("those", checksum(bytes));
    tell("away", io::copy(&mut io::repeat(1).take(1000), &mut io::sink()));
    tell("nothing", io::empty().read(&mut [0; 4]));
    say("bytes", (&b"ab"[..]).bytes().collect::<io::Result<Vec<u8>>>()?);
    let mut file = File::create_new(path("copied"))?;
    tell("from file to file", io::copy(&mut File::open(path("lines"))?, &mut file));
    say("the same", std::fs::read(path("lines"))? == std::fs::read(path("copied"))?);
    Ok(())
}

/// What a call does not take, the next one does: how much that is differs, the sum does not.
fn several_buffers() -> Outcome {
    let name = path("vectored");
    let mut file = File::create(&name)?;
    let parts: [&[u8]; 4] = [b"one ", b"", b"two ", b"three"];
    let mut slices = parts.map(IoSlice::new);
    let mut left = &mut slices[..];
    while left.iter().any(|slice| !slice.is_empty()) {
        let written = file.write_vectored(left)?;
        IoSlice::advance_slices(&mut left, written);
    }
    say("gathered", std::fs::read_to_string(&name)?);
    let (mut a, mut b) = ([0; 4], [0; 9]);
    let mut file = File::open(&name)?;
    let mut buffers = [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)];
    let read = file.read_vectored(&mut buffers)?;
    say("scattered", (read, String::from_utf8_lossy(&a), String::from_utf8_lossy(&b)));
    Ok(())
}

fn errors() {
    say("custom", Error::other("a reason").to_string());
    say("a kind", Error::from(ErrorKind::NotFound).to_string());
    say("wrapped", Error::new(ErrorKind::InvalidData, "data").into_inner().map(|inner| inner.to_string()));
    for number in [1, 2, 9, 11, 13, 17, 20, 21, 22, 28, 39, 110] {
        let error = Error::from_raw_os_error(number);
        say(&format!("error {number}"), error.kind());
        text(&format!("text of error {number}"), Err::<(), _>(error));
    }
}
