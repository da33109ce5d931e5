//! `cat`: content of a node's files, or a range of each, on standard output.
//!
//! The first piece tells how long the file is; behind it some are asked for ahead, so that a long way does not slow it down.

use crate::args::CatArgs;
use crate::complain;
use crate::limits::{CAT_PIECE_LEN, CAT_PIECES_AHEAD};
use crate::look;
use crate::output::{self, Stdout};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use xfer_client::limits::CONNECT_TIMEOUT;
use xfer_client::{Access, Book, Class, Error, FileRange, RangeQueue, ReadRange, Remote};

/// Writes one file after the other; the first failure decides, but all are tried.
pub(crate) fn run(args: &CatArgs) -> Result<u8, Error> {
    let book = Book::from_environment()?;
    let remotes =
        args.locations.iter().map(|text| look::remote(text, &book)).collect::<Result<Vec<_>, _>>()?;
    let (mut stdout, mut succeeded, mut failed) = (Stdout::new(), false, None);
    for remote in &remotes {
        match Cat::new(args, remote).and_then(|cat| cat.write(&mut stdout)) {
            Ok(()) => succeeded = true,
            Err(error) if output::is_closed_pipe(&error) => return Err(error),
            Err(error) => {
                complain::complain(&error);
                failed.get_or_insert(error.class);
            }
        }
    }
    stdout.flush()?;
    Ok(match failed {
        None => 0,
        Some(_) if succeeded => Class::Partial.exit_code(),
        Some(class) => class.exit_code(),
    })
}

/// One file.
struct Cat<'a> {
    remote: &'a Remote,
    queue: RangeQueue,
    /// Where the next piece begins.
    at: u64,
    /// Bytes that were not asked for yet.
    left: u64,
    /// Pieces on their way, in order.
    asked: VecDeque<Receiver<Result<ReadRange, Error>>>,
    /// Size and modification time, once they are known.
    state: Option<(u64, i64)>,
}

impl<'a> Cat<'a> {
    fn new(args: &CatArgs, remote: &'a Remote) -> Result<Self, Error> {
        let queue = RangeQueue::new(Arc::new(Access::new(remote.link.clone(), CONNECT_TIMEOUT)))?;
        let (at, left) = (args.offset, args.length.unwrap_or(u64::MAX));
        Ok(Cat { remote, queue, at, left, asked: VecDeque::new(), state: None })
    }

    fn write(mut self, stdout: &mut Stdout) -> Result<(), Error> {
        self.ask();
        while let Some(arrives) = self.asked.pop_front() {
            let lost = || Err(Error::new(Class::Temporary, "a range was not answered"));
            let read = arrives.recv().unwrap_or_else(|_| lost())?;
            let state = (read.file_size, read.mtime_ns);
            if *self.state.get_or_insert(state) != state {
                return Err(Error::new(Class::Digest, "the file changed while it was read:")
                    .node(self.remote.described())
                    .object(&self.remote.path[..]));
            }
            stdout.write(&read.content)?;
            while self.asked.len() < CAT_PIECES_AHEAD && self.is_more() {
                self.ask();
            }
        }
        Ok(())
    }

    fn is_more(&self) -> bool {
        self.left > 0 && self.state.is_some_and(|(size, _)| self.at < size)
    }

    fn ask(&mut self) {
        let (tell, arrives) = sync_channel(1);
        let len = self.left.min(CAT_PIECE_LEN);
        let range = FileRange { path: self.remote.path.clone(), offset: self.at, len };
        // Whoever waits no longer is told nothing; what is not taken is told by a channel without its other end.
        self.queue.submit(range, Box::new(move |read| tell.send(read).unwrap_or_default()));
        self.asked.push_back(arrives);
        self.at = self.at.saturating_add(len);
        self.left -= len;
    }
}
