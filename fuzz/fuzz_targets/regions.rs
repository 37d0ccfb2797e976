//! The fuzzer's program for [`fuzz::regions`].
#![cfg_attr(fuzzing, no_main)]
fuzz::program!(regions);
