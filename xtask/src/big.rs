//! `big`: a model of 4 GiB with its weights in several external files goes through import and folding. The weights
//! must stay where they are: the limit is on what the process has in memory at its peak.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use miette::{IntoDiagnostic, Result, miette};
use tinsmith_proto::attribute_proto::AttributeType;
use tinsmith_proto::tensor_proto::{DataLocation, DataType};
use tinsmith_proto::tensor_shape_proto::{Dimension, dimension};
use tinsmith_proto::{
    AttributeProto, GraphProto, Message, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto,
    TensorProto, TensorShapeProto, TypeProto, ValueInfoProto, type_proto,
};

use crate::root;

/// The most mebibytes that the process may have in memory.
const LIMIT_MIB: u64 = 600;
/// Bytes of weights in all, and in a file.
const ALL_BYTES: u64 = 4 << 30;
const FILE_BYTES: u64 = 512 << 20;

pub(crate) fn run(tinsmith: &Path) -> Result<bool> {
    let folder = root().join("target/big");
    fs::create_dir_all(&folder).into_diagnostic()?;
    let mut big = Big::default();
    big.build();
    big.write(&folder)?;
    println!(
        "{} nodes, {} MiB of weights in {} files",
        big.graph.node.len(),
        big.bytes >> 20,
        big.bytes.div_ceil(FILE_BYTES)
    );
    let start = Instant::now();
    let mut child = Command::new(tinsmith)
        .arg("check")
        .arg(folder.join("big.onnx"))
        .stdout(Stdio::null())
        .spawn()
        .into_diagnostic()?;
    // The kernel's own high-water mark, read until the process ends.
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let exit = loop {
        peak = peak.max(high_water_mark(&status).unwrap_or(0));
        if let Some(exit) = child.try_wait().into_diagnostic()? {
            break exit;
        }
        thread::sleep(Duration::from_millis(5));
    };
    let peak_mib = peak >> 10;
    println!(
        "peak {peak_mib} MiB resident (limit {LIMIT_MIB}), {:.1} s, {exit}",
        start.elapsed().as_secs_f64()
    );
    fs::remove_dir_all(&folder).into_diagnostic()?;
    if peak == 0 {
        return Err(miette!("/proc/*/status with VmHWM is needed to measure"));
    }
    Ok(exit.success() && peak_mib < LIMIT_MIB)
}

/// Kibibytes that a process has had in memory at most.
fn high_water_mark(status: &str) -> Option<u64> {
    let text = fs::read_to_string(status).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The model in the making.
#[derive(Default)]
struct Big {
    graph: GraphProto,
    /// Bytes of weights so far.
    bytes: u64,
    /// The value that the next layer reads.
    value: String,
}

impl Big {
    /// Blocks of what exporters write: convolutions with batch norm, Gemm with transposed weights, MatMul with a bias.
    fn build(&mut self) {
        self.graph.name = "big".into();
        self.input("image", &[1, 512, 8, 8]);
        self.value = "image".into();
        for i in 0..64 {
            self.conv(i);
        }
        self.node("GlobalAveragePool", "pooled", &[], vec![]);
        self.node("Flatten", "flat", &[], vec![]);
        let mut width = 512;
        let mut i = 0;
        while self.bytes < ALL_BYTES {
            let next = if i % 2 == 0 { 4096 } else { 8192 };
            self.dense(i, width, next);
            (width, i) = (next, i + 1);
        }
        self.graph.output.push(ValueInfoProto {
            name: self.value.clone(),
            ..ValueInfoProto::default()
        });
    }

    fn conv(&mut self, i: usize) {
        let weights = self.weights(&format!("conv{i}.weight"), &[512, 512, 3, 3]);
        let scale = self.weights(&format!("bn{i}.weight"), &[512]);
        let bias = self.weights(&format!("bn{i}.bias"), &[512]);
        let mean = self.weights(&format!("bn{i}.mean"), &[512]);
        let variance = self.weights(&format!("bn{i}.var"), &[512]);
        let pads = AttributeProto {
            name: "pads".into(),
            r#type: AttributeType::Ints.into(),
            ints: vec![1; 4],
            ..AttributeProto::default()
        };
        self.node("Conv", &format!("conv{i}"), &[weights], vec![pads]);
        self.node(
            "BatchNormalization",
            &format!("bn{i}"),
            &[scale, bias, mean, variance],
            vec![],
        );
        self.node("Relu", &format!("relu{i}"), &[], vec![]);
    }

    fn dense(&mut self, i: usize, from: i64, to: i64) {
        let bias = self.weights(&format!("dense{i}.bias"), &[to]);
        if i.is_multiple_of(3) {
            let transposed = AttributeProto {
                name: "transB".into(),
                r#type: AttributeType::Int.into(),
                i: 1,
                ..AttributeProto::default()
            };
            let weights = self.weights(&format!("dense{i}.weight"), &[to, from]);
            self.node("Gemm", &format!("dense{i}"), &[weights, bias], vec![transposed]);
        } else {
            let weights = self.weights(&format!("dense{i}.weight"), &[from, to]);
            self.node("MatMul", &format!("product{i}"), &[weights], vec![]);
            self.node("Add", &format!("dense{i}"), &[bias], vec![]);
        }
    }

    fn input(&mut self, name: &str, dims: &[i64]) {
        let dim = dims.iter().map(|&extent| Dimension {
            value: Some(dimension::Value::DimValue(extent)),
            ..Dimension::default()
        });
        let tensor = type_proto::Tensor {
            elem_type: DataType::Float.into(),
            shape: Some(TensorShapeProto { dim: dim.collect() }),
        };
        self.graph.input.push(ValueInfoProto {
            name: name.into(),
            r#type: Some(TypeProto {
                value: Some(type_proto::Value::TensorType(tensor)),
                ..TypeProto::default()
            }),
            ..ValueInfoProto::default()
        });
    }

    /// A node that reads the value of the one before and these.
    fn node(&mut self, operator: &str, output: &str, more: &[String], attribute: Vec<AttributeProto>) {
        let mut input = vec![std::mem::replace(&mut self.value, output.to_owned())];
        input.extend_from_slice(more);
        self.graph.node.push(NodeProto {
            name: format!("/{output}"),
            op_type: operator.into(),
            input,
            output: vec![output.to_owned()],
            attribute,
            ..NodeProto::default()
        });
    }

    fn weights(&mut self, name: &str, dims: &[i64]) -> String {
        let bytes = dims.iter().product::<i64>().unsigned_abs() * 4;
        let entry = |key: &str, value: String| StringStringEntryProto {
            key: key.into(),
            value,
        };
        if self.bytes % FILE_BYTES + bytes > FILE_BYTES {
            self.bytes = self.bytes.next_multiple_of(FILE_BYTES);
        }
        self.graph.initializer.push(TensorProto {
            name: name.into(),
            dims: dims.to_vec(),
            data_type: DataType::Float.into(),
            data_location: DataLocation::External.into(),
            external_data: vec![
                entry("location", format!("weights-{}.bin", self.bytes / FILE_BYTES)),
                entry("offset", (self.bytes % FILE_BYTES).to_string()),
                entry("length", bytes.to_string()),
            ],
            ..TensorProto::default()
        });
        self.bytes += bytes;
        name.to_owned()
    }

    /// Writes the model, and its weights into files with holes: the first page of each tensor differs from all others.
    fn write(&self, folder: &Path) -> Result<()> {
        for (number, tensor) in self.graph.initializer.iter().enumerate() {
            let value = |i: usize| tensor.external_data[i].value.as_str();
            let path = folder.join(value(0));
            let mut file = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(path)
                .into_diagnostic()?;
            let offset: u64 = value(1).parse().into_diagnostic()?;
            let length: u64 = value(2).parse().into_diagnostic()?;
            if file.metadata().into_diagnostic()?.len() < offset + length {
                file.set_len(offset + length).into_diagnostic()?;
            }
            file.seek(SeekFrom::Start(offset)).into_diagnostic()?;
            let first: Vec<u8> = (0..512_u16)
                .flat_map(|i| (f32::from(i) / 1e3 + number as f32).to_le_bytes())
                .collect();
            file.write_all(&first).into_diagnostic()?;
        }
        let model = ModelProto {
            ir_version: 10,
            producer_name: "tinsmith xtask big".into(),
            opset_import: vec![OperatorSetIdProto {
                domain: String::new(),
                version: 17,
            }],
            graph: Some(self.graph.clone()),
            ..ModelProto::default()
        };
        fs::write(folder.join("big.onnx"), model.encode_to_vec()).into_diagnostic()
    }
}
