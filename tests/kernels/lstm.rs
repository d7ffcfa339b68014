//! The LSTM of int8 against the numbers that its description lists, in i128, one sample and one step after the other.

use tinsmith_runtime::format::{IN_CONSTANTS, Lstm};
use tinsmith_runtime::kernels::Layer;

use super::{Rescale, nearest};
use crate::blobs::{Parts, Random};

/// A multiplier and a shift of a row or a state, such that `size` times it is about 2^bits.
fn random_factor(random: &mut Random, size: i64, bits: i64) -> (i32, u8) {
    let log2 = 63 - size.leading_zeros() as i64;
    let shift = (24 + log2 - bits).clamp(1, 62) as u8;
    (random.range(1 << 23, (1 << 24) - 1) as i32, shift)
}

fn scaled(value: i64, (multiplier, shift): (i32, u8)) -> i64 {
    nearest(i128::from(value) * i128::from(multiplier), shift) as i64
}

/// Between neighbours of the table.
fn tanh(table: &[u16], z: i64) -> i64 {
    let (index, part) = ((z.abs() / 1024) as usize, z.abs() % 1024);
    let value = if index + 1 < table.len() {
        let (low, high) = (i64::from(table[index]), i64::from(table[index + 1]));
        low + (high - low) * part / 1024
    } else {
        65535
    };
    value * z.signum()
}

fn sigmoid(table: &[u16], z: i64) -> i64 {
    (65536 + tanh(table, z.div_euclid(2))).div_euclid(2)
}

fn int(byte: u8) -> i64 {
    (byte as i8).into()
}

#[test]
fn lstm_is_its_numbers() {
    let random = &mut Random(97);
    let table: Vec<u16> = (0..513)
        .map(|k| (libm::tanh(f64::from(k) / 64.0) * 65536.0).round().min(65535.0) as u16)
        .collect();
    for round in 0..60 {
        let [steps, batch] = std::array::from_fn(|_| random.range(1, 3) as usize);
        let [features, hidden] = std::array::from_fn(|_| random.range(1, 6) as usize);
        let rows = 4 * hidden;
        let factors = |random: &mut Random, size, bits| -> Vec<(i32, u8)> {
            (0..rows).map(|_| random_factor(random, size, bits)).collect()
        };
        let of_x = factors(random, 64 * 64, 17);
        let of_h = factors(random, 64 * 16384, 17);
        let biases: Vec<i32> = (0..rows)
            .map(|_| random.range(-1 << 18, 1 << 18) as i32)
            .collect();
        let weights = random.bytes(rows * features);
        let recurrence = random.bytes(rows * hidden);
        let x = random.bytes(steps * batch * features);
        let (h, c) = (random.bytes(batch * hidden), random.bytes(batch * hidden));
        let cell = random.range(0, 1) as u8;
        let rescale = Rescale::random(random, if cell == 0 { 1 << 14 } else { 1 << 20 });
        let (h_factor, c_factor) = (random_factor(random, 128, 15), random_factor(random, 128, 22));
        let record = Lstm {
            steps: steps as u32,
            batch: batch as u32,
            features: features as u32,
            hidden: hidden as u32,
            h_multiplier: h_factor.0,
            c_multiplier: c_factor.0,
            multiplier: rescale.multiplier,
            h_shift: h_factor.1,
            c_shift: c_factor.1,
            shift: rescale.shift,
            ifm_zero_point: random.i8(),
            h_zero_point: random.i8(),
            c_zero_point: random.i8(),
            ofm_zero_point: random.i8(),
            backward: random.range(0, 1) as u8,
            cell,
            ..Lstm::default()
        };

        let given = if cell == 0 { steps + 1 } else { 1 };
        let mut wanted = vec![0u8; given * batch * hidden];
        for sample in 0..batch {
            let first = |codes: &[u8], zero_point: i8, factor, most: i64| -> Vec<i64> {
                let codes = &codes[sample * hidden..][..hidden];
                let code = |&code: &u8| scaled(int(code) - i64::from(zero_point), factor).clamp(-most, most);
                codes.iter().map(code).collect()
            };
            let mut h = first(&h, record.h_zero_point, h_factor, 32767);
            let mut c = first(&c, record.c_zero_point, c_factor, i32::MAX.into());
            let mut give = |at: usize, numbers: &[i64]| {
                for (slot, &number) in wanted[at * hidden..].iter_mut().zip(numbers) {
                    *slot = rescale.apply(number, record.ofm_zero_point, -128, 127);
                }
            };
            for step in 0..steps {
                let at = if record.backward == 1 {
                    steps - 1 - step
                } else {
                    step
                };
                let row = at * batch + sample;
                let x = &x[row * features..][..features];
                let mut next = Vec::new();
                for (j, c) in c.iter_mut().enumerate() {
                    let gate = |gate: usize| {
                        let row = gate * hidden + j;
                        let products = x.iter().zip(&weights[row * features..]);
                        let zero = i64::from(record.ifm_zero_point);
                        let sum_x: i64 = products.map(|(&x, &weight)| (int(x) - zero) * int(weight)).sum();
                        let products = h.iter().zip(&recurrence[row * hidden..]);
                        let sum_h: i64 = products.map(|(&h, &weight)| h * int(weight)).sum();
                        let z = scaled(sum_x, of_x[row]) + scaled(sum_h, of_h[row]) + i64::from(biases[row]);
                        z.clamp(-16 << 16, 16 << 16)
                    };
                    let [i, o, f] = [0, 1, 2].map(|index| sigmoid(&table, gate(index)));
                    let kept = i128::from(f * *c) + i128::from(i * tanh(&table, gate(3))) * 16;
                    let most = i128::from(i32::MAX);
                    *c = nearest(kept, 16).clamp(-most, most) as i64;
                    let within = nearest((*c).into(), 4) as i64;
                    let new = nearest(i128::from(o * tanh(&table, within)), 17) as i64;
                    next.push(new.clamp(-32767, 32767));
                }
                h = next;
                if cell == 0 {
                    give(row, &h);
                }
            }
            if cell == 0 {
                give(steps * batch + sample, &h);
            } else {
                give(sample, &c);
            }
        }

        let mut block: Vec<u8> = table.iter().flat_map(|entry| entry.to_le_bytes()).collect();
        block.extend(biases.iter().flat_map(|bias| bias.to_le_bytes()));
        for factors in [&of_x, &of_h] {
            block.extend(factors.iter().flat_map(|factor| factor.0.to_le_bytes()));
        }
        for factors in [&of_x, &of_h] {
            block.extend(factors.iter().map(|factor| factor.1));
        }
        block.extend(&weights);
        block.extend(&recurrence);
        let mut parts = Parts::default();
        parts.state = (0, 8 * hidden as u32);
        parts.arena_bytes = parts.state.1;
        for source in [&x, &h, &c] {
            parts.inputs.push((parts.arena_bytes, source.len() as u32));
            parts.arena_bytes += source.len() as u32;
        }
        let ofm = parts.arena_bytes;
        parts.arena_bytes += wanted.len() as u32;
        parts.outputs.push((ofm, wanted.len() as u32));
        let constants = parts.constants_block(&block);
        // The first cell state is a constant in every other round.
        let c_at = if round % 2 == 0 {
            parts.inputs[2].0
        } else {
            parts.constants_block(&c) | IN_CONSTANTS
        };
        let record = Lstm {
            ifm: parts.inputs[0].0,
            h: parts.inputs[1].0,
            c: c_at,
            ofm,
            constants,
            ..record
        };
        parts.layers.push(Layer::Lstm(record));
        assert_eq!(parts.run(&[&x, &h, &c]), [wanted], "{record:?}");

        // What the kernel relies on is proven beforehand.
        let bent = |change: fn(&mut Lstm)| {
            let mut bent = record;
            change(&mut bent);
            let mut parts = parts.clone();
            parts.layers = vec![Layer::Lstm(bent)];
            parts.check()
        };
        if round < 2 {
            assert!(bent(|_| {}).is_ok());
            assert!(bent(|record| record.steps = 0).is_err());
            assert!(bent(|record| record.hidden = 0).is_err());
            assert!(bent(|record| record.features = u32::MAX).is_err());
            assert!(bent(|record| record.cell = 2).is_err());
            assert!(bent(|record| record.backward = 2).is_err());
            assert!(bent(|record| record.h_multiplier = 1 << 24).is_err());
            assert!(bent(|record| record.c_shift = 63).is_err());
            assert!(bent(|record| record.shift = 32).is_err());
            assert!(bent(|record| record.ofm = record.ifm).is_err());
            assert!(bent(|record| record.state = record.ofm).is_err());
        }
    }
}
