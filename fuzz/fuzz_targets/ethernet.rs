//! The fuzzer's program for [`fuzz::ethernet`].
#![cfg_attr(fuzzing, no_main)]
fuzz::program!(ethernet);
