//! Movers over UDP: udpcast, uftp, SRT. The receiver ends on its own.

use super::{Ends, Guards, Job, PLAIN, Peer, Program, Serving, What, packaged};
use crate::failure::Outcome;
use crate::line::Line;
use crate::process::Ready;

/// udpcast, uftp, SRT.
pub(super) fn all() -> Vec<Box<dyn Peer>> {
    vec![Box::new(Mover::Udpcast), Box::new(Mover::Uftp), Box::new(Mover::Srt)]
}

enum Mover {
    Udpcast,
    Uftp,
    Srt,
}

impl Peer for Mover {
    fn name(&self) -> &str {
        match self {
            Mover::Udpcast => "udpcast",
            Mover::Uftp => "uftp -R -1",
            Mover::Srt => "srt-file-transmit",
        }
    }

    fn guards(&self) -> Guards {
        PLAIN
    }

    fn needs(&self) -> &[Program] {
        const UDPCAST: &[Program] = &[packaged("udp-sender", "udpcast"), packaged("udp-receiver", "udpcast")];
        const UFTP: &[Program] = &[packaged("uftp", "uftp"), packaged("uftpd", "uftp")];
        const SRT: &[Program] = &[packaged("srt-file-transmit", "srt-tools")];
        match self {
            Mover::Udpcast => UDPCAST,
            Mover::Uftp => UFTP,
            Mover::Srt => SRT,
        }
    }

    fn takes(&self, what: What) -> bool {
        what == What::File
    }

    fn serve(&self, job: &Job<'_>) -> Outcome<Vec<Serving>> {
        let port = job.port;
        let line = match self {
            Mover::Udpcast => {
                let line = Line::new("udp-receiver").args("--nokbd --no-progress --interface x1 --portbase");
                line.arg(port).arg("--file").path(&job.target)
            }
            Mover::Uftp => {
                let line = Line::new("uftpd").args("-d -t -I x1 -x 0 -p").arg(port).arg("-D");
                line.path(job.target_dir())
            }
            Mover::Srt => {
                let from = format!("srt://{}:{port}?mode=listener&transtype=file&messageapi=0", job.node);
                let line = Line::new("srt-file-transmit").args("-q").arg(from);
                line.arg(format!("file://{}", job.target.display()))
            }
        };
        Ok(vec![Serving { line, ready: Ready::Udp(port) }])
    }

    fn copy(&self, job: &Job<'_>, _: &[String]) -> Outcome<Line> {
        let port = job.port;
        Ok(match self {
            Mover::Udpcast => {
                let line = Line::new("udp-sender").args("--nokbd --no-progress --interface x1 --full-duplex");
                let line = line.args("--min-receivers 1 --portbase").arg(port);
                line.arg("--file").path(job.source)
            }
            Mover::Uftp => {
                let line = Line::new("uftp").args("-q -R -1 -B 4194304 -I x1 -p").arg(port);
                line.path(job.source)
            }
            Mover::Srt => {
                let to = format!("srt://{}:{port}?mode=caller&transtype=file&messageapi=0", job.node);
                let line =
                    Line::new("srt-file-transmit").args("-q").arg(format!("file://{}", job.source.display()));
                line.arg(to)
            }
        })
    }

    fn ends(&self) -> Ends {
        match self {
            // Its daemon stays; its sender waits for what the receiver says about the file.
            Mover::Uftp => Ends::WithClient,
            Mover::Udpcast | Mover::Srt => Ends::WithServers,
        }
    }
}
