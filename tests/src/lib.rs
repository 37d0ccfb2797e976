//! Whole-machine tests, and tests of the tree itself. See `tests/`.
