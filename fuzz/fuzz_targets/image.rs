//! The fuzzer's program for [`fuzz::image`].
#![cfg_attr(fuzzing, no_main)]
fuzz::program!(image);
