//! The constants section: blocks of weights, biases and tables, equal ones stored once.

use std::collections::BTreeMap;

use tinsmith_runtime::format::CONSTANT_ALIGN;

/// The section as it grows.
#[derive(Clone, Debug, Default)]
pub(super) struct Pool {
    bytes: Vec<u8>,
    padding: usize,
    known: BTreeMap<Vec<u8>, usize>,
}

impl Pool {
    /// Stores a block, of which `padding` bytes are packing, and tells its offset: a multiple of
    /// [`CONSTANT_ALIGN`]. An equal block that is already there serves again.
    pub(super) fn add(&mut self, block: &[u8], padding: usize) -> usize {
        if let Some(&offset) = self.known.get(block) {
            return offset;
        }
        let offset = self.bytes.len().next_multiple_of(CONSTANT_ALIGN as usize);
        self.padding += offset - self.bytes.len() + padding;
        self.bytes.resize(offset, 0);
        self.bytes.extend_from_slice(block);
        self.known.insert(block.to_vec(), offset);
        offset
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The section, and how many of its bytes are padding.
    pub(super) fn finish(self) -> (Vec<u8>, usize) {
        (self.bytes, self.padding)
    }
}
