//! Noise_NNpsk0 by the snow crate, with its one random value as an argument.

use crate::crypto::{Secrets, Suite, Ticket, wipe};
use alloc::boxed::Box;
use alloc::vec::Vec;
use snow::params::{CipherChoice, DHChoice, HashChoice, NoiseParams};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash, Random};
use snow::{Builder, HandshakeState};

/// Bytes of a Noise message around its payload: ephemeral key and tag.
pub(super) const OVERHEAD: usize = 32 + 16;

/// The seed is the private ephemeral key: a handshake draws once, 32 bytes.
struct Seed(Option<[u8; 32]>);

impl Random for Seed {
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), snow::Error> {
        let mut seed = self.0.take().ok_or(snow::Error::Rng)?;
        if out.len() != seed.len() {
            return Err(snow::Error::Rng);
        }
        out.copy_from_slice(&seed);
        wipe(&mut seed);
        Ok(())
    }
}

struct Resolver {
    seed: [u8; 32],
}

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(Seed(Some(self.seed))))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        DefaultResolver.resolve_dh(choice)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        DefaultResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        DefaultResolver.resolve_cipher(choice)
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        wipe(&mut self.seed);
    }
}

/// One end's half of a handshake.
pub(super) struct Noise {
    state: Box<HandshakeState>,
}

impl Noise {
    pub(super) fn opener(ticket: &Ticket, version: u8, seed: [u8; 32]) -> Self {
        Self::start(ticket, version, seed, true)
    }

    pub(super) fn acceptor(ticket: &Ticket, version: u8, seed: [u8; 32]) -> Self {
        Self::start(ticket, version, seed, false)
    }

    #[expect(clippy::expect_used, reason = "names and order of calls are constants")]
    fn start(ticket: &Ticket, version: u8, seed: [u8; 32], opens: bool) -> Self {
        let name = match ticket.suite() {
            Suite::Aes128Gcm | Suite::Plain => "Noise_NNpsk0_25519_AESGCM_SHA256",
            Suite::ChaCha20Poly1305 => "Noise_NNpsk0_25519_ChaChaPoly_SHA256",
        };
        let params: NoiseParams = name.parse().expect("a name of the Noise specification");
        let prologue = prologue(ticket, version);
        let builder = Builder::with_resolver(params, Box::new(Resolver { seed }))
            .psk(0, ticket.secret())
            .and_then(|builder| builder.prologue(&prologue))
            .expect("each is set once");
        let state = if opens { builder.build_initiator() } else { builder.build_responder() };
        Noise { state: Box::new(state.expect("NNpsk0 needs a psk alone, and its primitives are built in")) }
    }

    /// The secrets that the answer to `message` with ephemeral key `seed` yields, whatever its payload: Split() depends on what was mixed
    /// into the chaining key, and payloads never are (Noise revision 34, sections 5.2 and 7.3). The trial answer does not leave this function.
    pub(super) fn secrets_of_answer(
        ticket: &Ticket,
        version: u8,
        seed: [u8; 32],
        message: &[u8],
    ) -> Option<Secrets> {
        let mut trial = Self::acceptor(ticket, version, seed);
        trial.read(message)?;
        trial.write(&[]);
        Some(trial.secrets())
    }

    /// This end's message around `payload`.
    #[expect(clippy::expect_used, reason = "a message has room for what this end says in its turn")]
    pub(super) fn write(&mut self, payload: &[u8]) -> Vec<u8> {
        let mut message = alloc::vec![0; payload.len() + OVERHEAD];
        let len =
            self.state.write_message(payload, &mut message).expect("it is this end's turn, and it fits");
        assert_eq!(len, message.len());
        message
    }

    /// The payload of the other end's message; `None` when it does not open, after which another one may.
    pub(super) fn read(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        let mut payload = alloc::vec![0; message.len().checked_sub(OVERHEAD)?];
        let len = self.state.read_message(message, &mut payload).ok()?;
        payload.truncate(len);
        Some(payload)
    }

    /// Split() after the second message: (k1, k2) are the opener's and the acceptor's secret.
    pub(super) fn secrets(mut self) -> Secrets {
        assert!(self.state.is_handshake_finished());
        let (open, accept) = self.state.dangerously_get_raw_split();
        Secrets { open, accept }
    }
}

/// What both ends must agree on without saying it (PROTOCOL.md#handshake).
fn prologue(ticket: &Ticket, version: u8) -> [u8; 23] {
    let mut prologue = [0; 23];
    prologue[..4].copy_from_slice(b"xfer");
    prologue[4] = version;
    prologue[5..21].copy_from_slice(&ticket.id().0);
    prologue[21] = ticket.suite().number();
    prologue[22] = ticket.direction().number();
    prologue
}
