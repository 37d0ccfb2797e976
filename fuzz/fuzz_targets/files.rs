//! The fuzzer's program for [`fuzz::files`].
#![cfg_attr(fuzzing, no_main)]
fuzz::program!(files);
