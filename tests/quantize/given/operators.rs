//! Operators that act on codes themselves: the pairs around them written as one, and products of integers.

use super::*;

#[test]
fn operators_on_codes_are_the_pairs_around_them() {
    let layer = Layer::new(6, [-127, 127], false);
    let [x_grid, y_grid] = UINT8;
    let model = Onnx::new(10).typed_input("x", DataType::Uint8, X.map(|n| n as i64));
    let model = y_grid.constants(x_grid.constants(model, "x"), "y");
    let model = model
        .constant("w", &integers(&W, &layer.weights, DType::I8))
        .constant("w_scale", &reals([4], &layer.scales))
        .constant("w_zero", &integers(&[4], &[0; 4], DType::I8))
        .constant("bias", &integers(&[4], &layer.bias, DType::I32))
        .node(
            "QLinearConv",
            &[
                "x", "x_scale", "x_zero", "w", "w_scale", "w_zero", "y_scale", "y_zero", "bias",
            ],
            &["y"],
            vec![ints("pads", &[1; 4])],
        )
        .output("y");
    layer.check("QLinearConv", &model, UINT8);

    // Matrices: rows of x by columns of weights.
    let x: Vec<i64> = layer.x[..24].to_vec();
    let weights: Vec<i64> = layer.weights[..96].to_vec();
    let products = |bias: &[i64]| -> Vec<i64> {
        let code = |at: usize| {
            let (row, column) = (at / 8, at % 8);
            let terms = (0..12).map(|k| (x[row * 12 + k] - x_grid.zero) * weights[k * 8 + column]);
            let sum = terms.sum::<i64>() + bias[column];
            y_grid.code(product([sum, x_grid.scale, layer.scales[0]]), 2)
        };
        (0..16).map(code).collect()
    };
    let matrices = |opset: i64| {
        let model = Onnx::new(opset).typed_input("x", DataType::Uint8, [2, 12]);
        let model = y_grid.constants(x_grid.constants(model, "x"), "y");
        model
            .constant("w", &integers(&[12, 8], &weights, DType::I8))
            .constant("w_scale", &reals([], &layer.scales[..1]))
            .constant("w_zero", &integers(&[], &[0], DType::I8))
    };
    let parameters = ["x", "x_scale", "x_zero", "w", "w_scale", "w_zero"];
    let outputs = ["y_scale", "y_zero"];
    let x_values = integers(&[2, 12], &x, DType::U8);
    for opset in [10, 21] {
        let model = matrices(opset)
            .node(
                "QLinearMatMul",
                &[&parameters[..], &outputs[..]].concat(),
                &["y"],
                vec![],
            )
            .output("y");
        let found = run(&model, std::slice::from_ref(&x_values), Precision::Int8).unwrap();
        assert_eq!(found, [integers(&[2, 8], &products(&[0; 8]), DType::U8)]);
    }
    let bias: Vec<i64> = (0..8).map(|i| i * 211 - 700).collect();
    let mut model = matrices(13)
        .constant("bias", &integers(&[8], &bias, DType::I32))
        .node(
            "QGemm",
            &[&parameters[..], &["bias"], &outputs[..]].concat(),
            &["y"],
            vec![],
        )
        .output("y");
    microsoft(&mut model);
    let found = run(&model, std::slice::from_ref(&x_values), Precision::Int8).unwrap();
    assert_eq!(found, [integers(&[2, 8], &products(&bias), DType::U8)]);

    // Sums of tensors of two grids.
    let other = Grid::new(13_369_345 << 2, 77, DType::U8);
    let sum_grid = Grid::new(16_515_073 << 2, 120, DType::U8);
    let model = Onnx::new(13)
        .typed_input("x", DataType::Uint8, [2, 12])
        .typed_input("z", DataType::Uint8, [2, 12]);
    let model = sum_grid.constants(other.constants(x_grid.constants(model, "x"), "z"), "y");
    let mut model = model
        .node(
            "QLinearAdd",
            &[
                "x", "x_scale", "x_zero", "z", "z_scale", "z_zero", "y_scale", "y_zero",
            ],
            &["y"],
            vec![],
        )
        .output("y");
    microsoft(&mut model);
    let z: Vec<i64> = layer.x[24..48].to_vec();
    let sums = x.iter().zip(&z).map(|(x, z)| {
        let sum = (x - x_grid.zero) * x_grid.scale + (z - other.zero) * other.scale;
        sum_grid.code(sum.into(), 1)
    });
    let found = run(
        &model,
        &[x_values, integers(&[2, 12], &z, DType::U8)],
        Precision::Int8,
    )
    .unwrap();
    assert_eq!(found, [integers(&[2, 12], &sums.collect::<Vec<_>>(), DType::U8)]);
}

/// Moves the model's last node to ONNX Runtime's own operators.
fn microsoft(model: &mut Onnx) {
    let node = model.graph().node.last_mut().unwrap();
    node.domain = "com.microsoft".into();
    let mut opset = model.0.opset_import[0].clone();
    (opset.domain, opset.version) = ("com.microsoft".into(), 1);
    model.0.opset_import.push(opset);
}

/// Sums beyond what f32 holds exactly are taken in parts.
#[test]
fn products_of_integers_are_exact_in_floats() {
    let mut case = crate::quantize::case::Case::new(13);
    let mut draw = |count: usize| -> Vec<i64> {
        let bytes = (0..count).map(|_| match case.random.next() % 3 {
            0 => 255,
            _ => i64::from(case.random.next() % 256),
        });
        bytes.collect()
    };
    let (x, weights) = (draw(2 * 600), draw(600 * 3));
    let zeros = [0, 3];
    let model = Onnx::new(10)
        .typed_input("x", DataType::Uint8, [2, 600])
        .constant("w", &integers(&[600, 3], &weights, DType::U8))
        .constant("x_zero", &integers(&[], &zeros[..1], DType::U8))
        .constant("w_zero", &integers(&[], &zeros[1..], DType::U8))
        .node("MatMulInteger", &["x", "w", "x_zero", "w_zero"], &["y"], vec![])
        .output("y");
    let found = run(&model, &[integers(&[2, 600], &x, DType::U8)], Precision::F32).unwrap();
    let sum = |at: usize| -> i64 {
        let terms = (0..600).map(|k| {
            let (x, weight) = (x[at / 3 * 600 + k], weights[k * 3 + at % 3]);
            (x - zeros[0]) * (weight - zeros[1])
        });
        terms.sum()
    };
    let wanted: Vec<i64> = (0..6).map(sum).collect();
    assert!(wanted.iter().any(|sum| *sum > 1 << 24), "{wanted:?}");
    assert_eq!(found, [integers(&[2, 3], &wanted, DType::I32)]);

    let model = |weights: &Values, groups: i64| {
        Onnx::new(10)
            .typed_input("x", DataType::Uint8, [1, 60, 3, 3])
            .constant("w", weights)
            .constant("x_zero", &integers(&[], &[7], DType::U8))
            .node(
                "ConvInteger",
                &["x", "w", "x_zero"],
                &["y"],
                vec![int("group", groups)],
            )
            .output("y")
    };
    let input = integers(&[1, 60, 3, 3], &x[..540], DType::U8);
    let term = |k: usize, weight: usize| (x[k] - 7) * weights[weight];
    let whole = model(&integers(&[2, 60, 3, 3], &weights[..1080], DType::U8), 1);
    let found = run(&whole, std::slice::from_ref(&input), Precision::F32).unwrap();
    let wanted: Vec<i64> = (0..2)
        .map(|o| (0..540).map(|k| term(k, o * 540 + k)).sum())
        .collect();
    assert_eq!(found, [integers(&[1, 2, 1, 1], &wanted, DType::I32)]);
    let apart = model(&integers(&[60, 1, 3, 3], &weights[..540], DType::U8), 60);
    let found = run(&apart, &[input], Precision::F32).unwrap();
    let wanted: Vec<i64> = (0..60)
        .map(|o| (0..9).map(|k| term(o * 9 + k, o * 9 + k)).sum())
        .collect();
    assert_eq!(found, [integers(&[1, 60, 1, 1], &wanted, DType::I32)]);
}

/// Quantization by the range of what is met, as ONNX Runtime's dynamic quantization has it.
#[test]
fn ranges_may_be_met_when_running() {
    let model = Onnx::new(11)
        .input("x", [2, 3])
        .node("DynamicQuantizeLinear", &["x"], &["y", "scale", "zero"], vec![])
        .output("y")
        .output("scale")
        .output("zero");
    let samples = [
        [0.0f32; 6],
        [-1.0, 0.5, 2.25, 1.1, -0.3, 0.0],
        [3.0, 4.0, 5.0, 3.3, 4.4, 2.2],
    ];
    for x in samples {
        let found = run(&model, &[Values::f32([2, 3], x.to_vec())], Precision::F32).unwrap();
        let least = x.iter().fold(0.0f32, |least, &x| least.min(x));
        let greatest = x.iter().fold(0.0f32, |greatest, &x| greatest.max(x));
        let scale = if least == greatest {
            1.0
        } else {
            (greatest - least) / 255.0
        };
        let zero = (-least / scale).clamp(0.0, 255.0).round_ties_even();
        let codes = x.map(|x| ((x / scale).round_ties_even() + zero).clamp(0.0, 255.0) as i64);
        let wanted = [
            integers(&[2, 3], &codes, DType::U8),
            Values::f32([], vec![scale]),
            integers(&[], &[zero as i64], DType::U8),
        ];
        assert_eq!(found, wanted, "{x:?}");
    }
}
