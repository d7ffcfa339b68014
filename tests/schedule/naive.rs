//! Schedules executed: a planned program computes what one without any planning does.

use tinsmith::emit;
use tinsmith::ir::{Access, Arena, Buffer, Handle, LiveRange, Port, Program, Step};
use tinsmith::op::Operand;
use tinsmith::target::Target;
use tinsmith_runtime::format::IN_CONSTANTS;
use tinsmith_runtime::format::metadata::Layout;
use tinsmith_runtime::{Blob, Model, kernels};

use super::graphs::{Build, Random, Tensor};

/// Every tensor in a place of its own, every call executed in the graph's order, nothing shared.
fn naive(build: &Build) -> Program {
    let graph = &build.graph;
    let mut buffers = Arena::default();
    let mut end = 0u32;
    let mut buffer = |bytes: usize, state: bool| -> Handle<Buffer> {
        let handle = buffers.push(Buffer {
            name: String::new(),
            bytes: bytes as u32,
            live: LiveRange { first: 0, last: 0 },
            offset: end,
            state,
        });
        end += bytes as u32;
        handle
    };
    let calls = || build.lowered.iter().flat_map(|lowered| &lowered.calls);
    let states: Vec<_> = calls().map(|call| buffer(call.state_bytes, true)).collect();
    let tensors: Vec<_> = graph
        .tensors
        .iter()
        .map(|(_, tensor)| buffer(tensor.ty.bytes(), false))
        .collect();
    let at = |tensor: Tensor| buffers[tensors[tensor.index()]].offset;
    let mut constants: Vec<u8> = Vec::new();
    let mut add_constant = |bytes: &[u8]| {
        constants.resize(constants.len().next_multiple_of(16), 0);
        constants.extend_from_slice(bytes);
        (constants.len() - bytes.len()) as u32
    };
    let mut steps = Vec::new();
    for (node, lowered) in graph.nodes.iter().zip(&build.lowered) {
        for call in &lowered.calls {
            let sources: Vec<u32> = call
                .sources
                .iter()
                .map(|source| match source {
                    Operand::Constant(bytes) => add_constant(bytes) | IN_CONSTANTS,
                    Operand::Output => at(node.outputs[0]),
                    Operand::Input { index, byte_offset } => match &graph.tensors[node.inputs[*index]].data {
                        Some(values) => {
                            (add_constant(&values.data.to_le_bytes()) + *byte_offset as u32) | IN_CONSTANTS
                        }
                        None => at(node.inputs[*index]) + *byte_offset as u32,
                    },
                })
                .collect();
            let mut layer = call.layer;
            layer.bind(
                &sources,
                at(node.outputs[0]) + call.ofm_byte_offset as u32,
                add_constant(&call.constants),
                buffers[states[steps.len()]].offset,
            );
            steps.push(Step {
                name: node.name.clone(),
                node: 0,
                call: 0,
                layer,
                reads: Vec::new(),
                write: Access {
                    buffer: tensors[node.outputs[0].index()],
                    offset: 0,
                    bytes: 0,
                },
                state: None,
                within: None,
                body: Vec::new(),
                guards: Vec::new(),
                macs: 0,
                instructions: 0,
            });
        }
    }
    let port = |&tensor: &Tensor| {
        let held = &graph.tensors[tensor];
        Port {
            name: held.name.clone(),
            ty: held.ty.clone(),
            quantization: held.quantization.clone(),
            model_dtype: held.model_dtype,
            layout: Layout::Onnx,
            onnx_shape: held.ty.shape.clone(),
            access: Access {
                buffer: tensors[tensor.index()],
                offset: 0,
                bytes: held.ty.bytes() as u32,
            },
        }
    };
    let mut program = Program {
        inputs: graph.inputs.iter().map(port).collect(),
        outputs: graph.outputs.iter().map(port).collect(),
        buffers,
        constants,
        steps,
        ..build.schedule()
    };
    program.plan.arena_bytes = end;
    program.plan.state_bytes = calls().map(|call| call.state_bytes as u32).sum();
    program
}

/// Three inferences on inputs made from `seed`; every output of each.
fn outputs(program: &Program, seed: u64) -> Vec<Vec<u8>> {
    let target = Target::builtin("host-x86-64").unwrap();
    let bytes = emit::blob(&target, program, &emit::Options::default()).unwrap();
    let model = Model::new(Blob::check(&bytes).unwrap(), kernels::ALL).unwrap();
    let mut memory = vec![0; model.blob().arena_bytes() as usize + 16];
    let skipped = memory.as_ptr().align_offset(16);
    let arena = &mut memory[skipped..];
    let mut random = Random::new(seed);
    let mut outputs = Vec::new();
    model.reset(arena).unwrap();
    for _ in 0..3 {
        for i in 0..program.inputs.len() {
            let input = model.input_mut(arena, i);
            assert!(!input.is_empty());
            input.iter_mut().for_each(|byte| *byte = random.below(256) as u8);
        }
        model.run(arena, &mut ()).unwrap();
        outputs.extend((0..program.outputs.len()).map(|i| model.output(arena, i).to_vec()));
    }
    outputs
}

#[test]
fn planned_programs_compute_what_unplanned_ones_do() {
    let mut saved = 0;
    for seed in 0..300 {
        let build = Build::random(seed);
        let planned = build.schedule();
        let naive = naive(&build);
        assert_eq!(outputs(&planned, seed), outputs(&naive, seed), "seed {seed}");
        saved += usize::from(2 * planned.plan.arena_bytes <= naive.plan.arena_bytes);
    }
    assert!(saved > 50, "{saved} of 300 plans need half of the memory or less");
}
