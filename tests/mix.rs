//! `--precision auto`: nodes that lose much in int8 are computed in f32, no others, and what is lost is what was wished.

use tinsmith::ir::text::parse;
use tinsmith::ir::{FloatGraph, SampleError, Samples};
use tinsmith::mix::Wish;
use tinsmith::op::quant::Quantization;
use tinsmith::op::tensor::{DType, Values};
use tinsmith::simulate::{Simulator, edge};
use tinsmith::target::Target;
use tinsmith::{Artifact, Error, Options, reference};

/// Samples of 8×8 pixels with 2 channels.
struct Noise {
    seed: usize,
    count: usize,
}

impl Samples for Noise {
    fn len(&self) -> usize {
        self.count
    }

    fn get(&self, index: usize) -> Result<Vec<Values>, SampleError> {
        let mut state = (self.seed + 977 * index) as u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        Ok(vec![Values::f32(
            [1, 8, 8, 2],
            (0..128).map(|_| next()).collect(),
        )])
    }
}

const CONV: &str = "Conv2d {\"window\":{\"kernel\":[1,1],\"strides\":[1,1],\"dilations\":[1,1],\"pads\":[0,0,0,0]},\
                    \"groups\":1,\"clamp\":{}}";

/// Four layers. The second makes one channel `outlier` times as large as the other, and the third reads both alike, which
/// nothing that has one scale can hold; a function between them keeps channels from being equalized.
fn graph(outlier: f32) -> FloatGraph {
    let text = format!(
        "graph \"needy\"\ninput %x: f32[1,8,8,2]\n\
         const %w1: f32[2,1,1,2] = [0.5, 0.25, -0.25, 0.5]\n\
         const %w2: f32[2,1,1,2] = [{outlier:?}, 0.0, 0.0, 1.0]\n\
         const %w3: f32[2,1,1,2] = [{:?}, 0.5, {:?}, 1.0]\n\
         const %w4: f32[2,1,1,2] = [0.5, 0.25, 0.75, 0.5]\n\
         %first = {CONV} (%x, %w1)\n\
         %second = {CONV} (%first, %w2)\n\
         %function = Unary {{\"kind\":\"Abs\"}} (%second)\n\
         %third = {CONV} (%function, %w3)\n\
         %fourth = {CONV} (%third, %w4)\n\
         output %fourth\n",
        0.5 / outlier,
        -0.25 / outlier,
    );
    parse(&text).unwrap()
}

fn compile(graph: FloatGraph, target: &Target, samples: &Noise, most_lost: f64) -> Result<Artifact, Error> {
    let options = Options {
        mix: Some(Wish { most_lost }),
        ..Options::default()
    };
    tinsmith::build(target, graph, samples, &options, &|_, _, _| ())
}

/// One minus the cosine between the blob's output and the float model's, on samples that calibration does not see.
fn lost(graph: &FloatGraph, blob: &[u8]) -> f64 {
    let others = Noise { seed: 5, count: 20 };
    let mut simulator = Simulator::new(blob).unwrap();
    let (mut products, mut ours, mut theirs) = (0.0, 0.0, 0.0);
    for index in 0..others.len() {
        let sample = others.get(index).unwrap();
        let wanted = reference::run(graph, &sample).unwrap();
        let bytes = edge::store_all(simulator.blob(), &sample).unwrap();
        let bytes: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
        let found = simulator.run(&bytes).unwrap();
        let found = edge::load_all(simulator.blob(), &found).unwrap();
        for (x, y) in found[0].to_f64().into_iter().zip(wanted[0].to_f64()) {
            products += x * y;
            ours += x * x;
            theirs += y * y;
        }
    }
    assert!(ours * theirs > 0.0, "an output is zero throughout");
    1.0 - products / f64::sqrt(ours * theirs)
}

/// The precision of what each node makes.
fn precisions(artifact: &Artifact) -> Vec<(&str, DType)> {
    let nodes = artifact.quant.nodes.iter();
    let of = |node: &tinsmith::ir::Node<_>| artifact.quant.tensors[node.outputs[0]].ty.dtype;
    nodes.map(|node| (node.name.as_str(), of(node))).collect()
}

fn host() -> Target {
    Target::builtin("host-x86-64").unwrap()
}

const SAMPLES: Noise = Noise { seed: 1, count: 32 };

#[test]
fn a_model_that_int8_suits_stays_in_int8() {
    let artifact = compile(graph(1.0), &host(), &SAMPLES, 0.005).unwrap();
    let tensors = artifact.quant.tensors.iter();
    let mut activations = tensors.filter(|(_, tensor)| tensor.data.is_none());
    assert!(activations.all(|(_, tensor)| tensor.quantization != Quantization::Plain));
    assert!(
        artifact
            .quant
            .notes
            .iter()
            .any(|note| note.contains("points of agreement"))
    );
}

#[test]
fn what_loses_most_is_computed_in_reals() {
    let graph = graph(100.0);
    let int8 = tinsmith::build(
        &host(),
        graph.clone(),
        &SAMPLES,
        &Options::default(),
        &|_, _, _| (),
    )
    .unwrap();
    let before = lost(&graph, &int8.blob);
    let mixed = compile(graph.clone(), &host(), &SAMPLES, 0.005).unwrap();
    let after = lost(&graph, &mixed.blob);
    assert!(before > 0.02, "the model needs it: {before}");
    assert!(after < 0.0075, "{after}, before {before}");
    // The tensor between the second layer and the third is what int8 cannot hold.
    let of = |name: &str| {
        precisions(&mixed)
            .iter()
            .find(|(node, _)| *node == name)
            .unwrap()
            .1
    };
    assert_eq!(of("second"), DType::F32);
    assert_eq!(of("function"), DType::F32);
    assert_eq!(of("first"), DType::I8);
    let note = mixed
        .quant
        .notes
        .iter()
        .find(|note| note.contains("int8 loses most"))
        .unwrap();
    assert!(
        note.contains("Conv2d `second`") && !note.contains("`first`"),
        "{note}"
    );
}

#[test]
fn a_stricter_wish_takes_more_reals() {
    let count = |most_lost: f64| {
        let artifact = compile(graph(100.0), &host(), &SAMPLES, most_lost).unwrap();
        let nodes = precisions(&artifact).into_iter();
        (
            nodes.filter(|(_, dtype)| *dtype == DType::F32).count(),
            lost(&graph(100.0), &artifact.blob),
        )
    };
    let (few, (many, exact)) = (count(0.005).0, count(1e-9));
    assert!(few < many, "{few} {many}");
    assert!(exact < 1e-8, "{exact}");
}

#[test]
fn what_has_no_integer_form_is_computed_in_reals() {
    let text = "graph \"gru\"\ninput %x: f32[3,1,2]\n\
                const %r: f32[6,2] = [0.1,0.2,0.3,0.4,0.5,0.6,0.1,-0.2,0.3,-0.4,0.5,-0.6]\n\
                const %w: f32[6,2] = [0.1,0.2,0.3,0.4,0.5,0.6,0.1,-0.2,0.3,-0.4,0.5,-0.6]\n\
                const %side: f32[12] = [0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0]\n\
                %gates = Dense {\"clamp\":{}} (%x, %w)\n\
                %states = Recurrent {\"cell\":{\"Gru\":{\"linear_before_reset\":false}},\"activations\":[\
                {\"function\":\"Sigmoid\",\"alpha\":0.0,\"beta\":0.0},{\"function\":\"Tanh\",\"alpha\":0.0,\"beta\":0.0},\
                {\"function\":\"Tanh\",\"alpha\":0.0,\"beta\":0.0}],\"backward\":false} (%gates, %r, %side)\n\
                output %states\n";
    struct Sequences;
    impl Samples for Sequences {
        fn len(&self) -> usize {
            8
        }

        fn get(&self, index: usize) -> Result<Vec<Values>, SampleError> {
            let x = (0..6).map(|i| ((index * 6 + i) as f32).sin()).collect();
            Ok(vec![Values::f32([3, 1, 2], x)])
        }
    }
    let graph = parse(text).unwrap();
    let refused = tinsmith::build(
        &host(),
        graph.clone(),
        &Sequences,
        &Options::default(),
        &|_, _, _| (),
    );
    assert!(matches!(refused, Err(Error::Schedule(_) | Error::Quantize(_))));
    let options = Options {
        mix: Some(Wish::default()),
        ..Options::default()
    };
    let mixed = tinsmith::build(&host(), graph, &Sequences, &options, &|_, _, _| ()).unwrap();
    let of = |name: &str| {
        precisions(&mixed)
            .iter()
            .find(|(node, _)| *node == name)
            .unwrap()
            .1
    };
    assert_eq!([of("gates"), of("states")], [DType::I8, DType::F32]);
    let note = mixed
        .quant
        .notes
        .iter()
        .find(|note| note.contains("`states` is computed in f32"));
    assert!(note.is_some(), "{:?}", mixed.quant.notes);
}

#[test]
fn a_single_sample_does_not_bound_the_outputs() {
    let one = Noise { seed: 1, count: 1 };
    let artifact = compile(graph(1.0), &host(), &one, 0.005).unwrap();
    assert_eq!(precisions(&artifact).last(), Some(&("fourth", DType::F32)));
    // Nor does it what is moved on the way there.
    let mut moved = graph(1.0);
    let shape = vec![1, 64, 2];
    let output = moved.tensors.push(tinsmith::ir::FloatTensor {
        name: "moved".into(),
        ty: tinsmith::op::tensor::TensorType::new(DType::F32, shape.clone()),
        data: None,
    });
    moved.nodes.push(tinsmith::ir::Node {
        name: "moved".into(),
        op: tinsmith::op::Op::Reshape(tinsmith::op::Reshape { shape }),
        inputs: moved.outputs.clone(),
        outputs: vec![output],
    });
    moved.outputs = vec![output];
    let artifact = compile(moved, &host(), &one, 0.005).unwrap();
    let [.., fourth, last] = precisions(&artifact)[..] else {
        panic!("two nodes");
    };
    assert_eq!([fourth, last], [("fourth", DType::F32), ("moved", DType::F32)]);
}

#[test]
fn where_reals_do_not_fit_the_most_that_does_is_taken() {
    let graph = graph(100.0);
    let whole = compile(graph.clone(), &host(), &SAMPLES, 0.005).unwrap();
    let int8 = tinsmith::build(
        &host(),
        graph.clone(),
        &SAMPLES,
        &Options::default(),
        &|_, _, _| (),
    )
    .unwrap();
    let mut target = host();
    let arena = |artifact: &Artifact| Simulator::new(&artifact.blob).unwrap().blob().arena_bytes();
    assert!(arena(&int8) < arena(&whole));
    let name = target.arena().name.clone();
    for bank in target.memory.iter_mut().filter(|bank| bank.name == name) {
        bank.bytes = u64::from(arena(&whole)) - 1;
    }
    let small = compile(graph, &target, &SAMPLES, 0.005).unwrap();
    let note = small
        .quant
        .notes
        .iter()
        .find(|note| note.contains("more than was wished"));
    assert!(note.is_some(), "{:?}", small.quant.notes);
}

#[test]
fn limits_are_kept() {
    let target = host().limited(Some(100), None);
    let error = compile(graph(1.0), &target, &SAMPLES, 0.005).unwrap_err();
    assert!(
        error.to_string().contains("has 100 bytes but this model needs"),
        "{error}"
    );
    let options = Options {
        schedule: tinsmith::schedule::Options {
            most_instructions: Some(10),
            ..Default::default()
        },
        ..Options::default()
    };
    let error = tinsmith::build(&host(), graph(1.0), &SAMPLES, &options, &|_, _, _| ()).unwrap_err();
    assert!(error.to_string().contains("at most 10 are wanted"), "{error}");
}
