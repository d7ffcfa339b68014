//! A checked blob: after [`Blob::check`] no accessor can fail, and a model runs within the arena.

use core::ops::Range;

use crate::check::{BlobError, check_steps};
use crate::format::metadata::{Port, RawPort, as_str, take_text};
use crate::format::{
    DIGEST_BYTES, Field, HEAD_BYTES, IN_CONSTANTS, MAGIC, VERSION, WHEN_FALSE, checksum, field,
};
use crate::kernels::{self, Extent, Kernel, Layer};
use crate::lanes::LaneId;

/// A blob whose structure and checksum were proven.
#[derive(Clone, Copy, Debug)]
pub struct Blob<'a> {
    bytes: &'a [u8],
    metadata: &'a [u8],
    program: &'a [u8],
    constants: &'a [u8],
    names: &'a [u8],
    arena_bytes: u32,
    state: Extent,
    work: u64,
}

/// The number at `offset`; zero beyond the header, where no field is.
fn word(header: &[u8; field::HEADER_BYTES], offset: usize) -> u32 {
    let bytes = header.get(offset..).and_then(<[u8]>::first_chunk);
    bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

impl<'a> Blob<'a> {
    /// Proves a blob: its header, its checksum, every record and every region it touches, its metadata. `bytes` may
    /// be longer than the blob, as flash is.
    ///
    /// # Errors
    /// The first thing that is not as it must be.
    pub fn check(bytes: &'a [u8]) -> Result<Self, BlobError> {
        Self::check_for(bytes, kernels::ALL)
    }

    /// [`Blob::check`] for the kernels of a firmware: it links the proofs of no others. A record of another kernel is
    /// an error.
    ///
    /// # Errors
    /// As [`Blob::check`].
    pub fn check_for(bytes: &'a [u8], kernels: &[Kernel]) -> Result<Self, BlobError> {
        if bytes.get(..MAGIC.len()) != Some(MAGIC.as_slice()) {
            return Err(BlobError::NotABlob);
        }
        let given = bytes.len();
        let truncated = |needed: usize| BlobError::Truncated { needed, given };
        let header = bytes.first_chunk().ok_or(truncated(field::HEADER_BYTES))?;
        let [version_low, version_high, lanes, ..] = word(header, field::VERSION).to_le_bytes();
        let version = u16::from_le_bytes([version_low, version_high]);
        if version != VERSION {
            return Err(BlobError::Version {
                found: version,
                wanted: VERSION,
            });
        }
        if LaneId::from_code(lanes).is_none() {
            return Err(BlobError::Lanes {
                found: lanes,
                wanted: LaneId::Portable,
            });
        }
        let total = word(header, field::TOTAL_BYTES) as usize;
        let bytes = bytes.get(..total).ok_or(truncated(total))?;
        if checksum(bytes) != Some(word(header, field::CRC)) {
            return Err(BlobError::Checksum);
        }
        let section = |at: usize, align: u32| {
            let (offset, length) = (word(header, at), word(header, at.wrapping_add(4)));
            let end = offset.checked_add(length)?;
            let body = bytes.get(..bytes.len().checked_sub(DIGEST_BYTES)?)?;
            let behind_header = offset as usize >= field::HEADER_BYTES && offset.is_multiple_of(align);
            body.get(offset as usize..end as usize).filter(|_| behind_header)
        };
        let layout = || {
            Some(Self {
                bytes,
                metadata: section(field::METADATA_OFFSET, 1)?,
                program: section(field::PROGRAM_OFFSET, 4)?,
                constants: section(field::CONSTANTS_OFFSET, crate::format::CONSTANT_ALIGN)?,
                names: section(field::NAMES_OFFSET, 1)?,
                arena_bytes: Some(word(header, field::ARENA_BYTES)).filter(|&bytes| bytes < IN_CONSTANTS)?,
                state: Extent {
                    offset: word(header, field::STATE_OFFSET),
                    bytes: word(header, field::STATE_BYTES),
                },
                work: 0,
            })
        };
        let mut blob = layout().ok_or(BlobError::Layout)?;
        if !blob.state.ends_within(blob.arena_bytes) {
            return Err(BlobError::Layout);
        }
        blob.work = check_steps(&blob, kernels, word(header, field::STEP_COUNT))?;
        blob.check_texts(word(header, field::STEP_COUNT))
            .ok_or(BlobError::Metadata)?;
        Ok(blob)
    }

    /// Proves the SHA-256 over all of it.
    ///
    /// # Errors
    /// [`BlobError::Digest`] where it is another.
    #[cfg(feature = "verify")]
    pub fn verify(&self) -> Result<(), BlobError> {
        let stored = self.digest();
        match crate::format::digest(self.bytes) {
            Some(digest) if digest == stored => Ok(()),
            _ => Err(BlobError::Digest),
        }
    }

    /// The stored SHA-256: the blob's name.
    pub fn digest(&self) -> [u8; DIGEST_BYTES] {
        self.bytes.last_chunk().copied().unwrap_or_default()
    }

    /// All bytes of the blob, and none behind it.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The constants section.
    pub const fn constants(&self) -> &'a [u8] {
        self.constants
    }

    /// Bytes of arena that an inference needs.
    pub const fn arena_bytes(&self) -> u32 {
        self.arena_bytes
    }

    /// The region of the arena that is kept between runs.
    pub const fn state(&self) -> Extent {
        self.state
    }

    /// Multiply-accumulates, taps and elements of one inference: what the loops of all steps count to, and those of a
    /// repeated body as often as they may.
    pub const fn work(&self) -> u64 {
        self.work
    }

    /// The records of the steps.
    pub(crate) fn records(&self) -> Records<'a> {
        Records(self.program)
    }

    /// The steps, decoded.
    pub fn steps(&self) -> impl Iterator<Item = Layer> + use<'a> {
        self.records()
            .filter_map(|record| Layer::read(record.opcode, record.fields))
    }

    /// Name of step `index`; `None` where the names were stripped.
    pub fn step_name(&self, index: usize) -> Option<&'a str> {
        let mut names = self.names;
        (0..index).try_for_each(|_| take_text(&mut names).map(|_| ()))?;
        take_text(&mut names).map(as_str)
    }

    /// What the caller writes, in the model's order.
    pub fn inputs(&self) -> impl Iterator<Item = Port<'a>> + use<'a> {
        let counts = Counts::new(self.metadata);
        self.ports().take(counts.inputs).map(|port| port.port())
    }

    /// What the caller reads, in the model's order.
    pub fn outputs(&self) -> impl Iterator<Item = Port<'a>> + use<'a> {
        let counts = Counts::new(self.metadata);
        self.ports().skip(counts.inputs).map(|port| port.port())
    }

    /// The model's name.
    pub fn model(&self) -> &'a str {
        self.head_text(0)
    }

    /// The model's own version.
    pub fn model_version(&self) -> &'a str {
        self.head_text(1)
    }

    /// What wrote the model.
    pub fn producer(&self) -> &'a str {
        self.head_text(2)
    }

    /// The name of the target it was compiled for.
    pub fn target(&self) -> &'a str {
        self.head_text(3)
    }

    /// Class names, in the order of the output's classes.
    pub fn labels(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let counts = Counts::new(self.metadata);
        self.tail_texts().take(counts.labels)
    }

    /// How raw data becomes an input, as keys and values.
    pub fn preprocessing(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let counts = Counts::new(self.metadata);
        let mut texts = self.tail_texts().skip(counts.labels);
        core::iter::from_fn(move || texts.next().zip(texts.next()))
    }

    /// Where input `index` lies in the arena.
    pub(crate) fn input_range(&self, index: usize) -> Option<Range<usize>> {
        let inputs = Counts::new(self.metadata).inputs;
        self.ports().take(inputs).nth(index).map(range)
    }

    /// Where output `index` lies in the arena.
    pub(crate) fn output_range(&self, index: usize) -> Option<Range<usize>> {
        let inputs = Counts::new(self.metadata).inputs;
        self.ports().nth(inputs.checked_add(index)?).map(range)
    }

    fn head_text(&self, index: usize) -> &'a str {
        let mut rest = self.metadata.get(Counts::BYTES..).unwrap_or_default();
        let mut texts = core::iter::from_fn(|| take_text(&mut rest));
        texts.nth(index).map(as_str).unwrap_or_default()
    }

    fn ports(&self) -> Ports<'a> {
        let counts = Counts::new(self.metadata);
        let mut rest = self.metadata.get(Counts::BYTES..).unwrap_or_default();
        for _ in 0..Counts::HEAD_TEXTS {
            take_text(&mut rest);
        }
        Ports {
            rest,
            left: counts.inputs.wrapping_add(counts.outputs),
        }
    }

    /// The texts behind the ports: labels, then keys and values in turn.
    fn tail_texts(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let mut ports = self.ports();
        ports.by_ref().for_each(drop);
        let mut rest = ports.rest;
        core::iter::from_fn(move || take_text(&mut rest).map(as_str))
    }

    /// Proves the sections that hold texts.
    fn check_texts(&self, steps: u32) -> Option<()> {
        let counts = Counts::new(self.metadata);
        let mut rest = self.metadata.get(Counts::BYTES..)?;
        (0..Counts::HEAD_TEXTS).try_for_each(|_| take_text(&mut rest).map(drop))?;
        for _ in 0..counts.inputs.wrapping_add(counts.outputs) {
            let port = RawPort::take(&mut rest)?;
            let extent = Extent {
                offset: port.offset,
                bytes: port.bytes,
            };
            (port.is_valid() && extent.ends_within(self.arena_bytes)).then_some(())?;
            extent.is_disjoint(self.state).then_some(())?;
        }
        let texts = counts.labels.wrapping_add(counts.preprocessing.wrapping_mul(2));
        (0..texts).try_for_each(|_| take_text(&mut rest).map(drop))?;
        let mut names = self.names;
        if !names.is_empty() {
            (0..steps).try_for_each(|_| take_text(&mut names).map(drop))?;
        }
        (rest.is_empty() && names.is_empty()).then_some(())
    }
}

/// What the metadata section begins with; zeros where it is too short.
#[derive(Clone, Copy, Default)]
struct Counts {
    inputs: usize,
    outputs: usize,
    labels: usize,
    preprocessing: usize,
}

impl Counts {
    /// Bytes of it.
    const BYTES: usize = 6;
    /// Texts between it and the ports.
    const HEAD_TEXTS: usize = 4;

    fn new(mut metadata: &[u8]) -> Self {
        let bytes = &mut metadata;
        let counts = <[u8; 2]>::take(bytes).zip(<[u16; 2]>::take(bytes));
        counts.map_or(Self::default(), |([inputs, outputs], [labels, preprocessing])| {
            Self {
                inputs: inputs.into(),
                outputs: outputs.into(),
                labels: labels.into(),
                preprocessing: preprocessing.into(),
            }
        })
    }
}

/// The ports of a metadata section.
struct Ports<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Iterator for Ports<'a> {
    type Item = RawPort<'a>;
    fn next(&mut self) -> Option<RawPort<'a>> {
        self.left = self.left.checked_sub(1)?;
        RawPort::take(&mut self.rest)
    }
}

/// A record of a program section.
#[derive(Clone, Copy)]
pub(crate) struct Record<'a> {
    pub(crate) opcode: u8,
    pub(crate) fields: &'a [u8],
    /// What must be so for the step to be executed.
    pub(crate) guards: &'a [[u8; 4]],
}

impl Record<'_> {
    /// Whether the guards let the step run; `None` where one lies outside the arena.
    pub(crate) fn is_wanted(&self, arena: &[u8]) -> Option<bool> {
        let mut wanted = true;
        for &guard in self.guards {
            let guard = u32::from_le_bytes(guard);
            let holds = *arena.get((guard & !WHEN_FALSE) as usize)? != 0;
            wanted &= holds == (guard & WHEN_FALSE == 0);
        }
        Some(wanted)
    }
}

/// The records of a program section.
#[derive(Clone, Copy)]
pub(crate) struct Records<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;
    fn next(&mut self) -> Option<Self::Item> {
        let (&[opcode, words, guards, _], rest) = self.0.split_first_chunk::<HEAD_BYTES>()?;
        let (fields, rest) = rest.split_at_checked(usize::from(words).wrapping_mul(4))?;
        let (guards, rest) = rest.split_at_checked(usize::from(guards).wrapping_mul(4))?;
        self.0 = rest;
        Some(Record {
            opcode,
            fields,
            guards: guards.as_chunks().0,
        })
    }
}

fn range(port: RawPort<'_>) -> Range<usize> {
    let first = port.offset as usize;
    first..first.wrapping_add(port.bytes as usize)
}
