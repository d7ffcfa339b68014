//! Steps that rest where a condition says so.

use tinsmith_runtime::exec::{Model, Observer};
use tinsmith_runtime::format::{Fill, WHEN_FALSE};
use tinsmith_runtime::kernels::{self, Layer};
use tinsmith_runtime::{Blob, BlobError, StepProblem, arena};

use crate::blobs::Parts;

/// Which steps ran.
#[derive(Default)]
struct Ran(Vec<usize>);

impl Observer for Ran {
    fn before(&mut self, step: usize) {
        self.0.push(step);
    }
    fn after(&mut self, step: usize, _: &[u8]) {
        assert_eq!(self.0.last(), Some(&step));
    }
}

#[test]
fn guarded_steps_run_only_where_all_conditions_let_them() {
    let fill = |ofm: u32| {
        Layer::Fill(Fill {
            ofm,
            count: 1,
            value: 7,
        })
    };
    let guards = vec![
        vec![],
        vec![0],
        vec![WHEN_FALSE],
        vec![0, 1],
        vec![0, 1 | WHEN_FALSE],
    ];
    let mut parts = Parts {
        arena_bytes: 7,
        inputs: vec![(0, 2)],
        outputs: vec![(2, 5)],
        layers: (2..7).map(fill).collect(),
        guards,
        ..Parts::default()
    };
    for (inputs, wanted) in [
        ([0, 0], vec![0, 2]),
        ([1, 0], vec![0, 1, 4]),
        ([0, 5], vec![0, 2]),
        ([9, 255], vec![0, 1, 3]),
    ] {
        let bytes = parts.blob();
        let blob = Blob::check(&bytes).unwrap();
        let mut memory = vec![0xa5; 7 + arena::slack_bytes()];
        let arena = arena::align(&mut memory);
        let model = Model::new(blob, kernels::ALL).unwrap();
        model.input_mut(arena, 0).copy_from_slice(&inputs);
        let mut ran = Ran::default();
        model.run(arena, &mut ran).unwrap();
        assert_eq!(ran.0, wanted, "{inputs:?}");
        let filled: Vec<usize> = (0..5).filter(|&i| model.output(arena, 0)[i] == 7).collect();
        assert_eq!(filled, wanted, "{inputs:?}");
    }
    parts.guards[3] = vec![7];
    let problem = StepProblem::OutOfBounds;
    assert_eq!(parts.check(), Err(BlobError::Step { step: 3, problem }));
    parts.guards[3] = vec![0; 4];
    assert_eq!(parts.check(), Ok(()));
    parts.guards[3] = vec![0; 5];
    let problem = StepProblem::Record;
    assert_eq!(parts.check(), Err(BlobError::Step { step: 3, problem }));
}
