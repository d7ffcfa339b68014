//! The blob's edge: quantizing, dequantizing and permuting what a person gives and gets.

use tinsmith::op::tensor::{DType, Data, TensorType, Values};
use tinsmith::simulate::edge::{self, EdgeError};
use tinsmith_runtime::format::metadata::{DType as Stored, Dims, Layout, Port};

fn port(stored: Stored, model: Stored, layout: Layout, shape: &[u32]) -> Port<'static> {
    Port {
        name: "x",
        shape: Dims::new(shape).unwrap(),
        dtype: stored,
        model_dtype: model,
        layout,
        scale: 0.5,
        zero_point: -3,
        offset: 0,
        bytes: shape.iter().product::<u32>() * stored.bytes(),
    }
}

fn check(port: &Port<'_>, values: &Values, bytes: &[i8]) {
    let bytes: Vec<u8> = bytes.iter().map(|&byte| byte as u8).collect();
    assert_eq!(edge::store(port, values).unwrap(), bytes);
    assert_eq!(&edge::load(port, &bytes).unwrap(), values);
}

#[test]
fn reals_are_quantized_and_back() {
    let port = port(Stored::I8, Stored::F32, Layout::Onnx, &[1, 4]);
    check(
        &port,
        &Values::f32([1, 4], vec![0.0, 0.5, -62.5, 65.0]),
        &[-3, -2, -128, 127],
    );
    // Ties go to even, and what has no code saturates.
    let values = Values::f32([1, 4], vec![0.25, 0.75, 1e9, f32::NEG_INFINITY]);
    assert_eq!(
        edge::store(&port, &values).unwrap(),
        [-3i8, -1, 127, -128].map(|code| code as u8)
    );
}

#[test]
fn channels_move_behind_the_rest_and_back() {
    let port = port(Stored::I8, Stored::I8, Layout::ChannelsLast, &[1, 2, 2, 3]);
    assert_eq!(edge::model_type(&port), TensorType::new(DType::I8, [1, 3, 2, 2]));
    let values = Values::new([1, 3, 2, 2], Data::I8((0..12).collect()));
    check(&port, &values, &[0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]);
}

#[test]
fn integers_pass_as_they_are() {
    let bytes = port(Stored::I8, Stored::U8, Layout::Onnx, &[3]);
    check(
        &bytes,
        &Values::new([3], Data::U8(vec![0, 128, 255])),
        &[-128, 0, 127],
    );
    let words = port(Stored::I32, Stored::I32, Layout::Onnx, &[1]);
    check(&words, &Values::new([1], Data::I32(vec![-2])), &[-2, -1, -1, -1]);
}

#[test]
fn what_does_not_fit_the_edge_is_refused_by_name() {
    let port = port(Stored::I8, Stored::F32, Layout::Onnx, &[1, 2]);
    let refused = |values: Values| edge::store(&port, &values).unwrap_err();
    assert_eq!(
        refused(Values::f32([2], vec![0.0; 2])).to_string(),
        "`x` takes f32[1,2], but f32[2] was given"
    );
    assert!(matches!(
        refused(Values::new([1, 2], Data::I8(vec![0; 2]))),
        EdgeError::Type { .. }
    ));
    assert_eq!(
        refused(Values::f32([1, 2], vec![0.0, f32::NAN])),
        EdgeError::NotANumber {
            port: "x".into(),
            index: 1
        }
    );
    assert!(matches!(
        edge::load(&port, &[0; 3]),
        Err(EdgeError::Bytes {
            wanted: 2,
            found: 3,
            ..
        })
    ));
    let other = super::edge::port(Stored::I32, Stored::F32, Layout::Onnx, &[1]);
    let error = edge::store(&other, &Values::f32([1], vec![0.0])).unwrap_err();
    assert!(matches!(error, EdgeError::Unconvertible { .. }), "{error}");
}
