//! Blobs built by hand, record by record: what the runtime's own tests feed to it.

use tinsmith_runtime::arena;
use tinsmith_runtime::exec::{Model, RunError};
use tinsmith_runtime::format::metadata::{DType, Dims, Layout, Metadata, Port, write_text};
use tinsmith_runtime::format::{CONSTANT_ALIGN, MAGIC, VERSION, checksum, digest, field};
use tinsmith_runtime::kernels::{self, Layer};
use tinsmith_runtime::{Blob, BlobError};

/// A small seeded generator (splitmix64), so that a failure repeats.
pub(crate) struct Random(pub u64);

impl Random {
    /// The next 64 bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number of `low..=high`.
    pub(crate) fn range(&mut self, low: i64, high: i64) -> i64 {
        low + (self.bits() % (high - low + 1) as u64) as i64
    }

    /// An int8 value.
    pub(crate) fn i8(&mut self) -> i8 {
        self.bits() as i8
    }

    /// Bytes; some draws hold only extremes, which random bytes seldom are.
    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let extremes = self.range(0, 3) == 0;
        let extreme = |bits: u64| if bits & 1 == 0 { 0x80 } else { 0x7f };
        (0..count)
            .map(|_| {
                if extremes {
                    extreme(self.bits())
                } else {
                    self.bits() as u8
                }
            })
            .collect()
    }

    /// One of the values.
    pub(crate) fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.range(0, values.len() as i64 - 1) as usize]
    }
}

/// A blob's parts.
#[derive(Clone, Default)]
pub(crate) struct Parts {
    pub arena_bytes: u32,
    pub state: (u32, u32),
    pub layers: Vec<Layer>,
    /// Guards of the first layers.
    pub guards: Vec<Vec<u32>>,
    pub constants: Vec<u8>,
    /// Arena offset and bytes.
    pub inputs: Vec<(u32, u32)>,
    pub outputs: Vec<(u32, u32)>,
    pub names: Vec<String>,
}

fn ports(regions: &[(u32, u32)], prefix: &str) -> Vec<(String, Dims, u32)> {
    let named = regions.iter().enumerate();
    named
        .map(|(i, &(offset, bytes))| (format!("{prefix}{i}"), Dims::new(&[1, bytes]).unwrap(), offset))
        .collect()
}

fn as_ports(ports: &[(String, Dims, u32)]) -> Vec<Port<'_>> {
    ports
        .iter()
        .map(|(name, shape, offset)| Port {
            name,
            shape: *shape,
            dtype: DType::I8,
            model_dtype: DType::F32,
            layout: Layout::Onnx,
            scale: 0.5,
            zero_point: -3,
            offset: *offset,
            bytes: shape.as_slice()[1],
        })
        .collect()
}

impl Parts {
    /// Puts a constants block behind the others, and tells its offset.
    pub(crate) fn constants_block(&mut self, bytes: &[u8]) -> u32 {
        self.constants
            .resize(self.constants.len().next_multiple_of(CONSTANT_ALIGN as usize), 0);
        let offset = self.constants.len() as u32;
        self.constants.extend(bytes);
        offset
    }

    /// The blob, sealed.
    pub(crate) fn blob(&self) -> Vec<u8> {
        let (inputs, outputs) = (ports(&self.inputs, "in"), ports(&self.outputs, "out"));
        let mut metadata = Vec::new();
        let sections = Metadata {
            model: "model",
            version: "3",
            producer: "tests",
            target: "host",
            inputs: &as_ports(&inputs),
            outputs: &as_ports(&outputs),
            labels: &["cat", "dog"],
            preprocessing: &[("mean", "0.5")],
        };
        sections
            .write(&mut |bytes| metadata.extend_from_slice(bytes))
            .unwrap();
        let mut program = Vec::new();
        for (index, layer) in self.layers.iter().enumerate() {
            let guards = self.guards.get(index).map_or(&[][..], Vec::as_slice);
            let mut fields = vec![0; layer.field_bytes()];
            layer.write(&mut fields).unwrap();
            program.extend([layer.opcode(), (fields.len() / 4) as u8, guards.len() as u8, 0]);
            program.extend(fields);
            program.extend(guards.iter().flat_map(|guard| guard.to_le_bytes()));
        }
        let mut names = Vec::new();
        for name in &self.names {
            write_text(name, &mut |bytes| names.extend_from_slice(bytes)).unwrap();
        }

        let mut blob = vec![0; field::HEADER_BYTES];
        let put = |blob: &mut Vec<u8>, at: usize, section: &[u8]| {
            blob.resize(blob.len().next_multiple_of(CONSTANT_ALIGN as usize), 0);
            let start = blob.len() as u32;
            set(blob, at, start);
            set(blob, at + 4, section.len() as u32);
            blob.extend(section);
        };
        put(&mut blob, field::METADATA_OFFSET, &metadata);
        put(&mut blob, field::PROGRAM_OFFSET, &program);
        put(&mut blob, field::CONSTANTS_OFFSET, &self.constants);
        put(&mut blob, field::NAMES_OFFSET, &names);
        blob[field::MAGIC..4].copy_from_slice(&MAGIC);
        blob[field::VERSION..][..2].copy_from_slice(&VERSION.to_le_bytes());
        set(&mut blob, field::ARENA_BYTES, self.arena_bytes);
        set(&mut blob, field::STATE_OFFSET, self.state.0);
        set(&mut blob, field::STATE_BYTES, self.state.1);
        set(&mut blob, field::STEP_COUNT, self.layers.len() as u32);
        blob.extend([0; 32]);
        seal(&mut blob);
        blob
    }

    /// Checks the blob and runs it once over these inputs; gives the outputs.
    pub(crate) fn run(&self, inputs: &[&[u8]]) -> Vec<Vec<u8>> {
        let blob = self.blob();
        let blob = Blob::check(&blob).expect("the blob is right");
        run(blob, inputs).expect("the model runs")
    }

    /// What the check says of it.
    pub(crate) fn check(&self) -> Result<(), BlobError> {
        Blob::check(&self.blob()).map(drop)
    }
}

/// Sets a header field.
pub(crate) fn set(blob: &mut [u8], at: usize, value: u32) {
    blob[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// Writes total length, checksum and digest anew.
pub(crate) fn seal(blob: &mut [u8]) {
    let total = blob.len();
    set(blob, field::TOTAL_BYTES, total as u32);
    let crc = checksum(blob).unwrap();
    set(blob, field::CRC, crc);
    let digest = digest(blob).unwrap();
    blob[total - 32..].copy_from_slice(&digest);
}

/// Resets and runs a checked blob once, over an arena that ends with the model's last byte.
pub(crate) fn run(blob: Blob<'_>, inputs: &[&[u8]]) -> Result<Vec<Vec<u8>>, RunError> {
    let mut bytes = vec![0xa5; blob.arena_bytes() as usize + arena::slack_bytes()];
    let arena = arena::align(&mut bytes);
    let model = Model::new(blob, kernels::ALL)?;
    model.reset(arena)?;
    for (index, input) in inputs.iter().enumerate() {
        model.input_mut(arena, index).copy_from_slice(input);
    }
    model.run(arena, &mut ())?;
    Ok((0..blob.outputs().count())
        .map(|index| model.output(arena, index).to_vec())
        .collect())
}
