//! Counts lines, words and bytes of a tree of files with a task force.
