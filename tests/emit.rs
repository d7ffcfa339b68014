//! Artifacts: what is written is what is read back, by the runtime and by other people's readers.

pub(crate) mod onnx;

use goblin::elf::Elf;
use goblin::elf::program_header::PT_LOAD;
use tinsmith::emit::{self, EmitError, Options};
use tinsmith::ir::Program;
use tinsmith::target::Target;
use tinsmith_runtime::format::{CONSTANT_ALIGN, field};
use tinsmith_runtime::{Blob, BlobError};

use crate::schedule::graphs::Build;

fn board() -> Target {
    Target::builtin("mps2-an386").unwrap()
}

fn program() -> Program {
    let mut build = Build::new();
    let x = build.input(40);
    let a = build.dense(x, 64);
    let b = build.table(a);
    let c = build.delay(b);
    let d = build.add(a, c);
    build.output(d);
    build.schedule()
}

fn blob(options: &Options) -> Vec<u8> {
    emit::blob(&board(), &program(), options).unwrap()
}

/// The address and the bytes of every data record of an Intel HEX file, after its checksums were found right.
fn read_hex(text: &str) -> Vec<(u32, Vec<u8>)> {
    let mut upper = 0;
    let mut data = Vec::new();
    for line in text.lines() {
        let digits = line.strip_prefix(':').unwrap();
        let pairs = (0..digits.len()).step_by(2);
        let bytes: Vec<u8> = pairs
            .map(|i| u8::from_str_radix(&digits[i..i + 2], 16).unwrap())
            .collect();
        assert_eq!(
            bytes.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte)),
            0,
            "{line}"
        );
        assert_eq!(usize::from(bytes[0]) + 5, bytes.len());
        let address = u32::from(u16::from_be_bytes([bytes[1], bytes[2]]));
        let body = &bytes[4..bytes.len() - 1];
        match bytes[3] {
            0 => data.push((upper + address, body.to_vec())),
            1 => assert_eq!(text.lines().last(), Some(line)),
            4 => upper = u32::from(u16::from_be_bytes([body[0], body[1]])) << 16,
            other => panic!("record type {other}"),
        }
    }
    data
}

#[test]
fn the_runtime_reads_back_what_was_written() {
    let program = program();
    let options = Options {
        model_version: "7".into(),
        producer: "trainer".into(),
        labels: vec!["yes".into(), "no".into()],
        preprocessing: vec![("mean".into(), "0.5".into())],
        ..Options::default()
    };
    let bytes = blob(&options);
    let blob = Blob::check(&bytes).unwrap();
    blob.verify().unwrap();
    assert_eq!(blob.arena_bytes(), program.plan.arena_bytes);
    assert_eq!(blob.state().bytes, program.plan.state_bytes);
    assert_eq!(blob.constants(), program.constants);
    assert!(blob.steps().eq(program.steps.iter().map(|step| step.layer)));
    for (i, step) in program.steps.iter().enumerate() {
        assert_eq!(blob.step_name(i), Some(step.name.as_str()));
    }
    let head = [blob.model(), blob.model_version(), blob.producer(), blob.target()];
    assert_eq!(head, ["test", "7", "trainer", "mps2-an386"]);
    assert!(blob.labels().eq(["yes", "no"]));
    assert!(blob.preprocessing().eq([("mean", "0.5")]));
    let input = blob.inputs().next().unwrap();
    assert_eq!(
        (input.name, input.shape.as_slice(), input.bytes),
        ("x0", [40].as_slice(), 40)
    );
    assert_eq!((input.scale, input.zero_point), (0.5, 0));
    let access = program.inputs[0].access;
    assert_eq!(
        input.offset,
        program.buffers[access.buffer].offset + access.offset
    );
    assert_eq!(blob.outputs().count(), 1);
}

#[test]
fn the_same_program_gives_the_same_bytes() {
    assert_eq!(blob(&Options::default()), blob(&Options::default()));
}

#[test]
fn names_can_be_stripped() {
    let options = Options {
        strip: true,
        ..Options::default()
    };
    let (with, without) = (blob(&Options::default()), blob(&options));
    assert!(without.len() < with.len());
    let stripped = Blob::check(&without).unwrap();
    assert_eq!(stripped.step_name(0), None);
    assert_eq!(stripped.steps().count(), program().steps.len());
}

#[test]
fn constants_are_aligned_for_the_widest_load() {
    let bytes = blob(&Options::default());
    let at = |field: usize| u32::from_le_bytes(bytes[field..field + 4].try_into().unwrap());
    assert!(at(field::CONSTANTS_OFFSET).is_multiple_of(CONSTANT_ALIGN));
    for target in Target::names().filter_map(Target::builtin) {
        assert!(
            target.flash().address.is_multiple_of(CONSTANT_ALIGN.into()),
            "{}",
            target.name
        );
    }
}

#[test]
fn a_raw_image_is_the_blob() {
    let bytes = blob(&Options::default());
    assert_eq!(emit::bin(&board(), &bytes).unwrap(), bytes);
}

#[test]
fn intel_hex_holds_the_blob_at_the_flash_address() {
    let bytes = blob(&Options::default());
    for name in ["mps2-an386", "mps2-an505", "mps3-an547", "riscv32-virt"] {
        let target = Target::builtin(name).unwrap();
        let text = String::from_utf8(emit::hex(&target, &bytes).unwrap()).unwrap();
        let mut next = u32::try_from(target.flash().address).unwrap();
        let mut read = Vec::new();
        for (address, line) in read_hex(&text) {
            assert_eq!(address, next, "{name}");
            next += line.len() as u32;
            read.extend(line);
        }
        assert_eq!(read, bytes, "{name}");
    }
}

#[test]
fn elf_holds_the_blob_in_a_segment_with_symbols() {
    let bytes = blob(&Options::default());
    for target in Target::names().filter_map(Target::builtin) {
        let file = emit::elf(&target, &bytes).unwrap();
        let elf = Elf::parse(&file).unwrap();
        assert!(elf.little_endian);
        assert_eq!(
            elf.is_64,
            target.triple.starts_with("x86_64") || target.triple.starts_with("aarch64")
        );
        let [segment] = elf.program_headers.as_slice() else {
            panic!("one segment")
        };
        assert_eq!(
            (segment.p_type, segment.p_paddr),
            (PT_LOAD, target.flash().address)
        );
        assert_eq!(segment.p_vaddr, segment.p_paddr);
        assert_eq!(&file[segment.file_range()], bytes, "{}", target.name);
        let section = elf
            .section_headers
            .iter()
            .find(|section| elf.shdr_strtab.get_at(section.sh_name) == Some(".tinsmith.model"));
        assert_eq!(
            section.map(|section| (section.sh_addr, section.sh_size)),
            Some((segment.p_paddr, bytes.len() as u64))
        );
        let symbol = |name: &str| {
            let symbol = elf
                .syms
                .iter()
                .find(|symbol| elf.strtab.get_at(symbol.st_name) == Some(name));
            symbol.map(|symbol| (symbol.st_value, symbol.st_size)).unwrap()
        };
        let size = bytes.len() as u64;
        assert_eq!(symbol("tinsmith_model_test"), (segment.p_paddr, size));
        assert_eq!(symbol("tinsmith_model_test_end"), (segment.p_paddr + size, 0));
    }
}

#[test]
fn the_manifest_names_the_blob_by_its_hash() {
    let bytes = blob(&Options::default());
    let manifest: serde_json::Value =
        serde_json::from_str(&emit::manifest(&board(), &bytes, b"").unwrap()).unwrap();
    let digest: String = bytes[bytes.len() - 32..]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(manifest["sha256"], digest);
    assert_eq!(manifest["blob_bytes"], bytes.len());
    // SHA-256 of nothing.
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(manifest["provenance"]["model_sha256"], empty);
}

#[test]
fn what_is_no_blob_is_not_packed() {
    let mut changed = blob(&Options::default());
    changed[field::ARENA_BYTES] ^= 1;
    let error = emit::hex(&board(), &changed).unwrap_err();
    assert_eq!(error, EmitError::Blob(BlobError::Checksum));
    assert_eq!(
        emit::bin(&board(), b"elephant").unwrap_err(),
        EmitError::Blob(BlobError::NotABlob)
    );
}

#[test]
fn a_blob_too_large_for_flash_names_its_layers() {
    let mut target = board();
    let flash = target.memory.iter_mut().find(|bank| bank.name == "ssram1-high");
    flash.unwrap().bytes = 3400;
    match emit::blob(&target, &program(), &Options::default()).unwrap_err() {
        EmitError::FlashTooSmall(small) => {
            assert!(small.needed_bytes > 3400, "{small}");
            assert_eq!(small.largest[0].0, "n0");
            assert!(small.would_fit.contains(&"mps2-an386"));
        }
        other => panic!("{other}"),
    }
    let bytes = blob(&Options::default());
    assert!(matches!(
        emit::bin(&target, &bytes),
        Err(EmitError::ImageTooLarge { .. })
    ));
}

#[test]
fn texts_and_counts_beyond_their_fields_are_refused() {
    let mut program = program();
    program.steps[0].name = "n".repeat(70_000);
    let error = emit::blob(&board(), &program, &Options::default()).unwrap_err();
    assert!(
        matches!(
            error,
            EmitError::TextTooLong {
                what: "node name",
                bytes: 70_000,
                ..
            }
        ),
        "{error}"
    );
    let labels = vec![String::new(); 70_000];
    let error = emit::blob(
        &board(),
        &program,
        &Options {
            labels,
            ..Options::default()
        },
    )
    .unwrap_err();
    assert!(
        matches!(error, EmitError::TooMany { what: "labels", .. }),
        "{error}"
    );
}

#[test]
fn an_unknown_machine_is_refused_with_the_known_ones() {
    let mut target = board();
    target.triple = "mips-unknown-none".into();
    let error = emit::elf(&target, &blob(&Options::default()))
        .unwrap_err()
        .to_string();
    assert!(error.contains("mips") && error.contains("riscv32"), "{error}");
}
