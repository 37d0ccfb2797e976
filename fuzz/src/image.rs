//! A file that is named as an image.
//!
//! Checked: what is accepted lies where every VM has memory, and is entered
//! within itself; what is refused is refused in one sentence.

use orchestration::image::elf::Shape;
use orchestration::image::sample;

/// Runs one input.
pub fn run(data: &[u8]) {
    match Shape::of(data) {
        Ok(shape) => {
            assert!(shape.addresses.contains(&shape.entry));
            assert!(shape.addresses.start >= 1 << 20 && shape.addresses.end <= 3 << 30);
            assert!(shape.least_memory().0 > shape.addresses.end);
        }
        Err(unfit) => {
            let sentence = unfit.to_string();
            assert!(sentence.starts_with("is ") && !sentence.contains('\n'), "{sentence}");
        }
    }
}

/// Inputs to start from.
pub fn seeds() -> Vec<Vec<u8>> {
    let image = sample::image(&[0xfa, 0xf4]);
    let mut library = image.clone();
    library[16] = 3;
    vec![image, library]
}
