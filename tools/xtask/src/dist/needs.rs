//! What programs need of the system. In: binaries. Out: shared libraries with the versions of their symbols that are used, and the Debian
//! packages that have those: by `dpkg-shlibdeps` where it is, else by the table below.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::setup;
use crate::step::{Failure, Outcome, output};

use super::deb;
use super::files::write;

/// The package that has a library, and the symbol version whose number is the package's. glibc's versions are its own; libgcc-s1 counts
/// like its compiler, whose symbols have been there since long before any Debian that is supported.
const PACKAGES: [(&str, &str, &str); 8] = [
    ("libc.so.6", "libc6", "GLIBC"),
    ("libm.so.6", "libc6", "GLIBC"),
    ("libpthread.so.0", "libc6", "GLIBC"),
    ("libdl.so.2", "libc6", "GLIBC"),
    ("librt.so.1", "libc6", "GLIBC"),
    ("ld-linux-x86-64.so.2", "libc6", "GLIBC"),
    ("ld-linux-aarch64.so.1", "libc6", "GLIBC"),
    ("libgcc_s.so.1", "libgcc-s1", "GCC"),
];

/// A library, and the newest version of each kind that is asked of it: `GLIBC` to `2.34`.
pub(super) type Libraries = BTreeMap<String, BTreeMap<String, Vec<u32>>>;

/// What one binary needs.
pub(super) struct Needs {
    name: String,
    libraries: Libraries,
}

/// Debian's packages.
pub(super) struct Depends {
    /// As the field `Depends` has them.
    pub(super) list: String,
    /// Who says so.
    by: &'static str,
    binaries: Vec<PathBuf>,
}

/// What each of the files needs.
///
/// # Errors
/// `readelf` does not run or does not know the file.
pub(super) fn of_files(paths: &[PathBuf]) -> Outcome<Vec<(PathBuf, Needs)>> {
    let read = |path: &PathBuf| {
        let mut command = Command::new("readelf");
        let text =
            output(command.env("LC_ALL", "C").args(["--wide", "--dynamic", "--version-info"]).arg(path))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok((path.clone(), Needs { name, libraries: libraries(&text) }))
    };
    paths.iter().map(read).collect()
}

/// Reads what `readelf --dynamic --version-info` prints.
fn libraries(text: &str) -> Libraries {
    let mut found = Libraries::new();
    let mut needs = false;
    let mut library = None;
    for line in text.lines() {
        if line.contains("section '") {
            needs = line.starts_with("Version needs section");
        } else if let Some((_, rest)) = line.split_once("(NEEDED)") {
            let name = rest.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
            found.extend(name.map(|(name, _)| (name.to_owned(), BTreeMap::new())));
        } else if needs && let Some((_, rest)) = line.split_once(" File: ") {
            library = rest.split_whitespace().next();
        } else if needs && let Some((_, rest)) = line.split_once(" Name: ") {
            let named = rest.split_whitespace().next().and_then(|name| name.split_once('_'));
            if let (Some(library), Some((kind, number))) = (library, named) {
                let number: Vec<u32> = number.split('.').filter_map(|part| part.parse().ok()).collect();
                let newest = found.entry(library.to_owned()).or_default().entry(kind.to_owned()).or_default();
                *newest = number.max(std::mem::take(newest));
            }
        }
    }
    found
}

fn dotted(number: &[u32]) -> String {
    number.iter().map(u32::to_string).collect::<Vec<_>>().join(".")
}

/// The Debian packages that have what the binaries need.
///
/// # Errors
/// A library is in no package that is known.
pub(super) fn packages(work: &Path, needs: &[(PathBuf, Needs)]) -> Outcome<Depends> {
    let binaries: Vec<PathBuf> = needs.iter().map(|(path, _)| path.clone()).collect();
    if setup::find_program("dpkg-shlibdeps").is_some() {
        let home = work.join("shlibdeps");
        let text = format!("Source: {0}\n\nPackage: {0}\nArchitecture: any\nDescription: {0}\n", deb::NAME);
        write(&home.join("debian/control"), &text)?;
        let text = output(Command::new("dpkg-shlibdeps").arg("-O").args(&binaries).current_dir(&home))?;
        let list = text.lines().find_map(|line| line.strip_prefix("shlibs:Depends="));
        let list = list.ok_or_else(|| Failure::new(format!("dpkg-shlibdeps names no packages: {text}")))?;
        return Ok(Depends { list: list.to_owned(), by: "dpkg-shlibdeps", binaries });
    }
    let all = needs.iter().map(|(_, needs)| &needs.libraries);
    Ok(Depends { list: by_table(all)?, by: "readelf", binaries })
}

fn by_table<'a>(all: impl Iterator<Item = &'a Libraries>) -> Outcome<String> {
    let mut packages: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for (library, versions) in all.flatten() {
        let known = PACKAGES.iter().find(|(name, ..)| name == library);
        let (_, package, kind) =
            known.ok_or_else(|| Failure::new(format!("no Debian package is known to have {library}")))?;
        let newest = packages.entry(package).or_default();
        if let Some(number) = versions.get(*kind) {
            *newest = number.clone().max(std::mem::take(newest));
        }
    }
    let field = |(package, number): (&&str, &Vec<u32>)| match number[..] {
        [] => (*package).to_owned(),
        _ => format!("{package} (>= {})", dotted(number)),
    };
    Ok(packages.iter().map(field).collect::<Vec<_>>().join(", "))
}

/// Shows it all.
pub(super) fn print(needs: &[(PathBuf, Needs)], depends: &Depends) {
    println!("shared libraries, with the newest versions of symbols that are used:");
    for (_, needs) in needs {
        let shown = needs.libraries.iter().map(|(library, versions)| {
            let versions = versions.iter().map(|(kind, number)| format!("{kind} {}", dotted(number)));
            format!("{library} ({})", versions.collect::<Vec<_>>().join(", "))
        });
        println!("  {}: {}", needs.name, shown.collect::<Vec<_>>().join(", "));
    }
    println!("Debian packages, by {} of {} files: {}", depends.by, depends.binaries.len(), depends.list);
    println!("Python wheel: Python 3.9 or later, cffi");
}

#[cfg(test)]
mod tests {
    use super::*;

    const READELF: &str = "\
Dynamic section at offset 0x1 contains 30 entries:
  Tag        Type                         Name/Value
 0x0000000000000001 (NEEDED)             Shared library: [libgcc_s.so.1]
 0x0000000000000001 (NEEDED)             Shared library: [libc.so.6]
 0x0000000000000001 (NEEDED)             Shared library: [ld-linux-x86-64.so.2]
 0x000000000000000e (SONAME)             Library soname: [libxfer.so.1]

Version definition section '.gnu.version_d' contains 2 entries:
 Addr: 0x1  Offset: 0x1  Link: 4 (.dynstr)
  0x001c: Rev: 1  Flags: none  Index: 2  Cnt: 1  Name: XFER_1

Version needs section '.gnu.version_r' contains 2 entries:
 Addr: 0x2  Offset: 0x2  Link: 4 (.dynstr)
  000000: Version: 1  File: libgcc_s.so.1  Cnt: 2
  0x0010:   Name: GCC_4.2.0  Flags: none  Version: 9
  0x0020:   Name: GCC_3.3  Flags: none  Version: 5
  0x0030: Version: 1  File: libc.so.6  Cnt: 3
  0x0040:   Name: GLIBC_2.9  Flags: none  Version: 8
  0x0050:   Name: GLIBC_2.34  Flags: none  Version: 7
  0x0060:   Name: GLIBC_2.2.5  Flags: none  Version: 6
";

    #[test]
    fn the_newest_version_of_each_library_is_found() {
        let found = libraries(READELF);
        assert_eq!(found["libc.so.6"]["GLIBC"], [2, 34]);
        assert_eq!(found["libgcc_s.so.1"]["GCC"], [4, 2, 0]);
        assert!(found["ld-linux-x86-64.so.2"].is_empty());
        assert_eq!(found.len(), 3, "its own versions are not needed");
    }

    #[test]
    fn packages_are_named_once_with_the_newest_version() {
        let older = libraries(&READELF.replace("GLIBC_2.34", "GLIBC_2.17"));
        let list = by_table([&older, &libraries(READELF)].into_iter()).unwrap();
        assert_eq!(list, "libc6 (>= 2.34), libgcc-s1 (>= 4.2.0)");
        let strange = libraries(&READELF.replace("libc.so.6", "libstrange.so.1"));
        assert!(by_table([&strange].into_iter()).unwrap_err().to_string().contains("libstrange.so.1"));
    }
}
