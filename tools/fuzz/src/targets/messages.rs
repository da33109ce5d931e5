//! The control stream: messages one after another, pages of the manifest among them.

use xfer_proto::limits;
use xfer_proto::wire::{Decision, Entry, Message, Page, check_name};

/// Messages come back from their own bytes, decode alike into lists that are used again, and hold no more than their bytes can.
pub(crate) fn run(input: &[u8]) {
    let mut rest = input;
    let mut spare = Vec::new();
    while let Ok(Some((number, len))) = Message::head(rest) {
        let body = &rest[Message::HEAD_LEN..Message::HEAD_LEN + len];
        rest = &rest[Message::HEAD_LEN + len..];
        let decoded = Message::decode(number, body);
        assert_eq!(Message::decode_into(number, body, &mut spare), decoded);
        let Ok(message) = decoded else { return };
        check_size(&message, len);
        check_return(&message);
        if let Message::Chunk(chunk) = message {
            spare.push({
                let mut list = chunk.digests;
                list.clear();
                list
            });
        }
    }
}

/// What decodes can be encoded, and means the same. The bytes may differ: unknown attributes and bits are left out.
fn check_return(message: &Message) {
    let mut stream = Vec::new();
    message.encode(&mut stream);
    let Ok(Some((number, len))) = Message::head(&stream) else { panic!("{message:?} is no message") };
    assert_eq!(stream.len(), Message::HEAD_LEN + len);
    assert_eq!(Message::decode(number, &stream[Message::HEAD_LEN..]).as_ref(), Ok(message));
}

/// What a decoder keeps is bounded by the input's length, whatever numbers the input holds.
fn check_size(message: &Message, body_len: usize) {
    match message {
        Message::Page(page) => check_page(page, body_len),
        Message::Decision(decisions) => {
            let runs = |d: &Decision| if let Decision::Resume(runs) = d { runs.capacity() } else { 0 };
            assert!(decisions.decisions.len() <= body_len);
            assert!(decisions.decisions.iter().map(runs).sum::<usize>() <= body_len.max(4));
        }
        Message::Chunk(chunk) => assert!(chunk.digests.len() * 32 <= body_len),
        Message::Done(done) => assert!(done.objects.len() * 5 <= body_len),
        _ => {}
    }
}

fn check_page(page: &Page, body_len: usize) {
    assert!(page.entries.len() <= limits::PAGE_ENTRIES_MAX && page.entries.len() <= body_len / 32);
    for entry in &page.entries {
        let name = &entry.name[..];
        assert!(name == b"." || check_name(name).is_ok(), "{}", name.escape_ascii());
        assert!(!name.split(|b| *b == b'/').any(|c| c == b".." || c.len() > limits::COMPONENT_LEN_MAX));
        assert!(!name.starts_with(b"/") && !name.contains(&0) && name.len() <= limits::NAME_LEN_MAX);
    }
    let rest = |e: &Entry| e.target.len() + e.inline.as_ref().map_or(0, |i| i.content.len());
    assert!(page.entries.iter().map(rest).sum::<usize>() <= body_len);
}
