//! What a check refuses, by name.

use tinsmith_runtime::arena::{self, Arena};
use tinsmith_runtime::exec::{Model, RunError};
use tinsmith_runtime::format::{AveragePool, Conv2d, Fill, MaxPool, Softmax, StridedCopy, Table, field};
use tinsmith_runtime::kernels::{self, Kernel, Layer};
use tinsmith_runtime::lanes::LaneId;
use tinsmith_runtime::{Blob, BlobError, StepProblem};

use super::every_kernel;
use crate::blobs::{Parts, seal, set};

/// The error of the whole model with its header changed.
fn with_header(at: usize, value: u32) -> BlobError {
    let mut bytes = every_kernel().blob();
    set(&mut bytes, at, value);
    if at != field::TOTAL_BYTES {
        seal(&mut bytes);
    }
    Blob::check(&bytes).map(drop).unwrap_err()
}

/// The error of the whole model with one step changed.
fn with_step(step: usize, change: impl FnOnce(&mut Layer)) -> Result<(), BlobError> {
    let mut parts = every_kernel();
    change(&mut parts.layers[step]);
    parts.check()
}

/// A step's error.
fn problem(step: u32, problem: StepProblem) -> Result<(), BlobError> {
    Err(BlobError::Step { step, problem })
}

#[test]
fn another_version_is_named() {
    let mut bytes = every_kernel().blob();
    bytes[field::VERSION] = 2;
    let error = Blob::check(&bytes).map(drop).unwrap_err();
    assert_eq!(error, BlobError::Version { found: 2, wanted: 1 });
    assert_eq!(
        error.to_string(),
        "the blob has format version 2, this runtime reads version 1"
    );
}

#[test]
fn other_lanes_are_named() {
    let mut bytes = every_kernel().blob();
    bytes[field::LANES] = 9;
    let error = Blob::check(&bytes).map(drop).unwrap_err();
    assert_eq!(
        error,
        BlobError::Lanes {
            found: 9,
            wanted: LaneId::Portable
        }
    );
    assert_eq!(
        error.to_string(),
        "the blob is packed for lanes 9, this runtime has lanes 0 (Portable)"
    );
}

#[test]
fn what_is_no_blob_is_named() {
    assert_eq!(Blob::check(b"").map(drop), Err(BlobError::NotABlob));
    assert_eq!(Blob::check(b"ONNX and more").map(drop), Err(BlobError::NotABlob));
}

#[test]
fn headers_must_fit() {
    let length = every_kernel().blob().len() as u32;
    assert_eq!(with_header(field::TOTAL_BYTES, 10), BlobError::Checksum);
    assert_eq!(
        with_header(field::TOTAL_BYTES, length + 1),
        BlobError::Truncated {
            needed: length as usize + 1,
            given: length as usize
        }
    );
    for (at, value) in [
        (field::ARENA_BYTES, 1 << 31),
        (field::ARENA_BYTES, 390),
        (field::STATE_OFFSET, u32::MAX),
        (field::STATE_BYTES, u32::MAX),
        (field::METADATA_OFFSET, 60),
        (field::METADATA_BYTES, u32::MAX),
        (field::PROGRAM_OFFSET, 66),
        (field::PROGRAM_OFFSET, length),
        (field::CONSTANTS_OFFSET, 72),
        (field::CONSTANTS_BYTES, length),
        (field::NAMES_OFFSET, u32::MAX),
        (field::STEP_COUNT, 11),
        (field::STEP_COUNT, 13),
    ] {
        assert_eq!(with_header(at, value), BlobError::Layout, "field {at} = {value}");
    }
    assert_eq!(with_header(field::METADATA_BYTES, 50), BlobError::Metadata);
    assert_eq!(with_header(field::NAMES_BYTES, 20), BlobError::Metadata);
}

#[test]
fn ports_must_lie_in_the_arena_and_apart_from_the_state() {
    for region in [(500, 13), (u32::MAX, 2), (384, 1), (380, 100)] {
        let parts = Parts {
            inputs: vec![region],
            ..every_kernel()
        };
        assert_eq!(parts.check(), Err(BlobError::Metadata), "{region:?}");
    }
    let parts = Parts {
        outputs: vec![(0, 0)],
        ..every_kernel()
    };
    assert_eq!(parts.check(), Err(BlobError::Metadata));
}

#[test]
fn steps_must_stay_in_their_memory() {
    let conv = |change: fn(&mut Conv2d)| {
        with_step(0, |layer| {
            if let Layer::Conv2d(conv) = layer {
                change(conv);
            }
        })
    };
    let bounds = problem(0, StepProblem::OutOfBounds);
    assert_eq!(conv(|conv| conv.ifm = 512), bounds);
    assert_eq!(conv(|conv| conv.ofm = 385), bounds);
    assert_eq!(conv(|conv| conv.ofm = u32::MAX), bounds);
    assert_eq!(conv(|conv| conv.constants = 1 << 20), bounds);
    assert_eq!(conv(|conv| conv.constants = u32::MAX), bounds);
    assert_eq!(conv(|conv| conv.in_c = 0), bounds);
    assert_eq!(conv(|conv| conv.window.out_h = 0), bounds);
    assert_eq!(conv(|conv| conv.window.in_w = 0), bounds);
    assert_eq!(conv(|conv| conv.groups = 0), problem(0, StepProblem::Record));
    assert_eq!(conv(|conv| conv.groups = 3), problem(0, StepProblem::Record));
    let overlap = problem(0, StepProblem::Overlap);
    assert_eq!(conv(|conv| conv.ofm = 0), overlap);
    assert_eq!(conv(|conv| conv.ofm = 127), overlap);
    assert_eq!(conv(|conv| conv.ofm = 300), overlap);
    assert_eq!(conv(|conv| conv.ifm = 384), overlap);
}

#[test]
fn parameters_must_be_in_range() {
    let conv = |change: fn(&mut Conv2d)| {
        with_step(0, |layer| {
            if let Layer::Conv2d(conv) = layer {
                change(conv);
            }
        })
    };
    for change in [
        |conv: &mut Conv2d| conv.packing = 1,
        |conv: &mut Conv2d| conv.left_shift = 32,
        |conv: &mut Conv2d| (conv.min, conv.max) = (5, 4),
        |conv: &mut Conv2d| conv.window.stride_h = 0,
        |conv: &mut Conv2d| conv.window.dilation_w = 0,
        |conv: &mut Conv2d| conv.constants += 16,
    ] {
        assert_eq!(conv(change), problem(0, StepProblem::Parameter));
    }
    let step = |layer: Layer, constants: &[u8]| {
        let mut parts = Parts {
            arena_bytes: 1 << 20,
            layers: vec![layer],
            ..Parts::default()
        };
        parts.constants_block(constants);
        parts.check()
    };
    let parameter = problem(0, StepProblem::Parameter);
    let softmax = Softmax {
        rows: 1,
        depth: 4,
        scale_mantissa: 1 << 23,
        scale_shift: 31,
        ..Softmax::default()
    };
    assert_eq!(step(Layer::Softmax(softmax), &[0; 256]), Ok(()));
    for wrong in [
        Softmax {
            scale_mantissa: 1 << 24,
            ..softmax
        },
        Softmax {
            scale_mantissa: 1,
            ..softmax
        },
        Softmax {
            scale_shift: 20,
            ..softmax
        },
        Softmax {
            scale_shift: 61,
            ..softmax
        },
    ] {
        assert_eq!(step(Layer::Softmax(wrong), &[0; 256]), parameter);
    }
    let copy = StridedCopy {
        ofm: 8,
        dims: [1; 5],
        element_bytes: 1,
        ..StridedCopy::default()
    };
    assert_eq!(step(Layer::StridedCopy(copy), &[]), Ok(()));
    for wrong in [
        StridedCopy {
            element_bytes: 3,
            ..copy
        },
        StridedCopy {
            element_bytes: 4,
            use_table: 1,
            ..copy
        },
    ] {
        assert_eq!(step(Layer::StridedCopy(wrong), &[0; 256]), parameter);
    }
    let window = super::WINDOW;
    let pool = AveragePool {
        ofm: 128,
        window,
        channels: 1,
        divide: 1,
        ..AveragePool::default()
    };
    assert_eq!(step(Layer::AveragePool(pool), &[]), Ok(()));
    assert_eq!(
        step(Layer::AveragePool(AveragePool { divide: 2, ..pool }), &[]),
        parameter
    );
    assert_eq!(
        step(
            Layer::AveragePool(AveragePool {
                count_include_pad: 2,
                ..pool
            }),
            &[]
        ),
        parameter
    );
    // Rescales of zeros have a shift out of range.
    assert_eq!(
        step(Layer::AveragePool(AveragePool { divide: 0, ..pool }), &[0; 45]),
        parameter
    );
    let far = tinsmith_runtime::format::Window {
        stride_h: 65535,
        out_h: 65535,
        ..window
    };
    let pool = MaxPool {
        ofm: 128,
        window: far,
        channels: 1,
        ..MaxPool::default()
    };
    assert_eq!(step(Layer::MaxPool(pool), &[]), parameter);
}

#[test]
fn work_is_bounded() {
    let copy = StridedCopy {
        ofm: 8,
        dims: [1 << 16, 1 << 16, 1 << 8, 2, 1],
        element_bytes: 1,
        ..StridedCopy::default()
    };
    let parts = Parts {
        arena_bytes: 16,
        layers: vec![Layer::StridedCopy(copy)],
        ..Parts::default()
    };
    assert_eq!(parts.check(), Err(BlobError::TooMuchWork));
}

#[test]
fn in_place_is_for_one_region_only() {
    let table = |ifm, ofm| {
        let layer = Layer::Table(Table {
            ifm,
            ofm,
            constants: 0,
            count: 100,
        });
        let mut parts = Parts {
            arena_bytes: 300,
            layers: vec![layer],
            ..Parts::default()
        };
        parts.constants_block(&[0; 256]);
        parts.check()
    };
    assert_eq!(table(0, 0), Ok(()));
    assert_eq!(table(0, 100), Ok(()));
    assert_eq!(table(0, 99), problem(0, StepProblem::Overlap));
    assert_eq!(table(1, 0), problem(0, StepProblem::Overlap));
    // A transposed operand is no in-place one.
    let transposed = with_step(2, |layer| {
        if let Layer::Add(add) = layer {
            add.operands.b_strides = [128, 8, 32, 1];
        }
    });
    assert_eq!(transposed, problem(2, StepProblem::Overlap));
}

/// Kernels of a firmware that fills and nothing else.
static FILL: &[Kernel] = &[kernels::fill::kernel()];

#[test]
fn models_need_kernels_and_an_arena() {
    let fill = Layer::Fill(Fill {
        ofm: 0,
        count: 100,
        value: 7,
    });
    let parts = Parts {
        arena_bytes: 100,
        layers: vec![fill],
        outputs: vec![(0, 100)],
        ..Parts::default()
    };
    let bytes = parts.blob();
    let model = Model::new(Blob::check(&bytes).unwrap(), FILL).unwrap();
    let mut arena = Arena::<112>::new();
    let arena = arena.as_mut_slice();
    model.run(arena, &mut ()).unwrap();
    assert_eq!(model.output(arena, 0), [7; 100]);
    assert!(model.output(arena, 1).is_empty() && model.input_mut(arena, 0).is_empty());
    assert!(model.output(&arena[..99], 0).is_empty());
    assert_eq!(
        model.run(&mut arena[..99], &mut ()),
        Err(RunError::ArenaTooSmall {
            needed: 100,
            given: 99
        })
    );
    assert_eq!(
        model.run(&mut arena[1..], &mut ()),
        Err(RunError::ArenaMisaligned)
    );
    assert_eq!(model.reset(&mut arena[4..]), Err(RunError::ArenaMisaligned));

    let bytes = every_kernel().blob();
    let model = Model::new(Blob::check(&bytes).unwrap(), FILL);
    assert_eq!(model.map(drop), Err(RunError::NoKernel(Conv2d::OPCODE)));
    assert_eq!(
        RunError::NoKernel(1).to_string(),
        "the firmware has no kernel for opcode 1"
    );
}

#[test]
fn aligned_arenas_start_where_they_must() {
    let mut bytes = vec![0; 64 + arena::slack_bytes()];
    for skip in 0..16 {
        let arena = arena::align(&mut bytes[skip..]);
        assert!(arena.as_ptr().addr().is_multiple_of(16) && arena.len() >= 64 - skip);
    }
    assert!(arena::align(&mut []).is_empty());
}
