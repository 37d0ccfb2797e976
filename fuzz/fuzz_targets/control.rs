//! The fuzzer's program for [`fuzz::control`].
#![cfg_attr(fuzzing, no_main)]
fuzz::program!(control);
