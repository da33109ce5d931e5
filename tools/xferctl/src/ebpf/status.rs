//! `ebpf status`: a line for each program on an interface.

use crate::json;
use crate::output::Stdout;
use serde::Serialize;
use xfer_client::Error;
use xfer_ebpf::{Census, Hook, XdpMode};

/// A line of `status --json`, of type `hook`.
#[derive(Serialize)]
struct HookLine<'a> {
    interface: &'a str,
    /// `xdp`, `ingress` or `egress`.
    point: &'static str,
    mode: Option<&'static str>,
    program: &'a str,
    id: u32,
    ours: bool,
    pinned: bool,
    /// Null when this process may not look.
    alive: Option<bool>,
    ports: &'a [u16],
}

pub(super) fn write(stdout: &mut Stdout, census: &Census, as_json: bool) -> Result<(), Error> {
    for hook in &census.hooks {
        let text = if as_json { json::line("hook", &line(hook)) } else { show(hook) };
        stdout.write(text.as_bytes())?;
    }
    Ok(())
}

fn line(hook: &Hook) -> HookLine<'_> {
    HookLine {
        interface: &hook.interface,
        point: hook.point.word(),
        mode: hook.mode.map(XdpMode::word),
        program: &hook.program,
        id: hook.id,
        ours: hook.ours,
        pinned: hook.pinned,
        alive: hook.figures.as_ref().map(|figures| figures.alive),
        ports: hook.figures.as_ref().map_or(&[], |figures| &figures.ports),
    }
}

/// `eth0  xdp native  xfer_xdp (id 12), ours, pinned, passes everything: no node uses it; ports 7700`.
fn show(hook: &Hook) -> String {
    let mode = hook.mode.map_or("", XdpMode::word);
    let place = format!("{} {mode}", hook.point.word());
    let mut text = format!("{}  {}  {} (id {})", hook.interface, place.trim_end(), hook.program, hook.id);
    text.push_str(if hook.ours { ", ours" } else { ", another's" });
    if hook.pinned {
        text.push_str(", pinned");
    }
    if let Some(figures) = &hook.figures {
        if !figures.alive {
            text.push_str(", passes everything: no node uses it");
        }
        let ports: Vec<String> = figures.ports.iter().map(u16::to_string).collect();
        text.push_str(&format!(
            "; ports {}",
            if ports.is_empty() { "none".to_owned() } else { ports.join(",") }
        ));
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use xfer_ebpf::{Figures, Point};

    fn hook() -> Hook {
        Hook {
            interface: "eth0".to_owned(),
            point: Point::Xdp,
            mode: Some(XdpMode::Native),
            id: 12,
            program: "xfer_xdp".to_owned(),
            ours: true,
            pinned: true,
            figures: Some(Figures {
                ports: vec![7_700],
                alive: false,
                fates: None,
                sights: None,
                paths: Vec::new(),
            }),
        }
    }

    #[test]
    fn a_line_says_where_what_and_whose() {
        let ours = "eth0  xdp native  xfer_xdp (id 12), ours, pinned, passes everything: no node uses it; ports 7700\n";
        assert_eq!(show(&hook()), ours);
        let other = Hook { program: "p".to_owned(), ours: false, pinned: false, figures: None, ..hook() };
        assert_eq!(show(&Hook { mode: None, ..other }), "eth0  xdp  p (id 12), another's\n");
    }

    #[test]
    fn json_has_every_field() {
        let text = serde_json::to_string(&line(&hook())).unwrap();
        assert_eq!(
            text,
            r#"{"interface":"eth0","point":"xdp","mode":"native","program":"xfer_xdp","id":12,"ours":true,"pinned":true,"alive":false,"ports":[7700]}"#
        );
    }
}
