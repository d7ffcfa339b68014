//! Models and calibration data that are broken on purpose: the place and the cause must be found, and the cure that is printed,
//! done to the letter, must restore what was lost.
//!
//! A bias that is too large for its weights is not among them: it must be 2³¹ steps, which is a hundred times what the products
//! of a thousand inputs reach, so that the output's own steps leave nothing of these whatever the weights are.

mod cases;
mod net;

use std::collections::BTreeMap;

use cases::{Case, NETS, broken};
use tinsmith::quantize::WeightForm;

/// How much of the lost decibels must come back for a case to be cured.
const RESTORED: f64 = 0.8;

/// What the rules were found on.
const KNOWN: u32 = 1;
/// What they are held to.
const UNSEEN: u32 = 4000;

#[test]
fn what_is_whole_has_no_diagnosis() {
    for first in [KNOWN, UNSEEN] {
        for (seed, widths) in (first..).zip(NETS) {
            assert_eq!(Case::whole(seed, widths).report(true).diagnoses, []);
        }
    }
}

#[test]
fn weights_that_share_a_scale_are_held_against_all_that_share_it() {
    let mut case = Case::whole(3, NETS[2]);
    case.weights = WeightForm::Int8PerTensor;
    let [conv, reader] = &mut case.net.convs[..2] else {
        panic!()
    };
    // A channel of weights that is small beside the others; its bias is as ordinary as theirs.
    conv.row(1).iter_mut().for_each(|w| *w /= 60.0);
    conv.bias[1] /= 60.0;
    reader.column(1).flatten().for_each(|w| *w *= 60.0);
    let found = case.report(true).diagnoses;
    let of_weights = found.iter().map(|found| found.cause.name());
    let of_weights: Vec<&str> = of_weights.filter(|name| !name.contains("accumulated")).collect();
    assert_eq!(of_weights, ["weight_outlier"], "{found:#?}");
}

/// Cases of a cause: how many there are, in how many the place was found, the cause named, the loss cured.
#[derive(Clone, Copy, Default)]
struct Score {
    cases: usize,
    places: usize,
    causes: usize,
    cured: usize,
}

impl Score {
    fn join(&mut self, other: Self) {
        self.cases += other.cases;
        self.places += other.places;
        self.causes += other.causes;
        self.cured += other.cured;
    }

    /// Breaks a network in one way, and goes by what is said of it.
    fn of(mut case: Case, sound: &Case) -> Self {
        let report = case.report(true);
        let first = report.diagnoses.iter().take(3);
        let found = first.clone().find(|found| case.places.contains(&found.tensor));
        let is_named = found.is_some_and(|found| found.cause.name() == case.cause);
        // Who reads the report believes the place that is named first.
        let (healthy, sick) = (sound.decibels(), case.decibels());
        let believed = found.or(first.clone().next());
        if let Some(believed) = believed {
            case.cure(&believed.cause, sound);
        }
        let restored = (case.decibels() - sick) / (healthy - sick);
        let is_cured = restored >= RESTORED;
        if !(is_named && is_cured) {
            let named: Vec<_> = first.map(|found| (&found.tensor, found.cause.name())).collect();
            println!(
                "{} with seed {}: {:?} wanted, {named:?} found; {healthy:.1} dB healthy, {sick:.1} dB sick, {:.0} % back",
                case.cause,
                case.seed,
                case.places,
                100.0 * restored
            );
        }
        Self {
            cases: 1,
            places: usize::from(found.is_some()),
            causes: usize::from(is_named),
            cured: usize::from(is_cured),
        }
    }
}

#[test]
fn places_and_causes_are_found_and_cured() {
    let mut by_cause: BTreeMap<&str, Score> = BTreeMap::new();
    for (seed, widths) in (UNSEEN..).zip(NETS) {
        for (case, sound) in broken(seed, widths) {
            let score = by_cause.entry(case.cause).or_default();
            score.join(Score::of(case, &sound));
        }
    }
    let mut total = Score::default();
    println!("cause                cases places causes cured");
    for (cause, score) in &by_cause {
        let Score {
            cases,
            places,
            causes,
            cured,
        } = score;
        println!("{cause:<20} {cases:>5} {places:>6} {causes:>6} {cured:>5}");
        total.join(*score);
    }
    let Score {
        cases,
        places,
        causes,
        cured,
    } = total;
    println!("{:<20} {cases:>5} {places:>6} {causes:>6} {cured:>5}", "all");
    assert!(by_cause.len() >= 10 && cases >= 60, "{cases} cases");
    assert!(places * 10 >= cases * 9, "{places} places of {cases}");
    assert!(causes * 10 >= cases * 8, "{causes} causes of {cases}");
    assert!(cured * 10 >= cases * 8, "{cured} cures of {cases}");
}
