//! Writes the blob: header, program, metadata, constants, names, digest.

use sha2::{Digest, Sha256};
use tinsmith_runtime::Blob;
use tinsmith_runtime::format::metadata::{
    DType as StoredType, Dims, MAX_RANK, Metadata, Port as StoredPort, write_text,
};
use tinsmith_runtime::format::{CONSTANT_ALIGN, DIGEST_BYTES, HEAD_BYTES, MAGIC, VERSION, WHEN_FALSE, field};
use tinsmith_runtime::kernels::Layer;
use tinsmith_runtime::lanes::LaneId;

use super::EmitError;
use crate::ir::{Port, Program, Step};
use crate::op::quant::Quantization;
use crate::op::tensor::DType;
use crate::target::{FlashTooSmall, Lanes, Target};

/// What goes into a blob beside the program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Leaves out what only people read: the names of the steps, and what the model says of itself.
    pub strip: bool,
    /// The model's own version.
    pub model_version: String,
    /// What wrote the model.
    pub producer: String,
    /// Class names, in the order of the output's classes.
    pub labels: Vec<String>,
    /// How raw data becomes an input, as keys and values.
    pub preprocessing: Vec<(String, String)>,
}

/// CRC-32 of zip and Ethernet, as the format wants it.
const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);

/// The blob of a program. It passes [`Blob::check`], which is asked at the end.
///
/// # Errors
/// Where the blob does not fit the target's flash, or a name, a label or the number of ports does not fit its field.
pub fn blob(target: &Target, program: &Program, options: &Options) -> Result<Vec<u8>, EmitError> {
    let mut bytes = vec![0; field::HEADER_BYTES];
    let records = bytes.len();
    program
        .steps
        .iter()
        .for_each(|step| write_record(&mut bytes, program, step));
    let metadata = bytes.len();
    write_metadata(&mut bytes, target, program, options)?;
    let metadata_end = bytes.len();
    bytes.resize(bytes.len().next_multiple_of(CONSTANT_ALIGN as usize), 0);
    let constants = bytes.len();
    bytes.extend_from_slice(&program.constants);
    let names = bytes.len();
    if !options.strip {
        for step in &program.steps {
            write_text(&step.name, &mut |part| bytes.extend_from_slice(part))
                .ok_or_else(|| too_long("node name", &step.name))?;
        }
    }
    let names_end = bytes.len();
    let total = names_end + DIGEST_BYTES;
    let available = target.flash().bytes.min(u32::MAX.into());
    if total as u64 > available {
        let layers = program
            .steps
            .iter()
            .map(|step| (step.name.clone(), constant_bytes(&step.layer)))
            .collect();
        return Err(FlashTooSmall::new(
            target.flash(),
            total as u64,
            program.plan.arena_bytes.into(),
            layers,
        )
        .into());
    }
    let mut put = |at: usize, value: usize| {
        let value = u32::try_from(value).expect("the blob was just found to have 32 bits of size");
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    };
    put(field::TOTAL_BYTES, total);
    put(field::ARENA_BYTES, program.plan.arena_bytes as usize);
    put(field::STATE_OFFSET, program.plan.state_offset as usize);
    put(field::STATE_BYTES, program.plan.state_bytes as usize);
    put(field::STEP_COUNT, program.steps.len());
    for (offset_at, start, end) in [
        (field::METADATA_OFFSET, metadata, metadata_end),
        (field::PROGRAM_OFFSET, records, metadata),
        (field::CONSTANTS_OFFSET, constants, names),
        (field::NAMES_OFFSET, names, names_end),
    ] {
        put(offset_at, start);
        // Every section's length stands behind its offset.
        put(offset_at + 4, end - start);
    }
    bytes[field::MAGIC..field::MAGIC + MAGIC.len()].copy_from_slice(&MAGIC);
    bytes[field::VERSION..field::VERSION + 2].copy_from_slice(&VERSION.to_le_bytes());
    bytes[field::LANES] = match target.lanes {
        Lanes::Portable => LaneId::Portable as u8,
    };
    seal(&mut bytes);
    Blob::check(&bytes)?;
    Ok(bytes)
}

/// Fills in the checksum and appends the digest.
fn seal(bytes: &mut Vec<u8>) {
    let mut crc = CRC.digest();
    crc.update(&bytes[..field::CRC]);
    crc.update(&bytes[field::CRC + 4..]);
    let crc = crc.finalize();
    bytes[field::CRC..field::CRC + 4].copy_from_slice(&crc.to_le_bytes());
    let digest = Sha256::digest(&bytes[..]);
    bytes.extend_from_slice(&digest);
}

/// Appends a record: its head, its fields, its guards.
fn write_record(bytes: &mut Vec<u8>, program: &Program, step: &Step) {
    let layer = &step.layer;
    let words = u8::try_from(layer.field_bytes() / 4).expect("records are shorter than 1 kB");
    let start = bytes.len();
    bytes.resize(start + HEAD_BYTES + layer.field_bytes(), 0);
    bytes[start] = layer.opcode();
    bytes[start + 1] = words;
    layer
        .write(&mut bytes[start + HEAD_BYTES..])
        .expect("the buffer has the record's own length");
    bytes[start + 2] = u8::try_from(step.guards.len()).expect("the scheduler sets few guards");
    for guard in &step.guards {
        let at = program.buffers[guard.access.buffer].offset + guard.access.offset;
        let word = if guard.when { at } else { at | WHEN_FALSE };
        bytes.extend(word.to_le_bytes());
    }
}

fn write_metadata(
    bytes: &mut Vec<u8>,
    target: &Target,
    program: &Program,
    options: &Options,
) -> Result<(), EmitError> {
    limits(target, program, options)?;
    let inputs = program
        .inputs
        .iter()
        .map(|port| stored_port(program, port))
        .collect::<Result<Vec<_>, _>>()?;
    let outputs = program
        .outputs
        .iter()
        .map(|port| stored_port(program, port))
        .collect::<Result<Vec<_>, _>>()?;
    let labels: Vec<&str> = options.labels.iter().map(String::as_str).collect();
    let preprocessing: Vec<(&str, &str)> = options
        .preprocessing
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    let metadata = Metadata {
        model: &program.name,
        version: &options.model_version,
        producer: &options.producer,
        target: &target.name,
        inputs: &inputs,
        outputs: &outputs,
        labels: &labels,
        preprocessing: &preprocessing,
    };
    metadata
        .write(&mut |part| bytes.extend_from_slice(part))
        .expect("every count and text was found to fit its field");
    Ok(())
}

/// The first count or text that does not fit its field.
fn limits(target: &Target, program: &Program, options: &Options) -> Result<(), EmitError> {
    for (what, found, most) in [
        ("inputs", program.inputs.len(), u8::MAX.into()),
        ("outputs", program.outputs.len(), u8::MAX.into()),
        ("labels", options.labels.len(), u16::MAX.into()),
        (
            "preprocessing entries",
            options.preprocessing.len(),
            u16::MAX.into(),
        ),
    ] {
        if found > most {
            return Err(EmitError::TooMany { what, found, most });
        }
    }
    let ports = program
        .inputs
        .iter()
        .chain(&program.outputs)
        .map(|port| ("tensor name", &port.name));
    let labels = options.labels.iter().map(|label| ("label", label));
    let preprocessing = options
        .preprocessing
        .iter()
        .flat_map(|(k, v)| [("preprocessing key", k), ("preprocessing value", v)]);
    let texts = [
        ("model name", &program.name),
        ("model version", &options.model_version),
        ("producer", &options.producer),
        ("target name", &target.name),
    ];
    let long = |(_, text): &(&str, &String)| text.len() > u16::MAX.into();
    match texts
        .into_iter()
        .chain(ports)
        .chain(labels)
        .chain(preprocessing)
        .find(long)
    {
        Some((what, text)) => Err(too_long(what, text)),
        None => Ok(()),
    }
}

fn too_long(what: &'static str, text: &str) -> EmitError {
    EmitError::TextTooLong {
        what,
        text: text.chars().take(32).collect(),
        bytes: text.len(),
    }
}

fn stored_port<'a>(program: &Program, port: &'a Port) -> Result<StoredPort<'a>, EmitError> {
    let refuse = |reason: String| EmitError::Port {
        port: port.name.clone(),
        reason,
    };
    let extents: Option<Vec<u32>> = port
        .ty
        .shape
        .iter()
        .map(|&extent| u32::try_from(extent).ok())
        .collect();
    let shape = extents.as_deref().and_then(Dims::new).ok_or_else(|| {
        refuse(format!(
            "at most {MAX_RANK} dimensions of 32 bits wanted, {} found",
            port.ty
        ))
    })?;
    let (scale, zero_point) = match &port.quantization {
        Quantization::PerTensor(params) => (params.scale, params.zero_point),
        Quantization::Plain => (1.0, 0),
        Quantization::PerChannel { .. } | Quantization::PerBlock { .. } => {
            return Err(refuse(
                "one scale for the whole tensor wanted, several found".into(),
            ));
        }
    };
    let stored = |dtype: DType| {
        stored_type(dtype)
            .ok_or_else(|| refuse(format!("an element type of whole bytes wanted, {dtype} found")))
    };
    Ok(StoredPort {
        name: &port.name,
        shape,
        dtype: stored(port.ty.dtype)?,
        model_dtype: stored(port.model_dtype)?,
        layout: port.layout,
        scale,
        zero_point,
        offset: program.buffers[port.access.buffer].offset + port.access.offset,
        bytes: port.access.bytes,
    })
}

fn stored_type(dtype: DType) -> Option<StoredType> {
    Some(match dtype {
        DType::F32 => StoredType::F32,
        DType::F64 => StoredType::F64,
        DType::I8 => StoredType::I8,
        DType::U8 => StoredType::U8,
        DType::I16 => StoredType::I16,
        DType::I32 => StoredType::I32,
        DType::I64 => StoredType::I64,
        DType::Bool => StoredType::Bool,
        DType::U16 => StoredType::U16,
        DType::U32 => StoredType::U32,
        DType::U64 => StoredType::U64,
        DType::F16 => StoredType::F16,
        DType::BF16 => StoredType::BF16,
        DType::Narrow(_) => return None,
    })
}

/// Bytes of a layer's constants block.
fn constant_bytes(layer: &Layer) -> u64 {
    layer
        .extents()
        .and_then(|extents| extents.constants)
        .map_or(0, |constants| constants.bytes.into())
}
