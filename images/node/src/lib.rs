//! An OS node: carries programs and runs their activities.
