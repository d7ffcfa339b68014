//! Working memory: given by the caller, seen by kernels through [`Memory`].

use crate::format::{ARENA_ALIGN, IN_CONSTANTS};
use crate::kernels::{Extent, Extents};

/// An arena of fixed size with the alignment that models need, for firmware.
#[derive(Clone, Debug)]
#[repr(C, align(16))]
pub struct Arena<const BYTES: usize>([u8; BYTES]);

const _: () = assert!(align_of::<Arena<1>>() == ARENA_ALIGN as usize);

impl<const BYTES: usize> Arena<BYTES> {
    /// An arena of zeros.
    pub const fn new() -> Self {
        Self([0; BYTES])
    }

    /// Its bytes.
    pub const fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// Its bytes, to run a model over.
    pub const fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl<const BYTES: usize> Default for Arena<BYTES> {
    fn default() -> Self {
        Self::new()
    }
}

/// What of `bytes` follows the first address with the alignment that models need: for hosts, which take
/// [`slack_bytes`] more than the arena has.
pub fn align(bytes: &mut [u8]) -> &mut [u8] {
    let skip = bytes.as_ptr().align_offset(ARENA_ALIGN as usize);
    bytes.get_mut(skip..).unwrap_or_default()
}

/// Bytes that [`align`] may drop.
pub const fn slack_bytes() -> usize {
    ARENA_ALIGN as usize - 1
}

/// What a kernel may touch: the arena, and the constants section.
#[derive(Debug)]
pub struct Memory<'m> {
    arena: &'m mut [u8],
    constants: &'m [u8],
}

/// The bytes of `extent` as indices.
fn range(extent: Extent) -> core::ops::Range<usize> {
    let first = (extent.offset & !IN_CONSTANTS) as usize;
    first..first.wrapping_add(extent.bytes as usize)
}

impl<'m> Memory<'m> {
    pub(crate) fn new(arena: &'m mut [u8], constants: &'m [u8]) -> Self {
        Self { arena, constants }
    }

    /// A constants block.
    pub(crate) fn constants(&self, block: Option<Extent>) -> Option<&'m [u8]> {
        self.constants.get(range(block?))
    }

    /// A source, in the arena or in the constants section.
    pub(crate) fn source(&self, extent: Extent) -> Option<&[u8]> {
        let memory = if extent.in_constants() {
            self.constants
        } else {
            &*self.arena
        };
        memory.get(range(extent))
    }

    /// A region of the arena, to write.
    pub(crate) fn output(&mut self, extent: Extent) -> Option<&mut [u8]> {
        self.arena.get_mut(range(extent))
    }

    /// The first source and the output of a kernel that does not run in place.
    pub(crate) fn source_and_output(&mut self, extents: &Extents) -> Option<(&[u8], &mut [u8])> {
        let [Some(source), ..] = extents.sources else {
            return None;
        };
        if source.in_constants() {
            return Some((
                self.constants.get(range(source))?,
                self.arena.get_mut(range(extents.output))?,
            ));
        }
        let [source, output] = self
            .arena
            .get_disjoint_mut([range(source), range(extents.output)])
            .ok()?;
        Some((source, output))
    }

    /// The first sources, which may overlap, and the output of a kernel that does not run in place.
    pub(crate) fn sources_and_output<const N: usize>(
        &mut self,
        extents: &Extents,
    ) -> Option<([&[u8]; N], &mut [u8])> {
        let output = range(extents.output);
        let (before, rest) = self.arena.split_at_mut_checked(output.start)?;
        let (ofm, after) = rest.split_at_mut_checked(extents.output.bytes as usize)?;
        let (before, after, constants) = (&*before, &*after, self.constants);
        let find = |source: Extent| {
            let bytes = range(source);
            if source.in_constants() {
                constants.get(bytes)
            } else if bytes.start < output.end {
                before.get(bytes)
            } else {
                after
                    .get(bytes.start.wrapping_sub(output.end)..)?
                    .get(..bytes.len())
            }
        };
        let mut sources = [&[][..]; N];
        for (slot, &source) in sources.iter_mut().zip(&extents.sources) {
            *slot = find(source?)?;
        }
        Some((sources, ofm))
    }

    /// The output, holding the first source's bytes: for kernels that may run in place.
    pub(crate) fn output_from_source(&mut self, extents: &Extents) -> Option<&mut [u8]> {
        if extents.sources.first() != Some(&Some(extents.output)) {
            let (source, output) = self.source_and_output(extents)?;
            output.iter_mut().zip(source).for_each(|(to, &from)| *to = from);
        }
        self.output(extents.output)
    }

    /// Two regions that do not overlap, to write.
    pub(crate) fn two(&mut self, a: Extent, b: Extent) -> Option<[&mut [u8]; 2]> {
        self.arena.get_disjoint_mut([range(a), range(b)]).ok()
    }
}
