//! An error as one end tells it to the other (PROTOCOL.md#errors).

use super::cursor::Put;
use super::{Malformed, Reader};
use crate::limits;
use alloc::string::String;
use alloc::vec::Vec;

/// What failed, on which end, at which object and offset, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorBody {
    /// Exit code of the error's class (PRODUCT.md).
    pub class: u8,
    /// 1: the sender of content failed; 2: the receiver.
    pub side: u8,
    /// The operating system's error number; 0 when there is none.
    pub errno: u16,
    /// Byte offset in the object; `None` when it has none.
    pub offset: Option<u64>,
    /// Name of the object as in the manifest; may be empty.
    pub name: Vec<u8>,
    /// What failed; each further line is the cause of the one before.
    pub text: String,
}

impl ErrorBody {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(self.class);
        out.put_u8(self.side);
        out.put_u16(self.errno);
        out.put_u64(self.offset.unwrap_or(u64::MAX));
        out.put_counted(self.name.get(..limits::NAME_LEN_MAX).unwrap_or(&self.name));
        let end = self.text.floor_char_boundary(limits::ERROR_TEXT_LEN_MAX);
        out.put_counted(self.text.get(..end).unwrap_or_default().as_bytes());
    }

    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let class = r.u8("error class")?;
        let side = r.u8("error side")?;
        if !(1..=2).contains(&side) {
            return Err(Malformed::new("error side"));
        }
        let errno = r.u16("error errno")?;
        let offset = r.u64("error offset")?;
        let name = r.counted(limits::NAME_LEN_MAX, "error name")?.to_vec();
        let text = r.counted(limits::ERROR_TEXT_LEN_MAX, "error text")?;
        let text = core::str::from_utf8(text).map_err(|_| Malformed::new("error text"))?.into();
        Ok(ErrorBody { class, side, errno, offset: (offset != u64::MAX).then_some(offset), name, text })
    }
}
