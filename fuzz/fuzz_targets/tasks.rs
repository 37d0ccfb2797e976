//! The fuzzer's program for [`fuzz::tasks`].
#![cfg_attr(fuzzing, no_main)]
fuzz::program!(tasks);
