//! What the application passes in, checked and copied into values: structs that begin with their size, texts, arrays.

use crate::status::{Failure, Outcome, XFER_ERR_UNSUPPORTED};
use crate::structs::{
    ClientOptions, ConnectionOptions, ConnectionStatistics, EngineOptions, EngineStatistics, MemoryOptions,
    Operation, PathReport,
};
use std::ffi::{CStr, c_char};
use std::mem::MaybeUninit;
use std::slice;
use std::time::Duration;

/// Bytes of a struct that this library cannot know are looked at up to here.
const STRUCT_BYTES_MAX: usize = 4_096;
/// Texts of options and names end before this.
const TEXT_BYTES_MAX: usize = 4_096;

/// A struct of integers and pointers.
///
/// # Safety
/// It has no padding, and any bytes are a value of it.
pub(crate) unsafe trait Plain: Copy {
    /// Bytes that it had when it was first published.
    const FIRST: usize;
}

/// One that begins with its size.
///
/// # Safety
/// `u32` is its first field.
pub(crate) unsafe trait Sized32: Plain {}

macro_rules! plain {
    ($($name:ident: $first:literal),*) => { $(
        // SAFETY: integers and pointers, whose sizes add up to that of the struct.
        unsafe impl Plain for $name {
            const FIRST: usize = $first;
        }
        const _: () = assert!(size_of::<$name>() >= $first);
    )* };
}

macro_rules! sized {
    ($($name:ident),*) => { $(
        // SAFETY: its first field is `size: u32`.
        unsafe impl Sized32 for $name {}
        const _: () = assert!(std::mem::offset_of!($name, size) == 0);
    )* };
}

plain!(
    EngineOptions: 48, ConnectionOptions: 72, MemoryOptions: 24, Operation: 96, ClientOptions: 24, EngineStatistics: 64,
    ConnectionStatistics: 64, PathReport: 184
);
sized!(
    EngineOptions,
    ConnectionOptions,
    MemoryOptions,
    Operation,
    ClientOptions,
    EngineStatistics,
    ConnectionStatistics
);

/// The size that a struct of the application says it has.
fn size_of_given<T: Sized32>(from: *const T) -> Outcome<usize> {
    if from.is_null() {
        return Err(Failure::argument("a null pointer where a struct is needed"));
    }
    if !from.is_aligned() {
        return Err(Failure::argument("a struct that is not aligned"));
    }
    // SAFETY: not null, aligned, and by the header's contract a struct that begins with its size.
    let size = unsafe { from.cast::<u32>().read() } as usize;
    if !(T::FIRST..=STRUCT_BYTES_MAX).contains(&size) {
        return Err(Failure::argument(format!("a struct of {size} bytes; set its size")));
    }
    Ok(size)
}

/// Copies a struct of the application. What an older one lacks is 0; what a newer one has more must be 0.
pub(crate) fn take<T: Sized32>(from: *const T) -> Outcome<T> {
    let given = size_of_given(from)?;
    // SAFETY: the struct has as many readable bytes as it says, by the header's contract.
    let bytes = unsafe { slice::from_raw_parts(from.cast::<u8>(), given) };
    let (known, more) = bytes.split_at(given.min(size_of::<T>()));
    if more.iter().any(|byte| *byte != 0) {
        return Err(Failure::new(XFER_ERR_UNSUPPORTED, "a field that this library does not know is set"));
    }
    let mut value = MaybeUninit::<T>::zeroed();
    // SAFETY: `known` is no longer than the value, which nobody else has.
    unsafe { value.as_mut_ptr().cast::<u8>().copy_from_nonoverlapping(known.as_ptr(), known.len()) };
    // SAFETY: any bytes are a value of such a struct.
    Ok(unsafe { value.assume_init() })
}

/// Fills a struct of the application as far as both sides know it; its size stays.
pub(crate) fn fill<T: Sized32>(to: *mut T, value: &T) -> Outcome<()> {
    let given = size_of_given(to)?;
    let len = given.min(size_of::<T>()) - 4;
    let from = std::ptr::from_ref(value).cast::<u8>().wrapping_add(4);
    let to = to.cast::<u8>().wrapping_add(4);
    // SAFETY: both structs have `len` bytes behind their size: the one as it says, the other as it is. They are different structs.
    unsafe { to.copy_from_nonoverlapping(from, len) };
    Ok(())
}

/// Fills an array of the application, whose elements have `size` bytes, with as many values as fit, as far as both sides know them.
pub(crate) fn put_array<T: Plain>(to: *mut T, size: usize, capacity: usize, values: &[T]) -> Outcome<()> {
    if !(T::FIRST..=STRUCT_BYTES_MAX).contains(&size) {
        return Err(Failure::argument(format!("elements of {size} bytes")));
    }
    let count = values.len().min(capacity);
    let room = array_mut(to.cast::<u8>(), count * size)?;
    for (room, value) in room.chunks_exact_mut(size).zip(values) {
        let from = std::ptr::from_ref(value).cast::<u8>();
        // SAFETY: the bytes of a value that has no padding.
        let bytes = unsafe { slice::from_raw_parts(from, size_of::<T>()) };
        for (to, byte) in room.iter_mut().zip(bytes) {
            to.write(*byte);
        }
    }
    Ok(())
}

/// Looks whether a value can be written: before what it is the result of is done.
pub(crate) fn check_room<T>(to: *const T) -> Outcome<()> {
    if to.is_null() || !to.is_aligned() {
        return Err(Failure::argument("a null pointer, or one that is not aligned, where a result goes"));
    }
    Ok(())
}

/// Writes one value of the application.
pub(crate) fn put<T>(to: *mut T, value: T) -> Outcome<()> {
    check_room(to)?;
    // SAFETY: not null and aligned, and by the header's contract writable.
    unsafe { to.write(value) };
    Ok(())
}

/// An array of the application's values.
pub(crate) fn array<'a, T>(from: *const T, count: usize) -> Outcome<&'a [T]> {
    if count == 0 {
        return Ok(&[]);
    }
    if from.is_null() || !from.is_aligned() {
        return Err(Failure::argument(
            "a null pointer, or one that is not aligned, where an array is needed",
        ));
    }
    // SAFETY: not null and aligned, and by the header's contract `count` values that do not change during the call.
    Ok(unsafe { slice::from_raw_parts(from, count) })
}

/// An array of the application that is filled in.
pub(crate) fn array_mut<'a, T>(to: *mut T, count: usize) -> Outcome<&'a mut [MaybeUninit<T>]> {
    if count == 0 {
        return Ok(&mut []);
    }
    if to.is_null() || !to.is_aligned() {
        return Err(Failure::argument("a null pointer, or one that is not aligned, where results go"));
    }
    // SAFETY: not null and aligned, and by the header's contract room for `count` values that nobody else uses during the call.
    Ok(unsafe { slice::from_raw_parts_mut(to.cast(), count) })
}

/// A text that ends in NUL.
pub(crate) fn text<'a>(from: *const c_char, what: &str) -> Outcome<&'a str> {
    if from.is_null() {
        return Err(Failure::argument(format!("no {what}")));
    }
    // SAFETY: not null, and by the header's contract bytes that end in NUL.
    let text = unsafe { CStr::from_ptr(from) }.to_str();
    text.ok().filter(|text| text.len() < TEXT_BYTES_MAX).ok_or_else(|| {
        Failure::argument(format!("the {what} is no text of less than {TEXT_BYTES_MAX} bytes in UTF-8"))
    })
}

/// A time of options in milliseconds; 0 leaves it to the library.
pub(crate) fn duration(ms: u32, otherwise: Duration) -> Duration {
    match ms {
        0 => otherwise,
        ms => Duration::from_millis(u64::from(ms)),
    }
}

/// Writes a text and its NUL, cut to what fits. Nothing where there is no room for the NUL.
pub(crate) fn put_text(to: *mut c_char, size: usize, text: &str) -> Outcome<()> {
    if size == 0 || to.is_null() {
        return Ok(());
    }
    let room = array_mut(to.cast::<u8>(), size)?;
    let len = text.floor_char_boundary(size - 1);
    for (to, byte) in room.iter_mut().zip(text.as_bytes()[..len].iter().chain(&[0])) {
        to.write(*byte);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: MemoryOptions = MemoryOptions { size: 24, flags: 0, data: std::ptr::null_mut(), len: 7 };

    #[repr(C)]
    struct Newer {
        known: MemoryOptions,
        more: u64,
    }

    #[test]
    fn structs_of_other_sizes_are_taken_where_they_say_nothing_unknown() {
        let given = NONE;
        assert_eq!(take(&raw const given).unwrap().len, 7);
        for (size, more, status) in
            [(24, 9, 0), (32, 0, 0), (32, 9, XFER_ERR_UNSUPPORTED), (23, 0, -1), (0, 0, -1)]
        {
            let newer = Newer { known: MemoryOptions { size, ..NONE }, more };
            let taken = take((&raw const newer).cast::<MemoryOptions>());
            assert_eq!(taken.map_or_else(|failure| failure.status, |_| 0), status, "{size} {more}");
        }
        assert!(take(std::ptr::null::<MemoryOptions>()).is_err());
    }

    #[test]
    fn texts_are_cut_with_their_nul_inside() {
        for (size, expected) in [(1, ""), (2, "a"), (3, "a"), (4, "aé"), (9, "aé")] {
            let mut room = [b'x'; 9];
            put_text(room.as_mut_ptr().cast(), size, "aé").unwrap();
            assert_eq!(CStr::from_bytes_until_nul(&room).unwrap().to_str().unwrap(), expected);
        }
        put_text(std::ptr::null_mut(), 9, "a").unwrap();
    }
}
