//! Programs that are the same on the host and in a VM: what they print must be, too.
//!
//! * [`crates`]: well-known crates, used as their users use them.
//! * [`sockets`]: `std::net` on the loopback.

pub mod crates;
pub mod sockets;

/// What a program returns.
pub type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

#[cfg(test)]
mod tests {
    /// What holds of the host's `std` is what is asked of the machine's.
    #[test]
    fn the_host_does_as_the_programs_expect() {
        super::sockets::all(&mut Vec::new()).unwrap();
        super::crates::all(&mut Vec::new()).unwrap();
    }
}
