//! `cargo xtask picture`: the memory plan of the demo's model as an SVG, steps to the right, arena bytes upward.

use std::fmt::Write as _;

use miette::{IntoDiagnostic, Result, miette};
use tinsmith::ir::Program;
use tinsmith::target::Target;

use crate::boards;

const COLUMN: f64 = 92.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 64.0;
const TOP: f64 = 34.0;
const COLOURS: [&str; 6] = ["#4e79a7", "#f28e2b", "#59a14f", "#b07aa1", "#edc948", "#76b7b2"];

pub(crate) fn run() -> Result<bool> {
    let target = Target::builtin("mps2-an386").ok_or_else(|| miette!("no target mps2-an386"))?;
    let (artifact, _) = boards::demo(&target)?;
    let path = crate::root().join("examples/digits/memory-plan.svg");
    std::fs::write(&path, svg(&artifact.program)).into_diagnostic()?;
    println!("{}", path.display());
    Ok(true)
}

fn svg(program: &Program) -> String {
    let arena = f64::from(program.plan.arena_bytes.max(1));
    let y = |bytes: f64| TOP + HEIGHT * (1.0 - bytes / arena);
    let width = LEFT + COLUMN * program.steps.len() as f64 + 16.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"{LEFT}\" y=\"18\" font-size=\"13\">{}: arena {} bytes, lower bound {}</text>\n",
        TOP + HEIGHT + 46.0,
        program.name,
        program.plan.arena_bytes,
        program.plan.lower_bound_bytes
    );
    let mut labels = String::new();
    for (index, (_, buffer)) in program.buffers.iter().enumerate() {
        let x = LEFT + COLUMN * buffer.live.first as f64;
        let w = COLUMN * (buffer.live.last - buffer.live.first + 1) as f64;
        let (top, bottom) = (
            y(f64::from(buffer.offset + buffer.bytes)),
            y(f64::from(buffer.offset)),
        );
        let colour = COLOURS[index % COLOURS.len()];
        let _ = writeln!(
            out,
            "<rect x=\"{x:.1}\" y=\"{top:.1}\" width=\"{w:.1}\" height=\"{:.1}\" fill=\"{colour}\" stroke=\"#ffffff\"/>",
            (bottom - top).max(1.0),
        );
        // A thin buffer's label stands above it, in dark.
        let inside = bottom - top >= 16.0;
        let (baseline, fill) = if inside {
            ((top + bottom) / 2.0 + 4.0, "#ffffff")
        } else {
            (top - 3.0, "#333333")
        };
        let _ = writeln!(
            labels,
            "<text x=\"{:.1}\" y=\"{baseline:.1}\" fill=\"{fill}\">{} · {}</text>",
            x + 5.0,
            buffer.name,
            buffer.bytes
        );
    }
    out.push_str(&labels);
    for (index, step) in program.steps.iter().enumerate() {
        let x = LEFT + COLUMN * (index as f64 + 0.5);
        let _ = writeln!(
            out,
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#777777\">{}</text>",
            TOP + HEIGHT + 16.0,
            step.name,
            TOP + HEIGHT + 31.0,
            step.layer.name()
        );
    }
    for part in 0..=4_u32 {
        let bytes = arena * f64::from(part) / 4.0;
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#777777\">{bytes:.0}</text>",
            LEFT - 6.0,
            y(bytes) + 4.0
        );
    }
    out.push_str("</svg>\n");
    out
}
