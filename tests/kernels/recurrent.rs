//! The recurrence over reals, to the bit: as the operator's meaning has it, which is written apart from the kernel.

use tinsmith::op::tensor::{Data, Values};
use tinsmith::op::{Activation, Cell, Function, Op, Recurrent};
use tinsmith_runtime::format::RecurrentF32;
use tinsmith_runtime::kernels::Layer;

use crate::blobs::{Parts, Random};

const FUNCTIONS: [Function; 11] = [
    Function::Relu,
    Function::Tanh,
    Function::Sigmoid,
    Function::Affine,
    Function::LeakyRelu,
    Function::ThresholdedRelu,
    Function::ScaledTanh,
    Function::HardSigmoid,
    Function::Elu,
    Function::Softsign,
    Function::Softplus,
];

#[test]
fn recurrences_are_their_formulas() {
    let random = &mut Random(96);
    for round in 0..400 {
        let [steps, batch, hidden] = [1, 2, 3].map(|least| random.range(1, least + 3) as usize);
        let flag = random.range(0, 1) == 1;
        let (code, cell) = [
            (0, Cell::Rnn),
            (
                1,
                Cell::Gru {
                    linear_before_reset: flag,
                },
            ),
            (2, Cell::Lstm { input_forget: flag }),
        ][round % 3];
        let real = |random: &mut Random| random.range(-999, 999) as f32 / 512.0;
        let activations = [(); 3].map(|()| Activation {
            function: random.one_of(&FUNCTIONS),
            alpha: real(random),
            beta: real(random),
        });
        let clip = random.one_of(&[None, Some(0.5)]);
        let backward = random.range(0, 1) == 1;
        let mut reals = |count: usize| -> Vec<f32> { (0..count).map(|_| real(random)).collect() };
        let rows = cell.gates() * hidden;
        let x = reals(steps * batch * rows);
        let recurrence = reals(rows * hidden);
        let side = reals((2 * batch + 4) * hidden);
        let lengths: Vec<u32> = (0..batch).map(|_| random.range(0, steps as i64) as u32).collect();

        let op = Op::Recurrent(Recurrent {
            cell,
            activations,
            clip,
            backward,
        });
        let inputs = [
            Values::f32([steps, batch, rows], x.clone()),
            Values::f32([rows, hidden], recurrence.clone()),
            Values::f32([side.len()], side.clone()),
            Values::new(
                [batch],
                Data::I64(lengths.iter().map(|&length| length.into()).collect()),
            ),
        ];
        let wanted = op.eval(&inputs.each_ref()).unwrap().remove(0);

        let sources = [x, recurrence, side].map(|reals| Data::F32(reals).to_le_bytes());
        let mut parts = Parts::default();
        for source in &sources {
            parts.inputs.push((parts.arena_bytes, source.len() as u32));
            parts.arena_bytes += source.len() as u32;
        }
        let ofm = parts.arena_bytes;
        parts.outputs.push((ofm, 4 * wanted.data.len() as u32));
        parts.arena_bytes += 4 * wanted.data.len() as u32;
        let constants = parts.constants_block(&Data::U32(lengths).to_le_bytes());
        let record = RecurrentF32 {
            ifm: parts.inputs[0].0,
            recurrence: parts.inputs[1].0,
            side: parts.inputs[2].0,
            ofm,
            constants,
            steps: steps as u32,
            batch: batch as u32,
            hidden: hidden as u32,
            clip: clip.unwrap_or(f32::INFINITY),
            alphas: activations.map(|activation| activation.alpha),
            betas: activations.map(|activation| activation.beta),
            functions: activations.map(|activation| activation.function as u8),
            cell: code,
            flag: flag.into(),
            backward: backward.into(),
        };
        parts.layers.push(Layer::RecurrentF32(record));
        let found = parts.run(&sources.each_ref().map(Vec::as_slice));
        assert_eq!(found[0], wanted.data.to_le_bytes(), "{record:?}");

        // What the kernel relies on is proven beforehand.
        let bent = |change: fn(&mut RecurrentF32)| {
            let mut bent = record;
            change(&mut bent);
            let mut parts = parts.clone();
            parts.layers = vec![Layer::RecurrentF32(bent)];
            parts.check()
        };
        if round < 3 {
            assert!(bent(|_| {}).is_ok());
            assert!(bent(|record| record.cell = 3).is_err());
            assert!(bent(|record| record.flag = 2).is_err());
            assert!(bent(|record| record.backward = 2).is_err());
            assert!(bent(|record| record.functions[2] = 11).is_err());
            assert!(bent(|record| record.clip = 0.0).is_err());
            assert!(bent(|record| record.clip = -1.0).is_err());
            assert!(bent(|record| record.ofm = record.recurrence).is_err());
            assert!(bent(|record| record.steps = u32::MAX).is_err());
            assert!(bent(|record| record.hidden = 0).is_err());
        }
    }
}
