//! A connection end of the product against a peer that has the keys and follows a script. In: operations, read from an input one after
//! another. Out: nothing, or a panic that names the promise that is broken.
//!
//! Time is a number that operations move on, the cipher the simulation's stand-in. The end's applications are `receiver` and `sender`;
//! what they may never see is asserted there. Here is what holds for every end: what leaves opens and decodes, acknowledges only
//! what came, stays within the bounds of an unproven address, and comes to rest.

mod end;
mod memory;
mod peer;
mod receiver;
mod script;
mod sender;
#[path = "../../../../engine/proto/tests/support/stand_in.rs"]
mod stand_in;

use crate::ENDED_EARLY;
use arbitrary::Unstructured;

/// Which way content goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// The end receives.
    Receiver,
    /// The end sends.
    Sender,
}

/// The receiving end.
pub(crate) fn receive(input: &[u8]) {
    script::play(Role::Receiver, &mut Unstructured::new(input)).map(drop).unwrap_or(ENDED_EARLY);
}

/// The sending end.
pub(crate) fn send(input: &[u8]) {
    script::play(Role::Sender, &mut Unstructured::new(input)).map(drop).unwrap_or(ENDED_EARLY);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(role: Role, input: &[u8]) -> end::End {
        script::play(role, &mut Unstructured::new(input)).expect("a whole script")
    }

    #[test]
    fn honest_scripts_move_content_both_ways() {
        let received = end(Role::Receiver, include_bytes!("../../inputs/receiver/whole-0"));
        assert_eq!((received.receiver.accepted(), received.receiver.space.chunks()), (3, 3));
        let sent = end(Role::Sender, include_bytes!("../../inputs/sender/whole-0"));
        assert!(sent.sender.accepted >= 8, "{} chunks", sent.sender.accepted);
    }
}
