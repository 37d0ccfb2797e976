//! What a user program of Cyanea sees beyond std: its activity, its task force, files beyond std::fs.
