//! Target descriptions: every built-in one loads and round-trips; what does not describe a target is refused.

use tinsmith::target::{MemoryUse, Target, TargetError};

/// A built-in description with one piece of text replaced.
fn changed(from: &str, to: &str) -> String {
    let text = Target::builtin_text("mps2-an386").unwrap();
    assert!(text.contains(from), "the description no longer holds `{from}`");
    text.replacen(from, to, 1)
}

fn invalid_reasons(toml: &str) -> Vec<String> {
    match Target::parse(toml) {
        Err(TargetError::Invalid { reasons, .. }) => reasons,
        other => panic!("expected contradictions, found {other:?}"),
    }
}

#[test]
fn every_built_in_target_loads_under_its_own_name_and_round_trips() {
    assert!(Target::names().len() >= 8);
    for name in Target::names() {
        let target = Target::builtin(name).unwrap();
        assert_eq!(target.name, name);
        let text = toml::to_string(&target).unwrap();
        assert_eq!(Target::parse(&text).unwrap(), target, "{name}");
    }
}

#[test]
fn every_description_in_the_folder_is_built_in() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/targets");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            assert!(Target::builtin(&name).is_some(), "{name}.toml is not in the list");
        }
    }
}

#[test]
fn emulated_boards_keep_firmware_and_blob_apart() {
    for target in Target::names().filter_map(Target::builtin) {
        if target.emulator.is_some() {
            let firmware = target.memory.iter().filter(|b| b.purpose == MemoryUse::Firmware);
            assert!(firmware.count() >= 1, "{}", target.name);
            assert!(target.flash().bytes >= 2 << 20, "{}", target.name);
        }
    }
}

#[test]
fn an_unknown_name_lists_the_names_there_are() {
    let message = Target::named("mps2-an999").unwrap_err().to_string();
    for name in Target::names() {
        assert!(message.contains(name), "{message}");
    }
}

#[test]
fn an_unknown_field_is_refused_with_its_line_and_the_known_ones() {
    for (from, to, line_of, known) in [
        ("clock_hz =", "clock_mhz =", "clock_mhz", "`clock_hz`"),
        ("use = \"flash\"", "purpose = \"flash\"", "purpose", "`use`"),
        (
            "conv_mac_q8",
            "convolution_mac_q8",
            "convolution_mac_q8",
            "`conv_mac_q8`",
        ),
        ("machine =", "board_name =", "board_name", "`machine`"),
    ] {
        let toml = changed(from, to);
        let wanted_line = 1 + toml.lines().position(|line| line.starts_with(line_of)).unwrap();
        match Target::parse(&toml) {
            Err(TargetError::Syntax { line, reason }) => {
                assert_eq!(line, wanted_line, "{reason}");
                assert!(
                    reason.contains("unknown field") && reason.contains(known),
                    "{reason}"
                );
            }
            other => panic!("expected a refusal of `{to}`, found {other:?}"),
        }
    }
}

#[test]
fn values_out_of_their_set_are_refused_with_the_set() {
    for (from, to, wanted) in [
        ("use = \"arena\"", "use = \"ram\"", "arena"),
        ("family = \"mcu\"", "family = \"gpu\"", "mcu"),
        ("lanes = \"portable\"", "lanes = \"avx\"", "portable"),
        ("clock_hz = 25_000_000", "clock_hz = -1", "clock_hz"),
        ("clock_hz = 25_000_000", "clock_hz = \"fast\"", "u64"),
    ] {
        let toml = changed(from, to);
        match Target::parse(&toml) {
            Err(TargetError::Syntax { line, reason }) => {
                let found = toml.lines().nth(line - 1).unwrap();
                assert!(
                    reason.contains(wanted) || found.contains(wanted),
                    "{to}: {found}: {reason}"
                );
            }
            other => panic!("expected a refusal of `{to}`, found {other:?}"),
        }
    }
}

#[test]
fn contradictions_are_listed_together() {
    let toml = changed("clock_hz = 25_000_000", "clock_hz = 0")
        .replace("use = \"arena\"", "use = \"firmware\"")
        .replace("address = 0x0020_0000", "address = 0x0010_0000");
    let reasons = invalid_reasons(&toml).join("\n");
    for wanted in [
        "`clock_hz` is 0",
        "`use = \"arena\"`",
        "`ssram1-low` and `ssram1-high` overlap",
    ] {
        assert!(reasons.contains(wanted), "{reasons}");
    }
}

#[test]
fn banks_start_aligned_and_hold_something() {
    let reasons = invalid_reasons(&changed("address = 0x2004_0000", "address = 0x2004_0004"));
    assert!(reasons[0].contains("multiple of 16"), "{reasons:?}");
    let reasons = invalid_reasons(&changed("bytes = 0x003c_0000", "bytes = 0"));
    assert!(reasons[0].contains("0 bytes"), "{reasons:?}");
    let reasons = invalid_reasons(&changed("name = \"ssram23-low\"", "name = \"ssram1-low\""));
    assert!(reasons[0].contains("two memories"), "{reasons:?}");
}

#[test]
fn costs_add_up() {
    let reasons = invalid_reasons(&changed("softmax_q8 = 25477", "softmax_q8 = 4_000_000_000")).join("\n");
    assert!(
        reasons.contains("`cost.softmax_q8` is 4000000000; at most 268435456"),
        "{reasons}"
    );
}

#[test]
fn costs_and_emulator_may_be_left_out() {
    let text = Target::builtin_text("mps2-an386").unwrap();
    let toml = &text[..text.find("[cost]").unwrap()];
    let target = Target::parse(toml).unwrap();
    assert_eq!(target.emulator, None);
    assert!(target.cost.conv_mac_q8 > 0);
}
