//! The utilities of the operating system, each a task force of activities.
