//! The blob's format: what is written is read back; what is damaged is refused or runs safely.

mod damage;
mod refusals;

use tinsmith_runtime::Blob;
use tinsmith_runtime::format::metadata::{DType, Dims, Layout, MAX_RANK};
use tinsmith_runtime::format::{
    Add, AveragePool, Conv2d, DIGEST_BYTES, Delay, Dense, DepthwiseConv2d, Fill, IN_CONSTANTS, MaxPool, Mul,
    Pair, Softmax, StridedCopy, Table, Window, crc32, field,
};
use tinsmith_runtime::kernels::{Layer, softmax};

use crate::blobs::Parts;

const WINDOW: Window = Window {
    in_h: 4,
    in_w: 4,
    out_h: 4,
    out_w: 4,
    kernel_h: 3,
    kernel_w: 3,
    pad_top: 1,
    pad_left: 1,
    stride_h: 1,
    stride_w: 1,
    dilation_h: 1,
    dilation_w: 1,
};

/// A model with every kernel, over 4 × 4 × 8 tensors at 0, 128 and 256.
pub(crate) fn every_kernel() -> Parts {
    let mut parts = Parts {
        arena_bytes: 512,
        state: (384, 16),
        inputs: vec![(0, 128)],
        outputs: vec![(128, 128), (256, 8)],
        ..Parts::default()
    };
    let filters = |weights: usize| {
        let mut block: Vec<u8> = [100i32; 8].iter().flat_map(|bias| bias.to_le_bytes()).collect();
        block.extend(
            [1i32 << 30; 8]
                .iter()
                .flat_map(|multiplier| multiplier.to_le_bytes()),
        );
        block.extend([37; 8]);
        block.resize(80, 0);
        block.extend((0..weights).map(|i| (i * 37) as u8));
        block
    };
    let conv = parts.constants_block(&filters(8 * 9 * 4));
    let depthwise = parts.constants_block(&filters(9 * 8));
    let dense = parts.constants_block(&filters(8 * 128));
    let table = parts.constants_block(&(0..=255).rev().collect::<Vec<u8>>());
    let mut exponentials = [0; softmax::CONSTANTS_BYTES];
    softmax::constants(0.1, &mut exponentials);
    let exponentials = parts.constants_block(&exponentials);
    let scales = parts.constants_block(&[[0, 0, 0, 64].repeat(9), vec![36; 9]].concat());
    let operand = parts.constants_block(&[1, 2, 3, 4, 5, 6, 7, 8]);
    let record = Conv2d {
        window: WINDOW,
        in_c: 8,
        out_c: 8,
        groups: 2,
        ifm_zero_point: 5,
        ofm_zero_point: -4,
        min: -128,
        max: 127,
        constants: conv,
        ..Conv2d::default()
    };
    let (dims, dense_strides) = ([1, 4, 4, 8], [128, 32, 8, 1]);
    parts.layers = vec![
        Layer::Conv2d(Conv2d {
            ifm: 0,
            ofm: 128,
            ..record
        }),
        Layer::DepthwiseConv2d(DepthwiseConv2d(Conv2d {
            ifm: 128,
            ofm: 256,
            groups: 8,
            constants: depthwise,
            ..record
        })),
        Layer::Add(Add {
            operands: Pair {
                a: 0,
                b: 256,
                ofm: 256,
                dims,
                a_strides: dense_strides,
                b_strides: dense_strides,
            },
            a_multiplier: 1 << 20,
            b_multiplier: 1 << 19,
            right_shift: 20,
            min: -128,
            max: 127,
            ..Add::default()
        }),
        Layer::Mul(Mul {
            operands: Pair {
                a: 256,
                b: operand | IN_CONSTANTS,
                ofm: 0,
                dims,
                a_strides: dense_strides,
                b_strides: [0, 0, 0, 1],
            },
            multiplier: 1 << 30,
            shift: 34,
            min: -128,
            max: 127,
            ..Mul::default()
        }),
        Layer::Table(Table {
            ifm: 0,
            ofm: 0,
            constants: table,
            count: 128,
        }),
        Layer::MaxPool(MaxPool {
            ifm: 0,
            ofm: 128,
            window: WINDOW,
            channels: 8,
            min: -128,
            max: 127,
        }),
        Layer::AveragePool(AveragePool {
            ifm: 128,
            ofm: 0,
            constants: scales,
            window: WINDOW,
            channels: 8,
            min: -128,
            max: 127,
            ..AveragePool::default()
        }),
        Layer::StridedCopy(StridedCopy {
            ifm: 0,
            ofm: 128,
            dims: [1, 1, 4, 4, 8],
            ifm_strides: [0, 0, 8, 32, 1],
            ofm_strides: [0, 0, 32, 8, 1],
            element_bytes: 1,
            ..StridedCopy::default()
        }),
        Layer::Dense(Dense {
            ifm: 128,
            ofm: 256,
            constants: dense,
            rows: 1,
            in_features: 128,
            out_features: 8,
            min: -128,
            max: 127,
            ..Dense::default()
        }),
        Layer::Softmax(Softmax {
            ifm: 256,
            ofm: 256,
            constants: exponentials,
            rows: 1,
            depth: 8,
            scale_mantissa: 1 << 23,
            scale_shift: 31,
            ofm_zero_point: -128,
            min: -128,
            max: 127,
        }),
        Layer::Delay(Delay {
            ifm: 256,
            ofm: 264,
            state: 384,
            count: 8,
            initial: 1,
        }),
        Layer::Fill(Fill {
            ofm: 272,
            count: 9,
            value: -1,
        }),
    ];
    parts.names = (0..parts.layers.len()).map(|i| format!("step_{i}")).collect();
    parts
}

#[test]
fn what_is_written_is_read_back() {
    let parts = every_kernel();
    let bytes = parts.blob();
    let blob = Blob::check(&bytes).unwrap();
    assert_eq!(blob.steps().collect::<Vec<_>>(), parts.layers);
    assert_eq!(
        (blob.model(), blob.model_version(), blob.producer(), blob.target()),
        ("model", "3", "tests", "host")
    );
    assert_eq!(blob.labels().collect::<Vec<_>>(), ["cat", "dog"]);
    assert_eq!(blob.preprocessing().collect::<Vec<_>>(), [("mean", "0.5")]);
    let ports: Vec<_> = blob.inputs().chain(blob.outputs()).collect();
    assert_eq!(
        ports.iter().map(|port| port.name).collect::<Vec<_>>(),
        ["in0", "out0", "out1"]
    );
    assert_eq!((blob.inputs().count(), blob.outputs().count()), (1, 2));
    let port = ports[2];
    assert_eq!(
        (port.offset, port.bytes, port.shape.as_slice()),
        (256, 8, [1, 8].as_slice())
    );
    assert_eq!(
        (port.dtype, port.model_dtype, port.layout),
        (DType::I8, DType::F32, Layout::Onnx)
    );
    assert_eq!((port.scale, port.zero_point), (0.5, -3));
    assert_eq!(
        (blob.arena_bytes(), blob.state().offset, blob.state().bytes),
        (512, 384, 16)
    );
    assert_eq!(blob.constants(), parts.constants);
    let names = |blob: Blob<'_>| {
        (0..13)
            .map(|i| blob.step_name(i).map(str::to_owned))
            .collect::<Vec<_>>()
    };
    assert_eq!(names(blob)[11].as_deref(), Some("step_11"));
    assert_eq!(names(blob)[12], None);
    blob.verify().unwrap();
    assert_eq!(blob.digest(), bytes[bytes.len() - DIGEST_BYTES..]);

    let stripped = Parts {
        names: Vec::new(),
        ..parts
    }
    .blob();
    assert_eq!(names(Blob::check(&stripped).unwrap()), vec![None; 13]);
}

#[test]
fn flash_may_go_on_behind_the_blob() {
    let mut bytes = every_kernel().blob();
    let length = bytes.len();
    bytes.extend([0xff; 100]);
    assert_eq!(Blob::check(&bytes).unwrap().bytes().len(), length);
}

#[test]
fn records_have_their_documented_sizes() {
    let sizes = every_kernel()
        .layers
        .into_iter()
        .map(|layer| (layer.name(), layer.opcode(), layer.field_bytes()));
    let mut sizes: Vec<_> = sizes.collect();
    sizes.sort_by_key(|&(_, opcode, _)| opcode);
    let documented = [
        ("Conv2d", 1, 48),
        ("DepthwiseConv2d", 2, 48),
        ("Dense", 3, 32),
        ("Add", 4, 76),
        ("Mul", 5, 72),
        ("Table", 6, 16),
        ("MaxPool", 7, 36),
        ("AveragePool", 8, 48),
        ("Softmax", 9, 28),
        ("StridedCopy", 10, 76),
        ("Fill", 11, 12),
        ("Delay", 12, 20),
    ];
    assert_eq!(sizes, documented);
    let page = include_str!("../runtime/FORMAT.md");
    for (name, opcode, bytes) in documented {
        let heading = format!("### {opcode}: {name} ({bytes} bytes)");
        assert!(page.contains(&heading), "FORMAT.md lacks `{heading}`");
    }
}

#[test]
fn header_fields_do_not_overlap() {
    let words = [
        field::TOTAL_BYTES,
        field::CRC,
        field::ARENA_BYTES,
        field::STATE_OFFSET,
        field::STATE_BYTES,
        field::STEP_COUNT,
        field::METADATA_OFFSET,
        field::METADATA_BYTES,
        field::PROGRAM_OFFSET,
        field::PROGRAM_BYTES,
        field::CONSTANTS_OFFSET,
        field::CONSTANTS_BYTES,
        field::NAMES_OFFSET,
        field::NAMES_BYTES,
    ];
    assert!(words.iter().zip(2..).all(|(&at, word)| at == 4 * word));
    assert_eq!(field::HEADER_BYTES, 4 * (words.len() + 2));
}

#[test]
fn crc32_is_iso_hdlc() {
    assert_eq!(crc32(&[b"123456789"]), 0xcbf4_3926);
    assert_eq!(crc32(&[b"1234", b"", b"56789"]), 0xcbf4_3926);
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
    let bytes: Vec<u8> = (0..1000u32).map(|i| (i * i) as u8).collect();
    assert_eq!(crc32(&[&bytes]), crc.checksum(&bytes));
}

#[test]
fn dims_hold_any_rank_up_to_the_most() {
    assert_eq!(Dims::new(&[]).unwrap().as_slice(), &[] as &[u32]);
    assert_eq!(Dims::new(&[7; MAX_RANK]).unwrap().as_slice(), [7; MAX_RANK]);
    assert_eq!(Dims::new(&[7; MAX_RANK + 1]), None);
}
