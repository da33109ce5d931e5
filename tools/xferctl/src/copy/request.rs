//! What a command line asks of a copy, as a request.

use crate::args::{
    CompareArg, CompressArg, CopyArgs, DigestArg, DurabilityArg, NetworkArgs, PreserveArg, SelectionArgs,
    WorkerArgs,
};
use crate::limits::{FILES_FROM_LEN_MAX, RETRIES_UNATTENDED};
use crate::serve;
use clap::ArgMatches;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;
use std::time::Instant;
use xfer_client::copy::{Cipher, Compare, Filter, Overwrite, Preserve};
use xfer_client::retry::Patience;
use xfer_client::{Book, Class, Compression, CopyOptions, CopyRequest, Durability, Error, Location};

/// Reads locations and options.
///
/// # Errors
/// `Usage`, and what opening the node book or `--files-from` says.
pub(super) fn of(args: &CopyArgs, matches: &ArgMatches, started: Instant) -> Result<CopyRequest, Error> {
    let book = Book::from_environment()?;
    let mut locations =
        args.locations.iter().map(|text| Location::parse(text, &book)).collect::<Result<Vec<_>, _>>()?;
    // The grammar asks for two.
    let destination = locations.pop().ok_or_else(|| Error::new(Class::Usage, "nothing to copy"))?;
    if destination == Location::Stdio && (args.json || args.dry_run) {
        return Err(Error::new(Class::Usage, "standard output is taken by what is copied"));
    }
    let files_from = args.selection.files_from.as_deref();
    if files_from.is_some() && locations.len() > 1 {
        return Err(Error::new(Class::Usage, "--files-from needs exactly one source"));
    }
    let mut request = CopyRequest::new(locations, destination);
    request.started = started;
    request.options = options(args, matches)?;
    if let Some(path) = files_from {
        if path == Path::new("-") && request.sources.contains(&Location::Stdio) {
            return Err(Error::new(Class::Usage, "standard input is what is copied, not a list of files"));
        }
        request.options.files_from = files_listed(path)?;
        // The source is a directory, and what is listed of it is wanted.
        request.options.recursive = true;
    }
    Ok(request)
}

fn options(args: &CopyArgs, matches: &ArgMatches) -> Result<CopyOptions, Error> {
    let (content, limits) = (&args.content, &args.limits);
    let attended = io::stderr().is_terminal();
    let retries = limits.retries.or((!attended).then_some(RETRIES_UNATTENDED));
    Ok(CopyOptions {
        recursive: args.recursive,
        digests: content.digest == DigestArg::Blake3,
        compression: match content.compress {
            CompressArg::Auto => Compression::Auto,
            CompressArg::Zstd => Compression::Zstd,
            CompressArg::Lz4 => Compression::Lz4,
            CompressArg::None => Compression::None,
        },
        chunk_log2: content.chunk,
        compare: match args.selection.compare {
            CompareArg::Exists => Compare::Exists,
            CompareArg::Size => Compare::Size,
            CompareArg::Mtime => Compare::Mtime,
            CompareArg::Digest => Compare::Digest,
        },
        overwrite: overwrite(&args.selection),
        preserve: preserve(&content.preserve),
        durability: match content.durability {
            DurabilityArg::None => Durability::None,
            DurabilityArg::Batch => Durability::Batch,
            DurabilityArg::File => Durability::File,
        },
        dry_run: args.dry_run,
        explain: args.explain,
        patience: Patience { retries, duration_max: limits.max_duration },
        max_transfer: limits.max_transfer,
        error_on_no_transfer: limits.error_on_no_transfer,
        filters: filters(matches),
        ..moving(&args.network, &args.workers)?
    })
}

/// What says how content moves, whatever it is.
///
/// # Errors
/// `Usage`.
pub(crate) fn moving(network: &NetworkArgs, workers: &WorkerArgs) -> Result<CopyOptions, Error> {
    Ok(CopyOptions {
        backend: (&workers.backend).into(),
        congestion: network.cc.into(),
        rate: network.rate,
        cipher: if network.no_encrypt { Cipher::None } else { Cipher::Auto },
        connect_timeout: network.connect_timeout,
        paths: network.path.clone(),
        cores: workers.cores.clone().unwrap_or_default(),
        workers: serve::workers(workers)?,
        poll: serve::poll(workers),
        ..CopyOptions::default()
    })
}

fn overwrite(args: &SelectionArgs) -> Overwrite {
    match (args.no_clobber, args.update) {
        (true, _) => Overwrite::Never,
        (false, true) => Overwrite::Older,
        (false, false) => Overwrite::Always,
    }
}

fn preserve(values: &[PreserveArg]) -> Preserve {
    let has = |value| values.contains(&value) || values.contains(&PreserveArg::All);
    Preserve {
        owner: has(PreserveArg::Owner),
        xattr: has(PreserveArg::Xattr),
        acl: has(PreserveArg::Acl),
        links: has(PreserveArg::Links),
    }
}

/// `--include` and `--exclude` in the order in which they were given.
fn filters(matches: &ArgMatches) -> Vec<Filter> {
    let mut found: Vec<(usize, Filter)> = Vec::new();
    for (id, include) in [("include", true), ("exclude", false)] {
        let globs = matches.get_many::<String>(id).into_iter().flatten();
        let places = matches.indices_of(id).into_iter().flatten();
        found.extend(places.zip(globs).map(|(at, glob)| (at, Filter { include, glob: glob.clone() })));
    }
    found.sort_by_key(|(at, _)| *at);
    found.into_iter().map(|(_, filter)| filter).collect()
}

/// Paths, one a line.
fn files_listed(path: &Path) -> Result<Vec<Vec<u8>>, Error> {
    let name = path.as_os_str().as_encoded_bytes();
    let failed = |e: io::Error| {
        let class = match e.kind() {
            io::ErrorKind::NotFound => Class::NoSource,
            _ => e.raw_os_error().map_or(Class::Other, Class::of_errno),
        };
        Error::new(class, "read the list of files").object(name).because(e)
    };
    let mut reader: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).map_err(failed)?)
    };
    let mut text = Vec::new();
    reader.by_ref().take(FILES_FROM_LEN_MAX + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > FILES_FROM_LEN_MAX {
        return Err(Error::new(Class::Usage, "the list of files is longer than 64 MiB").object(name));
    }
    let lines: Vec<Vec<u8>> =
        text.split(|b| *b == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect();
    if lines.is_empty() {
        return Err(Error::new(Class::Usage, "the list of files is empty").object(name));
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};
    use clap::{CommandFactory as _, FromArgMatches as _};
    use std::time::Duration;
    use xfer_client::CongestionControl;

    fn parsed(words: &[&str]) -> CopyOptions {
        let all = ["xferctl", "cp"].iter().chain(words).chain(&["a", "b"]);
        let matches = Cli::command().try_get_matches_from(all).unwrap();
        let cli = Cli::from_arg_matches(&matches).unwrap();
        let Command::Cp(args) = cli.command else { panic!() };
        options(&args, matches.subcommand().unwrap().1).unwrap()
    }

    #[test]
    fn filters_keep_their_order() {
        let words = ["--include=a", "--exclude", "b", "--include", "c", "--exclude=d"];
        let shown: Vec<_> = parsed(&words).filters.into_iter().map(|f| (f.include, f.glob)).collect();
        let expected = [(true, "a"), (false, "b"), (true, "c"), (false, "d")];
        assert_eq!(shown, expected.map(|(include, glob)| (include, glob.to_owned())));
    }

    #[test]
    fn options_reach_the_request() {
        let words = "-r -n -u --cc fixed --rate 1Gbit --no-encrypt --digest none --compress auto --chunk 64KiB \
                     --compare size --preserve=owner,links --durability file --connect-timeout 1m --retries 5 \
                     --max-duration 1h --max-transfer 1G --error-on-no-transfer --path 10.0.0.1=10.0.0.2,::1 --cores 0-1 --workers 2 \
                     --poll busy --backend udp";
        let options = parsed(&words.split_whitespace().collect::<Vec<_>>());
        assert!(options.recursive && options.dry_run && options.error_on_no_transfer && !options.digests);
        assert_eq!((options.congestion, options.rate), (CongestionControl::Fixed, Some(1_000_000_000)));
        assert_eq!((options.cipher, options.compression), (Cipher::None, Compression::Auto));
        assert_eq!((options.chunk_log2, options.compare), (Some(16), Compare::Size));
        assert_eq!(options.overwrite, Overwrite::Older);
        assert_eq!(options.preserve, Preserve { owner: true, links: true, ..Preserve::default() });
        assert_eq!(options.durability, Durability::File);
        assert_eq!(options.connect_timeout, Duration::from_secs(60));
        let hour = Some(Duration::from_secs(3_600));
        assert_eq!(options.patience, Patience { retries: Some(5), duration_max: hour });
        assert_eq!((options.max_transfer, options.paths.len()), (Some(1 << 30), 2));
        assert_eq!((options.cores, options.workers), (vec![0, 1], Some(2)));
    }

    #[test]
    fn preserve_alone_means_all() {
        let all = Preserve { owner: true, xattr: true, acl: true, links: true };
        assert_eq!(parsed(&["--preserve"]).preserve, all);
        assert_eq!(parsed(&["--preserve=all"]).preserve, all);
        assert_eq!(parsed(&[]).preserve, Preserve::default());
    }
}
