//! The host's part: machine file, regions, VMs, liveness.
