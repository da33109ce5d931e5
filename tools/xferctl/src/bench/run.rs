//! `bench run`: from the command line to a request, and from what is measured to what is shown.

use super::report::Reporter;
use crate::args::{BenchRunArgs, DigestArg, GlobalArgs};
use crate::copy::moving;
use crate::{complain, output, signals};
use xfer_client::bench::Mode;
use xfer_client::location::Remote;
use xfer_client::{
    BenchOptions, BenchRequest, BenchSummary, Book, Class, CopyOptions, Error, Location, bench,
};

/// Measures, and tells how it went.
pub(crate) fn run(args: &BenchRunArgs, global: &GlobalArgs) -> Result<u8, Error> {
    let mut reporter = Reporter::new(args, global);
    let summary = match measured(args, &mut reporter) {
        Ok(summary) => summary,
        Err(error) if error.class == Class::Usage => return Err(error),
        Err(error) => BenchSummary { error: Some(error), ..BenchSummary::default() },
    };
    reporter.end(&summary)?;
    if let Some(error) = &summary.error {
        complain::complain(error);
    }
    Ok(summary.exit_code())
}

fn measured(args: &BenchRunArgs, reporter: &mut Reporter) -> Result<BenchSummary, Error> {
    let (node, options) = (node(args)?, options(args)?);
    let first = || output::tell("xferctl: ending (once more: end at once)");
    let asked = signals::watch(Class::Interrupted.exit_code(), first, || {})?;
    bench(&BenchRequest { node, options, cancel: asked.cancel }, &mut |event| reporter.take(event))
}

/// The node that is measured.
fn node(args: &BenchRunArgs) -> Result<Remote, Error> {
    match Location::parse(&args.node, &Book::from_environment()?)? {
        Location::Remote(node) if node.path.is_empty() => Ok(node),
        Location::Remote(_) => Err(Error::new(Class::Usage, "a benchmark needs a node and no path on it")),
        _ => Err(Error::new(Class::Usage, "a benchmark needs the link that `bench serve` printed, or NODE:")),
    }
}

fn options(args: &BenchRunArgs) -> Result<BenchOptions, Error> {
    let mode = match (args.latency, args.bidir, args.reverse) {
        (true, _, _) => Mode::Messages,
        (_, true, _) => Mode::Both,
        (_, _, true) => Mode::Receive,
        _ => Mode::Send,
    };
    Ok(BenchOptions {
        mode,
        time: args.seconds,
        source: args.source,
        interval: args.interval,
        how: CopyOptions {
            digests: args.content.digest == DigestArg::Blake3,
            chunk_log2: Some(args.content.chunk),
            ..moving(&args.network, &args.workers)?
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{BenchCommand, Cli, Command};
    use clap::Parser as _;
    use std::time::Duration;
    use xfer_client::CongestionControl;
    use xfer_client::copy::Cipher;

    fn parsed(words: &str) -> Result<BenchOptions, clap::Error> {
        let all = ["xferctl", "bench", "run"].into_iter().chain(words.split_whitespace()).chain(["n:"]);
        let Command::Bench(args) = Cli::try_parse_from(all)?.command else { panic!() };
        let BenchCommand::Run(args) = args.command else { panic!() };
        Ok(options(&args).unwrap())
    }

    #[test]
    fn options_reach_the_request() {
        let options = parsed(
            "--seconds 0.5 --reverse --source 256M --interval 250ms --no-encrypt --digest blake3 --cc fixed \
             --rate 1Gbit --chunk 64KiB --path 10.0.0.1 --cores 0-1 --workers 2 --connect-timeout 1m",
        );
        let options = options.unwrap();
        assert_eq!((options.mode, options.source), (Mode::Receive, 256 << 20));
        assert_eq!(
            (options.time, options.interval),
            (Duration::from_millis(500), Duration::from_millis(250))
        );
        let how = options.how;
        assert_eq!((how.congestion, how.rate), (CongestionControl::Fixed, Some(1_000_000_000)));
        assert_eq!((how.cipher, how.digests, how.chunk_log2), (Cipher::None, true, Some(16)));
        assert_eq!((how.paths.len(), how.cores, how.workers), (1, vec![0, 1], Some(2)));
        assert_eq!(how.connect_timeout, Duration::from_secs(60));
    }

    #[test]
    fn without_options_it_sends_unverified_for_ten_seconds() {
        let options = parsed("").unwrap();
        assert_eq!(
            (options.mode, options.time, options.source),
            (Mode::Send, Duration::from_secs(10), 256 << 10)
        );
        assert_eq!((options.how.digests, options.how.cipher), (false, Cipher::Auto));
        assert_eq!(options.how.chunk_log2.map(|log2| 1 << log2), Some(options.source), "chunks are lent");
    }

    #[test]
    fn one_direction_of_content_at_a_time() {
        assert_eq!(parsed("--bidir").unwrap().mode, Mode::Both);
        assert_eq!(parsed("--latency").unwrap().mode, Mode::Messages);
        for wrong in ["--bidir --reverse", "--latency --reverse", "--latency --bidir", "--seconds 0"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}
