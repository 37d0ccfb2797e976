//! The fuzzer's program for [`fuzz::messenger`].
#![cfg_attr(fuzzing, no_main)]
fuzz::program!(messenger);
