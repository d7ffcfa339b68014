//! Loops: how often bodies run, what the check holds them to, and damage.

use tinsmith_runtime::exec::{Model, Observer};
use tinsmith_runtime::format::{Fill, IN_CONSTANTS, MOST_NESTING, Repeat, Scatter};
use tinsmith_runtime::kernels::{self, Layer};
use tinsmith_runtime::{Blob, BlobError, StepProblem, arena};

use crate::blobs::{Parts, Random, run, seal};

/// Which steps ran.
#[derive(Default)]
struct Ran(Vec<usize>);

impl Observer for Ran {
    fn before(&mut self, step: usize) {
        self.0.push(step);
    }
    fn after(&mut self, _: usize, _: &[u8]) {}
}

/// A loop with its counter at `counter`, and a condition at byte 0 where it has one.
fn repeat(counter: u32, steps: u32, trips: u32, conditional: u8) -> Layer {
    Layer::Repeat(Repeat {
        condition: 0,
        ofm: counter,
        steps,
        trips,
        conditional,
    })
}

fn fill(ofm: u32, value: i8) -> Layer {
    let count = 1;
    Layer::Fill(Fill { ofm, count, value })
}

/// `rows[counter] = counter + 0`: the rows are eight i64 from byte 64 on.
fn note(counter: u32) -> Layer {
    Layer::Scatter(Scatter {
        data: 64,
        updates: counter,
        indices: counter,
        ofm: 64,
        count: 8,
        rows: 1,
        row_elements: 1,
        extents: [8, 1, 1, 1, 1],
        strides: [1, 0, 0, 0, 0],
        depth: 1,
        index_bytes: 8,
        element_bytes: 8,
        reduction: 0,
    })
}

fn parts(layers: Vec<Layer>) -> Parts {
    Parts {
        arena_bytes: 192,
        inputs: vec![(0, 2), (64, 64)],
        outputs: vec![(64, 64)],
        layers,
        ..Parts::default()
    }
}

/// The steps that ran, and the rows.
fn ran(parts: &Parts, flags: [u8; 2]) -> (Vec<usize>, Vec<i64>) {
    let bytes = parts.blob();
    let blob = Blob::check(&bytes).unwrap();
    let mut memory = vec![0xa5; blob.arena_bytes() as usize + arena::slack_bytes()];
    let arena = arena::align(&mut memory);
    let model = Model::new(blob, kernels::ALL).unwrap();
    model.input_mut(arena, 0).copy_from_slice(&flags);
    model.input_mut(arena, 1).fill(0xff);
    let mut ran = Ran::default();
    model.run(arena, &mut ran).unwrap();
    let rows = model.output(arena, 0).as_chunks::<8>().0;
    (ran.0, rows.iter().map(|&row| i64::from_le_bytes(row)).collect())
}

#[test]
fn a_body_runs_as_often_as_it_says() {
    for trips in 1..=8 {
        let parts = parts(vec![repeat(8, 2, trips, 0), note(8), fill(2, 1), fill(3, 1)]);
        let (steps, rows) = ran(&parts, [0, 0]);
        let body = [1, 2].repeat(trips as usize);
        assert_eq!(steps, [vec![0], body, vec![3]].concat());
        let wanted = (0..8).map(|i| if i < trips.into() { i } else { -1 });
        assert_eq!(rows, wanted.collect::<Vec<i64>>());
    }
}

#[test]
fn a_condition_ends_it_early() {
    // The second input byte lets the body clear the condition.
    let mut parts = parts(vec![repeat(8, 2, 5, 1), note(8), fill(0, 0), fill(3, 1)]);
    parts.guards = vec![vec![], vec![], vec![1], vec![]];
    assert_eq!(ran(&parts, [0, 0]).0, [0, 3]);
    assert_eq!(ran(&parts, [1, 1]).0, [0, 1, 2, 3]);
    assert_eq!(ran(&parts, [1, 0]).0, [0, 1, 1, 1, 1, 1, 3]);
    // A loop that a guard passes over takes its body with it.
    parts.guards[0] = vec![1];
    assert_eq!(ran(&parts, [1, 0]), (vec![3], vec![-1; 8]));
}

#[test]
fn loops_lie_within_loops() {
    let parts = parts(vec![
        repeat(8, 4, 2, 0),
        repeat(16, 1, 3, 0),
        note(16),
        repeat(24, 1, 2, 0),
        note(24),
        fill(3, 1),
    ]);
    let inner = [1, 2, 2, 2, 3, 4, 4];
    let (steps, rows) = ran(&parts, [0, 0]);
    assert_eq!(steps, [vec![0], inner.repeat(2), vec![5]].concat());
    assert_eq!(rows, [0, 1, 2, -1, -1, -1, -1, -1]);
    let bytes = parts.blob();
    // Eight elements of a scatter and its update, each as often as it runs.
    let once = Blob::check(&self::parts(vec![note(16)]).blob()).unwrap().work();
    assert_eq!(Blob::check(&bytes).unwrap().work(), 1 + 2 * (2 + 5 * once) + 1);
}

#[test]
fn loops_that_do_not_lie_within_the_steps_around_are_refused() {
    let refused = |layers: Vec<Layer>, step: u32, problem: StepProblem| {
        assert_eq!(parts(layers).check(), Err(BlobError::Step { step, problem }));
    };
    refused(vec![repeat(8, 2, 1, 0), note(8)], 0, StepProblem::Nesting);
    refused(vec![repeat(8, u32::MAX, 1, 0), note(8)], 0, StepProblem::Nesting);
    let crossing = vec![repeat(8, 2, 1, 0), repeat(16, 2, 1, 0), note(8), note(8)];
    refused(crossing, 1, StepProblem::Nesting);
    refused(vec![repeat(8, 0, 1, 0), note(8)], 0, StepProblem::Parameter);
    refused(vec![repeat(8, 1, 0, 0), note(8)], 0, StepProblem::Parameter);
    refused(vec![repeat(8, 1, 1, 2), note(8)], 0, StepProblem::Parameter);
    refused(vec![repeat(185, 1, 1, 0), note(8)], 0, StepProblem::OutOfBounds);
    let within = |deep: usize| {
        let mut layers: Vec<Layer> = (0..deep).map(|at| repeat(8, (deep - at) as u32, 2, 0)).collect();
        layers.push(fill(3, 1));
        layers
    };
    assert_eq!(parts(within(MOST_NESTING)).check(), Ok(()));
    refused(
        within(MOST_NESTING + 1),
        MOST_NESTING as u32,
        StepProblem::Nesting,
    );
    let mut far = parts(vec![repeat(8, 1, 1, 1), note(8)]);
    far.constants_block(&[1; 16]);
    let Layer::Repeat(record) = &mut far.layers[0] else {
        unreachable!()
    };
    record.condition = IN_CONSTANTS;
    let problem = StepProblem::Parameter;
    assert_eq!(far.check(), Err(BlobError::Step { step: 0, problem }));
    let endless = vec![repeat(8, 2, u32::MAX, 0), repeat(16, 1, 1 << 10, 0), note(8)];
    assert_eq!(parts(endless).check(), Err(BlobError::TooMuchWork));
}

#[test]
fn damaged_loops_are_refused_or_harmless() {
    let mut sound = parts(vec![
        repeat(8, 5, 2, 1),
        repeat(16, 2, 3, 0),
        note(16),
        fill(2, 1),
        repeat(24, 1, 2, 1),
        note(24),
        fill(3, 1),
    ]);
    sound.guards = vec![vec![1]];
    let bytes = sound.blob();
    let random = &mut Random(19);
    let (mut refused, mut harmless) = (0, 0);
    for _ in 0..60_000 {
        let mut damaged = bytes.clone();
        for _ in 0..random.range(1, 4) {
            let at = random.range(24, bytes.len() as i64 - 64) as usize;
            damaged[at] = match random.range(0, 4) {
                0 => 0,
                1 => 0xff,
                2 => damaged[at].wrapping_add(1),
                3 => damaged[at].wrapping_sub(1),
                _ => random.range(0, 12) as u8,
            };
        }
        seal(&mut damaged);
        let Ok(blob) = Blob::check(&damaged) else {
            refused += 1;
            continue;
        };
        if blob.arena_bytes() <= 1 << 16 && blob.work() <= 1 << 20 {
            let inputs: Vec<Vec<u8>> = blob.inputs().map(|port| vec![1; port.bytes as usize]).collect();
            let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
            run(blob, &inputs).expect("a checked blob runs");
            harmless += 1;
        }
    }
    assert!(
        refused > 1000 && harmless > 1000,
        "{refused} refused, {harmless} harmless"
    );
}
