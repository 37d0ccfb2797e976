//! The fuzzer's program for [`fuzz::ring`].
#![cfg_attr(fuzzing, no_main)]
fuzz::program!(ring);
