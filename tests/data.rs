//! Samples from files.

use std::fs;
use std::path::{Path, PathBuf};

use tinsmith::data::{self, Input, IntegerScale, Source, npy};
use tinsmith::ir::Samples;
use tinsmith::op::tensor::{DType, Data, TensorType, Values};

fn input(name: &str, dtype: DType, shape: &[usize]) -> Input {
    Input {
        name: name.into(),
        ty: TensorType::new(dtype, shape),
    }
}

fn write(folder: &Path, name: &str, shape: &[usize], data: &Data) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, npy::encode(shape, data)).unwrap();
    path
}

fn open(inputs: &[Input], paths: &[&Path]) -> Result<data::Files, String> {
    let sources: Vec<Source> = paths
        .iter()
        .map(|path| Source::parse(path.to_str().unwrap()))
        .collect();
    data::open(inputs, &sources, IntegerScale::default()).map_err(|error| {
        // The folder differs from run to run.
        let text = error.to_string();
        text.rsplit_once(".npy")
            .map_or(text.clone(), |(_, rest)| rest.to_owned())
    })
}

#[test]
fn a_shape_is_one_sample_or_several() {
    let folder = tempfile::tempdir().unwrap();
    let model = [input("x", DType::F32, &[1, 2, 3])];
    for (shape, samples) in [
        (vec![1, 2, 3], Some(1)),
        (vec![2, 3], Some(1)),
        (vec![5, 2, 3], Some(5)),
        (vec![5, 1, 2, 3], Some(5)),
        (vec![5, 3, 2], None),
        (vec![6], None),
    ] {
        let elements = shape.iter().product();
        let data = Data::F32((0..elements).map(|i| i as f32).collect());
        let path = write(folder.path(), "x.npy", &shape, &data);
        let found = open(&model, &[&path]);
        match samples {
            Some(samples) => {
                let files = found.unwrap();
                assert_eq!(files.len(), samples, "{shape:?}");
                let last = files.get(samples - 1).unwrap();
                let first = (samples - 1) * 6;
                let wanted = (first..first + 6).map(|i| i as f32).collect();
                assert_eq!(last, [Values::f32([1, 2, 3], wanted)]);
            }
            None => assert_eq!(
                found.unwrap_err(),
                format!(
                    ": has shape {shape:?}; `x` is f32[1,2,3], so one sample is [1, 2, 3] and n samples are [n, …]"
                )
            ),
        }
    }
}

#[test]
fn integers_for_a_float_input_are_scaled() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "x.npy", &[3], &Data::I8(vec![-128, 0, 127]));
    let integers = IntegerScale {
        scale: 0.5,
        offset: 83.0,
    };
    let model = [input("x", DType::F32, &[3])];
    let files = data::open(&model, &[Source::parse(path.to_str().unwrap())], integers).unwrap();
    assert_eq!(files.get(0).unwrap()[0].as_f32().unwrap(), [-105.5, -41.5, 22.0]);
}

#[test]
fn wrong_data_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let floats = [input("x", DType::F32, &[1, 2])];
    let bytes = [input("x", DType::I8, &[1, 2])];
    let wide = write(folder.path(), "wide.npy", &[1, 2], &Data::F64(vec![0.0; 2]));
    assert_eq!(
        open(&floats, &[&wide]).unwrap_err(),
        ": holds f64 elements; `x` is f32"
    );
    let real = write(folder.path(), "real.npy", &[1, 2], &Data::F32(vec![0.0; 2]));
    assert_eq!(
        open(&bytes, &[&real]).unwrap_err(),
        ": holds f32 elements; `x` is i8"
    );
    let empty = write(folder.path(), "empty.npy", &[0, 2], &Data::F32(vec![]));
    assert_eq!(
        open(&floats, &[&empty]).unwrap_err(),
        ": holds no sample; its shape is [0, 2]"
    );
    let nan = write(
        folder.path(),
        "nan.npy",
        &[2, 2],
        &Data::F32(vec![0.0, 1.0, 2.0, f32::NAN]),
    );
    let files = open(&floats, &[&nan]).unwrap();
    assert!(files.get(0).is_ok());
    assert_eq!(
        files.get(1).unwrap_err().reason.split(" (").next(),
        Some("sample 1 of `x` holds NaN at element 1")
    );
    assert!(
        open(&floats, &[&folder.path().join("none.npy")])
            .unwrap_err()
            .starts_with(": cannot be read")
    );
    let text = folder.path().join("text.npy");
    fs::write(&text, "not an array").unwrap();
    assert!(
        open(&floats, &[&text])
            .unwrap_err()
            .starts_with(": is not a NumPy array")
    );
    let cut = folder.path().join("cut.npy");
    let whole = fs::read(&nan).unwrap();
    fs::write(&cut, &whole[..whole.len() - 1]).unwrap();
    assert_eq!(
        open(&floats, &[&cut]).unwrap_err(),
        ": ends early; its header promises 16 bytes, 15 are there"
    );
}

#[test]
fn several_inputs_come_in_order_or_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let model = [input("a", DType::F32, &[1]), input("b", DType::F32, &[1])];
    let one = write(folder.path(), "one.npy", &[2], &Data::F32(vec![1.0, 1.5]));
    let two = write(folder.path(), "two.npy", &[2], &Data::F32(vec![2.0, 2.5]));
    let first = |files: data::Files| files.get(1).unwrap()[0].as_f32().unwrap()[0];
    assert_eq!(first(open(&model, &[&one, &two]).unwrap()), 1.5);
    let named = PathBuf::from(format!("b={}", one.display()));
    assert_eq!(first(open(&model, &[&named, &two]).unwrap()), 2.5);
    assert_eq!(
        open(&model, &[&one]).unwrap_err(),
        ": gives nothing for input `b`"
    );
    assert_eq!(
        open(&model, &[&one, &two, &two]).unwrap_err(),
        ": is one file too many; the model's inputs are `a`, `b`"
    );
    let unknown = PathBuf::from(format!("c={}", one.display()));
    assert_eq!(
        open(&model, &[&unknown]).unwrap_err(),
        ": is given for `c`, but the model's inputs are `a`, `b`"
    );
    let three = write(folder.path(), "three.npy", &[3], &Data::F32(vec![0.0; 3]));
    assert!(open(&model, &[&one, &three]).unwrap_err().ends_with(" holds 2"));
}

#[test]
fn an_archive_holds_one_array_per_input() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("both.npz");
    let mut archive = npyz::npz::NpzWriter::create(&path).unwrap();
    for (name, value) in [("b", 2.0_f32), ("a", 1.0)] {
        use npyz::WriterBuilder;
        let mut writer = archive
            .array::<f32>(name, Default::default())
            .unwrap()
            .default_dtype()
            .shape(&[1])
            .begin_nd()
            .unwrap();
        writer.push(&value).unwrap();
        writer.finish().unwrap();
    }
    drop(archive);
    let model = [input("a", DType::F32, &[1]), input("b", DType::F32, &[1])];
    let files = data::open(
        &model,
        &[Source::parse(path.to_str().unwrap())],
        IntegerScale::default(),
    )
    .unwrap();
    let values = files.get(0).unwrap();
    assert_eq!(values[0].as_f32().unwrap(), [1.0]);
    assert_eq!(values[1].as_f32().unwrap(), [2.0]);
}
