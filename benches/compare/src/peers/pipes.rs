//! Bytes through one TCP connection, and nothing else: nc, socat, mbuffer, and tar through them.

use super::{Ends, Guards, Job, PLAIN, Peer, Program, Serving, What, packaged};
use crate::failure::Outcome;
use crate::line::{Line, quote};

/// nc, socat and mbuffer.
pub(super) fn all() -> Vec<Box<dyn Peer>> {
    let pipe = |name, tree_name, needs, receive, send| Pipe { name, tree_name, needs, receive, send };
    vec![
        Box::new(Halves::of(pipe(
            "nc",
            "tar | nc",
            packaged("nc.openbsd", "netcat-openbsd"),
            "nc.openbsd -d -l NODE PORT",
            "nc.openbsd -N NODE PORT",
        ))),
        Box::new(Halves::of(pipe(
            "socat",
            "tar | socat",
            packaged("socat", "socat"),
            "socat -u -b 1048576 TCP-LISTEN:PORT,reuseaddr -",
            "socat -u -b 1048576 - TCP:NODE:PORT",
        ))),
        Box::new(Halves::of(pipe(
            "mbuffer",
            "tar | mbuffer",
            packaged("mbuffer", "mbuffer"),
            "mbuffer -q -s 256k -m 64M -I PORT",
            "mbuffer -q -s 256k -m 64M -O NODE:PORT",
        ))),
    ]
}

struct Pipe {
    name: &'static str,
    tree_name: &'static str,
    needs: Program,
    receive: &'static str,
    send: &'static str,
}

struct Halves {
    pipe: Pipe,
    needs: [Program; 1],
}

impl Halves {
    fn of(pipe: Pipe) -> Self {
        Self { needs: [pipe.needs], pipe }
    }

    fn fill(text: &str, job: &Job<'_>) -> String {
        text.replace("NODE", &job.node.to_string()).replace("PORT", &job.port.to_string())
    }
}

impl Peer for Halves {
    fn name(&self) -> &str {
        self.pipe.name
    }

    fn tree_name(&self) -> &str {
        self.pipe.tree_name
    }

    fn guards(&self) -> Guards {
        PLAIN
    }

    fn needs(&self) -> &[Program] {
        &self.needs
    }

    fn takes(&self, _: What) -> bool {
        true
    }

    fn serve(&self, job: &Job<'_>) -> Outcome<Vec<Serving>> {
        let receive = Self::fill(self.pipe.receive, job);
        let target = quote(&job.target.display().to_string());
        let script = match job.what {
            What::File => format!("exec {receive} > {target}"),
            What::Tree => {
                job.make_target()?;
                format!("{receive} | tar x -C {target}")
            }
        };
        Ok(vec![Serving::tcp(job.port, Line::shell(script))])
    }

    fn copy(&self, job: &Job<'_>, _: &[String]) -> Outcome<Line> {
        let send = Self::fill(self.pipe.send, job);
        let source = quote(&job.source.display().to_string());
        Ok(Line::shell(match job.what {
            What::File => format!("exec {send} < {source}"),
            What::Tree => format!("tar c -C {source} . | {send}"),
        }))
    }

    fn ends(&self) -> Ends {
        Ends::WithServers
    }
}
