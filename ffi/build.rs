//! Names the shared library: programs that were linked with it ask for `libxfer.so.1`.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libxfer.so.1");
}
