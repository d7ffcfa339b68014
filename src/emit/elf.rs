//! ELF: the blob as a read-only segment at the target's flash address, for debuggers, flash tools and linkers.

use object::elf;
use object::endian::Endianness;
use object::write::elf::{FileHeader, ProgramHeader, SectionHeader, Sym, Writer};
use tinsmith_runtime::format::CONSTANT_ALIGN;

use super::{EmitError, fitting};
use crate::target::Target;

/// The section that holds the blob.
const SECTION: &[u8] = b".tinsmith.model";

/// An instruction set as ELF names it.
struct Machine {
    /// How triples of it begin.
    prefix: &'static str,
    machine: elf::Machine,
    is_64: bool,
    flags: elf::FileFlags,
}

/// Every machine that files are written for.
const MACHINES: &[Machine] = &[
    Machine {
        prefix: "thumb",
        machine: elf::EM_ARM,
        is_64: false,
        flags: elf::EF_ARM_EABI_VER5,
    },
    Machine {
        prefix: "arm",
        machine: elf::EM_ARM,
        is_64: false,
        flags: elf::EF_ARM_EABI_VER5,
    },
    Machine {
        prefix: "riscv32",
        machine: elf::EM_RISCV,
        is_64: false,
        flags: elf::FileFlags(0),
    },
    Machine {
        prefix: "riscv64",
        machine: elf::EM_RISCV,
        is_64: true,
        flags: elf::FileFlags(0),
    },
    Machine {
        prefix: "aarch64",
        machine: elf::EM_AARCH64,
        is_64: true,
        flags: elf::FileFlags(0),
    },
    Machine {
        prefix: "x86_64",
        machine: elf::EM_X86_64,
        is_64: true,
        flags: elf::FileFlags(0),
    },
];

/// The blob at the target's flash address as an ELF file. Two symbols, `tinsmith_model_NAME` and
/// `tinsmith_model_NAME_end`, bound it; NAME is the model's, with `_` for whatever C does not allow in names.
///
/// # Errors
/// Where `blob` is none, does not fit the target's flash or the machine's addresses, or the target's machine is
/// unknown.
pub fn elf(target: &Target, blob: &[u8]) -> Result<Vec<u8>, EmitError> {
    let blob = fitting(target, blob)?;
    let flash = target.flash();
    let machine = MACHINES
        .iter()
        .find(|machine| target.triple.starts_with(machine.prefix));
    let machine = machine.ok_or_else(|| EmitError::UnknownMachine {
        triple: target.triple.clone(),
        known: MACHINES
            .iter()
            .map(|machine| machine.prefix)
            .collect::<Vec<_>>()
            .join(", "),
    })?;
    let end = flash.address + blob.bytes().len() as u64;
    if !machine.is_64 && end > 1 << 32 {
        return Err(EmitError::AddressTooHigh {
            bank: flash.name.clone(),
            end,
            format: "32-bit ELF",
        });
    }
    let name = format!("tinsmith_model_{}", c_name(blob.model()));
    write(machine, blob.bytes(), flash.address, &name).map_err(|error| EmitError::Object(error.to_string()))
}

/// A name with `_` for every character that C does not allow in one.
fn c_name(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect()
}

fn write(machine: &Machine, blob: &[u8], address: u64, name: &str) -> Result<Vec<u8>, object::write::Error> {
    let (size, align) = (blob.len() as u64, u64::from(CONSTANT_ALIGN));
    let end_name = format!("{name}_end");
    let mut bytes = Vec::new();
    let mut writer = Writer::new(Endianness::Little, machine.is_64, &mut bytes);
    writer.reserve_file_header();
    writer.reserve_program_headers(1);
    let offset = writer.reserve(size, align);
    let section_name = writer.add_section_name(SECTION);
    let section = writer.reserve_section_index();
    let names = [
        writer.add_string(name.as_bytes()),
        writer.add_string(end_name.as_bytes()),
    ];
    writer.reserve_symbol_index(Some(section));
    writer.reserve_symbol_index(Some(section));
    writer.reserve_symtab_section_index();
    writer.reserve_symtab();
    writer.reserve_strtab_section_index();
    writer.reserve_strtab()?;
    writer.reserve_shstrtab_section_index();
    writer.reserve_shstrtab()?;
    writer.reserve_section_headers();

    writer.write_file_header(&FileHeader {
        e_type: elf::ET_EXEC,
        e_machine: machine.machine,
        e_flags: machine.flags,
        ..FileHeader::default()
    })?;
    writer.write_align_program_headers();
    writer.write_program_header(&ProgramHeader {
        p_type: elf::PT_LOAD,
        p_flags: elf::PF_R,
        p_offset: offset,
        p_vaddr: address,
        p_paddr: address,
        p_filesz: size,
        p_memsz: size,
        p_align: align,
    });
    writer.pad_until(offset);
    writer.write(blob);
    writer.write_null_symbol();
    for (name, value, size) in [(names[0], address, size), (names[1], address + size, 0)] {
        writer.write_symbol(&Sym {
            section: Some(section.0),
            st_name: writer.string_offset(Some(name)),
            st_info: elf::STB_GLOBAL | elf::STT_OBJECT,
            st_other: elf::SymbolOther(0),
            st_shndx: elf::SHN_UNDEF,
            st_value: value,
            st_size: size,
        });
    }
    writer.write_strtab();
    writer.write_shstrtab();
    writer.write_null_section_header();
    writer.write_section_header(&SectionHeader {
        sh_name: writer.section_name_offset(Some(section_name)),
        sh_type: elf::SHT_PROGBITS,
        sh_flags: elf::SHF_ALLOC,
        sh_addr: address,
        sh_offset: offset,
        sh_size: size,
        sh_link: 0,
        sh_info: 0,
        sh_addralign: align,
        sh_entsize: 0,
    });
    // One local symbol: the null one.
    writer.write_symtab_section_header(1);
    writer.write_strtab_section_header();
    writer.write_shstrtab_section_header();
    drop(writer);
    Ok(bytes)
}
