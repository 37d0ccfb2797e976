//! The fuzzer's program for [`fuzz::protocol`].
#![cfg_attr(fuzzing, no_main)]
fuzz::program!(protocol);
