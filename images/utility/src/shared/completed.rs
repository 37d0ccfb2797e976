//! Exactly once: what became of the requests that changed something.
//!
//! A client sends a request again, with the same id, when the activity that
//! had it died. The record of its reply is written in the same transaction as
//! its effect, so the next activity finds either both or neither. Requests
//! that changed nothing (they read, or were refused) need no record: to do
//! them again is the same as to do them later.
//!
//! There are [`IN_FLIGHT`] records per client, and a request's is the one of
//! its id modulo that number. **The client's side of it:** the ids of one
//! incarnation never repeat; of two of its requests that are both unanswered,
//! the ids differ modulo [`IN_FLIGHT`]; a later request with the same
//! remainder has a higher id. Both ids counted up with a window of
//! [`IN_FLIGHT`] and ids made as `round * IN_FLIGHT + slot` do.
//!
//! Records carry the client's generation: a new incarnation's requests replace
//! the old one's records as they come.
//!
//! ```text
//!   per client, per slot:  word 0     request id
//!                          word 1     client's generation << 32 | bytes of the reply
//!                          word 2...  reply
//! ```

use super::cells::View;
use super::tables::Change;
use kernel::protocol::Incarnation;
use transport::memory::WORD;

/// Requests of one client that may be unanswered at once.
pub const IN_FLIGHT: u64 = kernel::messenger::UTILITY_WINDOW;
/// Most bytes of a recorded reply.
pub const REPLY_BYTES: usize = 112;
/// Bytes of a record.
const RECORD: usize = REPLY_BYTES + 2 * WORD;

/// What the table says of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It was not carried out.
    Nothing,
    /// It was, and this was the reply.
    Reply(Vec<u8>),
    /// Its client has had a later one answered in its place, or a later
    /// incarnation has: nobody waits for it.
    Outdated,
}

/// Why a reply cannot be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordError {
    /// The table has no room for this peer.
    UnknownPeer,
    /// The reply has more than [`REPLY_BYTES`].
    TooLong,
}

/// The table of completed requests. Zeroed memory is an empty one.
#[derive(Clone, Copy, Debug)]
pub struct Completed {
    at: usize,
    peers: u16,
}

impl Completed {
    /// The table at byte `offset`, for the clients whose peer id is below `peers`.
    pub const fn at(offset: usize, peers: u16) -> Self {
        Self { at: offset, peers }
    }

    /// Whether requests of this peer are recorded.
    pub const fn serves(&self, peer: u16) -> bool {
        peer < self.peers
    }

    /// Bytes of the table.
    pub const fn bytes(peers: u16) -> usize {
        peers as usize * IN_FLIGHT as usize * RECORD
    }

    /// Looks a request up. Under the lock: what a dead activity did last is
    /// seen only then.
    pub fn find(&self, view: &impl View, client: Incarnation, id: u64) -> Result<Found, RecordError> {
        let at = self.record_of(client, id)?;
        let (found, state) = (view.word(at), view.word(at + WORD));
        let generation = (state >> 32) as u32;
        if generation > client.generation || (generation == client.generation && found > id) {
            return Ok(Found::Outdated);
        }
        if generation < client.generation || found < id {
            return Ok(Found::Nothing);
        }
        let length = (state as u32 as usize).min(REPLY_BYTES);
        let mut reply: Vec<u8> = (0..length.div_ceil(WORD))
            .flat_map(|word| view.word(at + (2 + word) * WORD).to_le_bytes())
            .collect();
        reply.truncate(length);
        Ok(Found::Reply(reply))
    }

    /// Records the reply, in the transaction that has the request's effect.
    pub fn record(
        &self,
        change: &mut Change<'_>,
        client: Incarnation,
        id: u64,
        reply: &[u8],
    ) -> Result<(), RecordError> {
        let at = self.record_of(client, id)?;
        if reply.len() > REPLY_BYTES {
            return Err(RecordError::TooLong);
        }
        change.set(at, id);
        change.set(at + WORD, u64::from(client.generation) << 32 | reply.len() as u64);
        for (index, chunk) in reply.chunks(WORD).enumerate() {
            let mut word = [0; WORD];
            word[..chunk.len()].copy_from_slice(chunk);
            change.set(at + (2 + index) * WORD, u64::from_le_bytes(word));
        }
        Ok(())
    }

    fn record_of(&self, client: Incarnation, id: u64) -> Result<usize, RecordError> {
        if !self.serves(client.peer.0) {
            return Err(RecordError::UnknownPeer);
        }
        let slot = u64::from(client.peer.0) * IN_FLIGHT + id % IN_FLIGHT;
        Ok(self.at + slot as usize * RECORD)
    }
}

#[cfg(test)]
mod tests {
    use super::super::cells::Cells;
    use super::super::tables::Tables;
    use super::super::testing::{World, first};
    use super::*;
    use kernel::protocol::Peer;
    use transport::memory::SharedMemory;

    #[test]
    fn replies_are_found_until_their_slot_or_client_moves_on() {
        let start = Tables::bytes(64);
        let memory = SharedMemory::heap(start + Completed::bytes(2));
        let tables = Tables::new(Cells::new(memory), 0, 64, World::default().activity(1));
        let completed = Completed::at(start, 2);
        let mut change = tables.exclusive();
        for (id, length) in [(0, 0), (1, 7), (2, 8), (65 + 64, 112)] {
            assert_eq!(completed.find(&change, first(1), id), Ok(Found::Nothing));
            completed.record(&mut change, first(1), id, &vec![id as u8; length]).unwrap();
            change.commit().unwrap();
            assert_eq!(completed.find(&change, first(1), id), Ok(Found::Reply(vec![id as u8; length])));
        }
        assert_eq!(completed.find(&change, first(1), 1), Ok(Found::Outdated));
        assert_eq!(completed.find(&change, first(0), 0), Ok(Found::Nothing));
        let reborn = Incarnation { peer: Peer(1), generation: 2 };
        assert_eq!(completed.find(&change, reborn, 2), Ok(Found::Nothing));
        completed.record(&mut change, reborn, 2, b"new").unwrap();
        change.commit().unwrap();
        assert_eq!(completed.find(&change, first(1), 2), Ok(Found::Outdated));
        assert_eq!(completed.find(&change, first(2), 2), Err(RecordError::UnknownPeer));
        assert_eq!(
            completed.record(&mut change, first(1), 3, &[0; REPLY_BYTES + 1]),
            Err(RecordError::TooLong)
        );
    }
}
