//! The fuzzer's program for [`fuzz::endpoint`].
#![cfg_attr(fuzzing, no_main)]
fuzz::program!(endpoint);
