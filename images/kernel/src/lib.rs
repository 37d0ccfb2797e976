//! The portable core of the operating system: protocol, membership, messenger, coroutines.
