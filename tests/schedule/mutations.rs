//! Planted faults: the checker catches each.

use tinsmith::ir::{Arena, Buffer, Program};
use tinsmith::schedule::check::{self, CheckError, Fault};
use tinsmith::target::Target;
use tinsmith_runtime::kernels::Layer;

use super::graphs::{Build, Random};

/// Two branches, a sum, a slice, a join and a state: something of everything.
fn fixture() -> (Build, Program) {
    let mut build = Build::new();
    let x = build.input(40);
    let a = build.dense(x, 64);
    let b = build.table(a);
    let c = build.dense(a, 64);
    let d = build.add(b, c);
    let e = build.slice(d, 16, 32);
    let f = build.delay(e);
    let g = build.pad(f, 4);
    let h = build.concat(&[g, a]);
    let i = build.dense(h, 10);
    build.output(i);
    let program = build.schedule();
    (build, program)
}

fn verdict(build: &Build, program: &Program) -> Result<(), CheckError> {
    let target = Target::builtin("mps2-an386").unwrap();
    check::program(&target, &build.graph, &build.lowered, program)
}

/// The program with other buffers.
fn with_buffers(program: &Program, change: impl Fn(usize, &mut Buffer)) -> Program {
    let mut buffers = Arena::default();
    for (i, (_, buffer)) in program.buffers.iter().enumerate() {
        let mut buffer = buffer.clone();
        change(i, &mut buffer);
        buffers.push(buffer);
    }
    Program {
        buffers,
        ..program.clone()
    }
}

/// The offsets that a record binds: sources, output, constants, state.
fn rebind(
    program: &Program,
    step: usize,
    change: impl Fn(&mut Vec<u32>, &mut u32, &mut u32, &mut u32),
) -> Layer {
    let at = &program.steps[step];
    let extents = at.layer.extents().unwrap();
    let mut sources: Vec<u32> = extents
        .sources
        .iter()
        .flatten()
        .map(|extent| extent.offset)
        .collect();
    let mut output = extents.output.offset;
    let mut constants = extents.constants.map_or(0, |extent| extent.offset);
    let mut state = extents.state.map_or(0, |extent| extent.offset);
    change(&mut sources, &mut output, &mut constants, &mut state);
    let mut layer = at.layer;
    layer.bind(&sources, output, constants, state);
    layer
}

#[test]
fn the_fixture_is_right() {
    let (build, program) = fixture();
    verdict(&build, &program).unwrap();
}

#[test]
fn overlapping_buffers_are_caught() {
    let (build, program) = fixture();
    let buffers: Vec<Buffer> = program.buffers.iter().map(|(_, buffer)| buffer.clone()).collect();
    let mut caught = 0;
    for (i, a) in buffers.iter().enumerate() {
        for (j, b) in buffers.iter().enumerate() {
            if i != j && a.live.overlaps(b.live) && !a.state && !b.state {
                let moved = with_buffers(&program, |k, buffer| {
                    if k == i {
                        buffer.offset = b.offset;
                    }
                });
                assert!(
                    verdict(&build, &moved).is_err(),
                    "`{}` moved onto `{}`",
                    a.name,
                    b.name
                );
                caught += 1;
            }
        }
    }
    assert!(caught > 0);
}

#[test]
fn a_moved_offset_is_caught_in_every_record() {
    let (build, program) = fixture();
    let mut caught = 0;
    for step in 0..program.steps.len() {
        for which in 0..5 {
            let layer = rebind(&program, step, |sources, output, constants, state| match which {
                0 => sources.iter_mut().take(1).for_each(|source| *source += 1),
                1 => sources.iter_mut().skip(1).for_each(|source| *source += 1),
                2 => *output += 1,
                3 => *constants += 16,
                _ => *state += 1,
            });
            if layer == program.steps[step].layer {
                continue;
            }
            let mut moved = program.clone();
            moved.steps[step].layer = layer;
            assert!(verdict(&build, &moved).is_err(), "step {step}, offset {which}");
            caught += 1;
        }
    }
    assert!(caught > 20, "{caught}");
}

#[test]
fn a_wrong_access_of_record_and_program_together_is_caught() {
    let (build, program) = fixture();
    for step in 0..program.steps.len() {
        for (k, read) in program.steps[step].reads.iter().enumerate() {
            let Some(read) = read else { continue };
            let mut moved = program.clone();
            moved.steps[step].layer = rebind(&program, step, |sources, _, _, _| sources[k] += 1);
            moved.steps[step].reads[k] = Some(tinsmith::ir::Access {
                offset: read.offset + 1,
                ..*read
            });
            assert!(verdict(&build, &moved).is_err(), "step {step}, source {k}");
        }
    }
}

#[test]
fn every_swap_of_dependent_steps_is_caught() {
    let (build, program) = fixture();
    for step in 1..program.steps.len() {
        let mut swapped = program.clone();
        swapped.steps.swap(step - 1, step);
        assert!(
            verdict(&build, &swapped).is_err(),
            "steps {} and {step}",
            step - 1
        );
    }
}

#[test]
fn a_missing_and_a_repeated_step_are_caught() {
    let (build, program) = fixture();
    for step in 0..program.steps.len() {
        let mut shorter = program.clone();
        shorter.steps.remove(step);
        assert!(verdict(&build, &shorter).is_err(), "step {step} removed");
    }
    let delay = program
        .steps
        .iter()
        .position(|step| step.state.is_some())
        .unwrap();
    let mut twice = program.clone();
    let again = twice.steps[delay].clone();
    twice.steps.insert(delay, again);
    assert!(verdict(&build, &twice).is_err());
}

#[test]
fn a_clobbered_live_tensor_is_caught() {
    // `a` is read again by the sum; writing the table's output over it breaks that.
    let mut build = Build::new();
    let x = build.input(64);
    let a = build.dense(x, 64);
    let b = build.table(a);
    let c = build.dense(b, 64);
    let d = build.add(a, c);
    build.output(d);
    let program = build.schedule();
    let table = program.steps.iter().position(|step| step.name == "n1").unwrap();
    let mut clobbered = program.clone();
    let read = program.steps[table].reads[0].unwrap();
    clobbered.steps[table].write = read;
    let at = program.buffers[read.buffer].offset;
    clobbered.steps[table].layer = rebind(&program, table, |_, output, _, _| *output = at);
    assert!(matches!(
        verdict(&build, &clobbered),
        Err(CheckError::Step {
            fault: Fault::WrongValue { .. },
            ..
        })
    ));
}

#[test]
fn an_output_over_a_source_that_the_kernel_still_reads_is_caught() {
    let mut build = Build::new();
    let x = build.input(64);
    let a = build.dense(x, 64);
    build.output(a);
    let program = build.schedule();
    let read = program.steps[0].reads[0].unwrap();
    let mut clobbered = program.clone();
    clobbered.steps[0].write = read;
    let at = program.buffers[read.buffer].offset;
    clobbered.steps[0].layer = rebind(&program, 0, |_, output, _, _| *output = at);
    assert!(matches!(
        verdict(&build, &clobbered),
        Err(CheckError::Step {
            fault: Fault::ClobbersSource,
            ..
        })
    ));
}

#[test]
fn changed_constants_and_geometry_are_caught() {
    let (build, program) = fixture();
    for at in [0, program.constants.len() / 2, program.constants.len() - 1] {
        let mut changed = program.clone();
        changed.constants[at] ^= 1;
        assert!(verdict(&build, &changed).is_err(), "constant {at}");
    }
    let mut changed = program.clone();
    for step in &mut changed.steps {
        if let Layer::Dense(dense) = &mut step.layer {
            dense.ofm_zero_point += 1;
        }
    }
    assert!(matches!(
        verdict(&build, &changed),
        Err(CheckError::Step {
            fault: Fault::WrongRecord,
            ..
        })
    ));
}

#[test]
fn a_false_plan_is_caught() {
    let (build, program) = fixture();
    for change in [
        (|p: &mut Program| p.plan.arena_bytes -= 1) as fn(&mut Program),
        |p| p.plan.lower_bound_bytes += 1,
        |p| p.plan.lower_bound_bytes -= 1,
        |p| p.plan.state_bytes -= 1,
        |p| p.plan.arena_bytes = u32::MAX,
        |p| p.outputs[0].access.offset += 1,
        |p| p.inputs[0].access.bytes -= 1,
        |p| p.outputs.clear(),
    ] {
        let mut changed = program.clone();
        change(&mut changed);
        assert!(verdict(&build, &changed).is_err());
    }
}

#[test]
fn tensors_in_the_state_region_are_caught() {
    let (build, program) = fixture();
    let input = program.inputs[0].access.buffer;
    let moved = with_buffers(&program, |i, buffer| {
        if i == input.index() {
            buffer.offset = program.plan.state_offset;
        }
    });
    assert!(verdict(&build, &moved).is_err());
}

#[test]
fn moved_buffers_in_random_programs_are_caught_where_they_matter() {
    // A buffer moved, its records with it, so that only values and overlaps can tell. Where neither objects, the
    // move was harmless; where the buffer meets another one alive, it must be caught.
    let mut caught = 0;
    for seed in 0..150 {
        let build = Build::random(seed);
        let program = build.schedule();
        let mut random = Random::new(seed);
        let buffers: Vec<Buffer> = program.buffers.iter().map(|(_, buffer)| buffer.clone()).collect();
        let moved_idx = random.below(buffers.len());
        let offset = random.below(program.plan.arena_bytes as usize) as u32;
        let old = buffers[moved_idx].clone();
        if old.state {
            continue;
        }
        let mut moved = with_buffers(&program, |i, buffer| {
            if i == moved_idx {
                buffer.offset = offset;
            }
        });
        for step in &mut moved.steps {
            let shift = |at: u32, access: Option<tinsmith::ir::Access>| match access {
                Some(access) if access.buffer.index() == moved_idx => at + offset - old.offset.min(at),
                _ => at,
            };
            let Layer::Dense(dense) = &mut step.layer else {
                continue;
            };
            dense.ifm = shift(dense.ifm, step.reads[0]);
            dense.ofm = shift(dense.ofm, Some(step.write));
        }
        let meets = buffers.iter().enumerate().any(|(i, other)| {
            i != moved_idx
                && other.live.overlaps(old.live)
                && offset < other.offset + other.bytes
                && other.offset < offset + old.bytes
        });
        if meets {
            assert!(verdict(&build, &moved).is_err(), "seed {seed}");
            caught += 1;
        }
    }
    assert!(caught > 50, "{caught}");
}
