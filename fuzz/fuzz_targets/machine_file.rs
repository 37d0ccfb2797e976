//! The fuzzer's program for [`fuzz::machine_file`].
#![cfg_attr(fuzzing, no_main)]
fuzz::program!(machine_file);
