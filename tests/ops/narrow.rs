//! Element types of at most eight bits: codes against all numbers near them.

use tinsmith::op::tensor::{DType, Data, Narrow, Values};
use tinsmith::op::{BitCast, Cast, Encoding, NarrowCast, RoundMode};

use super::{Random, check, check_refused, eval, f32s};

const FLOATS: [Narrow; 5] = [
    Narrow::F4E2M1,
    Narrow::F8E4M3Fn,
    Narrow::F8E4M3FnUz,
    Narrow::F8E5M2,
    Narrow::F8E5M2FnUz,
];

/// The finite numbers of a type with their codes, ascending; of the two zeros the positive one.
fn numbers(narrow: Narrow) -> Vec<(f64, u8)> {
    let codes = 0..=((1_u16 << narrow.bits()) - 1) as u8;
    let mut numbers: Vec<(f64, u8)> = codes
        .map(|code| (f64::from(narrow.decode(code)), code))
        .filter(|(x, _)| x.is_finite() && !(*x == 0.0 && x.is_sign_negative()))
        .collect();
    numbers.sort_by(|a, b| a.0.total_cmp(&b.0));
    numbers
}

const SATURATED: Encoding = Encoding {
    saturate: true,
    round: RoundMode::Up,
};
const OPEN: Encoding = Encoding {
    saturate: false,
    round: RoundMode::Up,
};

#[test]
fn the_nearest_number_is_taken_and_ties_go_to_even() {
    for narrow in FLOATS {
        for pair in numbers(narrow).windows(2) {
            let [(low, low_code), (high, high_code)] = *pair else {
                unreachable!()
            };
            let middle = f64::midpoint(low, high);
            let even = if low_code % 2 == 0 { low } else { high };
            let cases = [
                (low, low),
                (low.next_up(), low),
                (middle.next_down(), low),
                (middle, even),
                (middle.next_up(), high),
                (high.next_down(), high),
            ];
            assert!(low_code % 2 != high_code % 2, "neighbours of {narrow:?}");
            for (x, wanted) in cases {
                for encoding in [SATURATED, OPEN] {
                    let found = f64::from(narrow.decode(narrow.encode(x, encoding)));
                    assert_eq!(found, wanted, "{x} in {narrow:?}");
                    let sign = found.is_sign_negative();
                    let keeps_sign = !matches!(narrow, Narrow::F8E4M3FnUz | Narrow::F8E5M2FnUz);
                    assert!(
                        found != 0.0 || sign == (x.is_sign_negative() && keeps_sign),
                        "{x} in {narrow:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn every_code_comes_back() {
    for narrow in FLOATS.into_iter().chain([Narrow::F8E8M0]) {
        for code in 0..=((1_u16 << narrow.bits()) - 1) as u8 {
            let x = narrow.decode(code);
            let back = narrow.encode(x.into(), OPEN);
            assert!(
                back == code || x.is_nan() && narrow.decode(back).is_nan(),
                "{code:#x} of {narrow:?}"
            );
        }
    }
}

/// The greatest number `m` with the one `step` below it: what would round to the number above is beyond.
#[test]
fn beyond_the_ends_lies_the_greatest_number_or_infinity_or_nan() {
    for narrow in FLOATS {
        let numbers = numbers(narrow);
        let greatest = numbers[numbers.len() - 1].0;
        let step = greatest - numbers[numbers.len() - 2].0;
        for sign in [1.0, -1.0] {
            let encoded = |x: f64, encoding| f64::from(narrow.decode(narrow.encode(sign * x, encoding)));
            // 6 and 448 have even codes; the others' greatest codes are odd, so that a tie is beyond them.
            let tie = greatest + step / 2.0;
            let inside = tie.next_down();
            for encoding in [SATURATED, OPEN] {
                assert_eq!(encoded(inside, encoding), sign * greatest, "{narrow:?}");
            }
            for x in [tie.next_up(), 2.0 * tie, 1e300, f64::INFINITY] {
                assert_eq!(encoded(x, SATURATED), sign * greatest, "{narrow:?}");
                let open = encoded(x, OPEN);
                match narrow {
                    Narrow::F4E2M1 => assert_eq!(open, sign * greatest),
                    Narrow::F8E5M2 => assert_eq!(open, sign * f64::INFINITY),
                    _ => assert!(open.is_nan(), "{x} in {narrow:?} is {open}"),
                }
            }
            let tie_stays = matches!(narrow, Narrow::F8E4M3Fn);
            if !matches!(narrow, Narrow::F4E2M1) {
                assert_eq!(encoded(tie, OPEN) == sign * greatest, tie_stays, "{narrow:?}");
            }
        }
    }
}

#[test]
fn what_is_no_number_stays_none() {
    for narrow in FLOATS.into_iter().chain([Narrow::F8E8M0]) {
        for encoding in [SATURATED, OPEN] {
            let code = narrow.encode(f64::NAN.copysign(1.0), encoding);
            if narrow == Narrow::F4E2M1 {
                assert_eq!(code, 0x8, "ONNX's own examples have −0");
            } else {
                assert!(narrow.decode(code).is_nan(), "{narrow:?}");
            }
        }
    }
}

#[test]
fn powers_of_two_round_as_asked() {
    let encode = |x: f64, saturate, round| {
        let code = Narrow::F8E8M0.encode(x, Encoding { saturate, round });
        Narrow::F8E8M0.decode(code)
    };
    for exponent in -127..127 {
        let (low, high) = (2f64.powi(exponent), 2f64.powi(exponent + 1));
        for saturate in [true, false] {
            let all = |x: f64| {
                [RoundMode::Up, RoundMode::Down, RoundMode::Nearest]
                    .map(|round| f64::from(encode(x, saturate, round)))
            };
            assert_eq!(all(low), [low, low, low]);
            assert_eq!(all(low.next_up()), [high, low, low]);
            assert_eq!(all((1.5 * low).next_down()), [high, low, low]);
            assert_eq!(all(1.5 * low), [high, low, high]);
            assert_eq!(all(high.next_down()), [high, low, high]);
        }
    }
    let (least, greatest) = (2f32.powi(-126) / 2.0, 2f32.powi(127));
    for round in [RoundMode::Up, RoundMode::Down, RoundMode::Nearest] {
        for small in [0.0, 1e-300, f64::from(least) / 2.0] {
            assert_eq!(encode(small, true, round), least);
            assert!(encode(small, false, round).is_nan());
        }
        for great in [2f64.powi(128), 1e300, f64::INFINITY] {
            assert_eq!(encode(great, true, round), greatest);
            assert!(encode(great, false, round).is_nan());
        }
        assert!(encode(-1.0, true, round).is_nan());
    }
}

#[test]
fn narrow_integers_keep_their_lowest_bits_in_casts_and_saturate_in_quantization() {
    for (narrow, low, high) in [
        (Narrow::I2, -2, 1),
        (Narrow::U2, 0, 3),
        (Narrow::I4, -8, 7),
        (Narrow::U4, 0, 15),
    ] {
        let span = high - low + 1;
        for x in -40..40_i64 {
            let wrapped = (x - low).rem_euclid(span) + low;
            for code in [
                narrow.encode(x as f64, SATURATED),
                narrow.wrap(x.into()),
                narrow.encode(x as f64 + 0.9 * x.signum() as f64, OPEN),
            ] {
                assert_eq!(narrow.to_integer(code).map(i64::from), Some(wrapped), "{x}");
                assert!(code < 1 << narrow.bits());
            }
            let saturated = narrow.to_integer(narrow.saturate(x)).map(i64::from);
            assert_eq!(saturated, Some(x.clamp(low, high)));
        }
    }
}

#[test]
fn casts_round_once_from_any_type() {
    // Just above the middle of 1 and 1.125: rounded to f32 first, it would be a tie and go down to 1.
    let x = 1.0625_f64.next_up();
    let e4m3 = DType::Narrow(Narrow::F8E4M3Fn);
    let wanted = Values::new([1], Data::Narrow(Narrow::F8E4M3Fn, vec![0x39]));
    check(
        Cast { to: e4m3 },
        &[&Values::new([1], Data::F64(vec![x]))],
        &wanted,
    );
    // Integers wrap, whichever narrow type they come from.
    let codes = Values::new([2], Data::Narrow(Narrow::I4, vec![0xf, 0x7]));
    check(
        Cast { to: DType::U8 },
        &[&codes],
        &Values::new([2], Data::U8(vec![255, 7])),
    );
    let open = NarrowCast {
        to: Narrow::F8E4M3Fn,
        encoding: OPEN,
    };
    let found = eval(open, &[&f32s(&[2], &[464.0, 465.0])]).unwrap().to_f64();
    assert!(found[0] == 448.0 && found[1].is_nan());
}

#[test]
fn bits_are_read_as_another_type() {
    let bits = Values::new([2], Data::I32(vec![0x3f80_0000, i32::MIN]));
    check(BitCast { to: DType::F32 }, &[&bits], &f32s(&[2], &[1.0, -0.0]));
    let codes = Values::new([2], Data::Narrow(Narrow::U4, vec![0x8, 0x1]));
    let to = DType::Narrow(Narrow::I4);
    check(
        BitCast { to },
        &[&codes],
        &Values::new([2], Data::Narrow(Narrow::I4, vec![0x8, 0x1])),
    );
    check_refused(
        BitCast { to: DType::U8 },
        &[&codes],
        "an element type of 4 bits wanted, u8 found",
    );
    let mut random = Random(1);
    let floats: Vec<f64> = (0..100).map(|_| f64::from_bits(random.next() << 20)).collect();
    let there = eval(
        BitCast { to: DType::U64 },
        &[&Values::new([100], Data::F64(floats.clone()))],
    );
    let wanted = floats.iter().map(|x| x.to_bits()).collect();
    assert_eq!(there.unwrap().data, Data::U64(wanted));
}
