//! Cutting wires that have no emulator.
//!
//! A bridged wire (three hosts or more) is cut in the hub: its ports leave the bridge, or go down. A bare
//! veth pair has nothing between its ends: a black hole is a packet classifier at the ingress of both,
//! and the carrier goes when host b's end goes down. The classifier stands behind AF_XDP: a wire that
//! XDP programs use as a black hole needs the emulator.

use crate::control::Cut;
use crate::error::LabError;
use crate::launch::address_lines;
use crate::names;
use crate::tool;

/// One wire without emulator.
pub(crate) struct BareWire<'a> {
    pub(crate) lab: &'a str,
    /// From 1.
    pub(crate) wire: usize,
    pub(crate) hosts: usize,
}

impl BareWire<'_> {
    pub(crate) fn cut(&self, cut: Cut) -> Result<(), LabError> {
        match (self.hosts, cut) {
            (2, Cut::Blackhole) => (0..2).try_for_each(|host| self.drop_ingress(host)),
            (2, Cut::Carrier) => {
                let line = format!("link set {} down", names::interface(self.wire));
                tool::ip_batch(Some(&names::namespace(self.lab, 1)), &[line])
            }
            (_, Cut::Blackhole) => self.each_port("nomaster"),
            (_, Cut::Carrier) => self.each_port("down"),
        }
    }

    /// Undoes `cut`.
    pub(crate) fn restore(&self, cut: Cut) -> Result<(), LabError> {
        match (self.hosts, cut) {
            (2, Cut::Blackhole) => {
                let interface = names::interface(self.wire);
                (0..2).try_for_each(|host| {
                    let namespace = names::namespace(self.lab, host);
                    tool::tc(&namespace, &["qdisc", "del", "dev", &interface, "clsact"])
                })
            }
            (2, Cut::Carrier) => {
                // An interface that went down has lost its neighbours and may have lost addresses.
                let mut lines = vec![format!("link set {} up", names::interface(self.wire))];
                lines.extend(address_lines(self.wire, 1, self.hosts));
                tool::ip_batch(Some(&names::namespace(self.lab, 1)), &lines)
            }
            (_, Cut::Blackhole) => self.each_port(&format!("master {}", names::bridge(self.wire))),
            (_, Cut::Carrier) => self.each_port("up"),
        }
    }

    fn drop_ingress(&self, host: usize) -> Result<(), LabError> {
        let (namespace, interface) = (names::namespace(self.lab, host), names::interface(self.wire));
        tool::tc(&namespace, &["qdisc", "add", "dev", &interface, "clsact"])?;
        // One instruction, "return 2", which as a direct action is TC_ACT_SHOT: every kernel that has a
        // classifier at all has this one, unlike matchall and gact.
        let program = ["bpf", "bytecode", "1,6 0 0 2", "direct-action"];
        let filter = ["filter", "add", "dev", &interface, "ingress", "protocol", "all"];
        tool::tc(&namespace, &[&filter[..], &program[..]].concat())
    }

    fn each_port(&self, change: &str) -> Result<(), LabError> {
        let line = |host| format!("link set {} {change}", names::hub_port(self.wire, host));
        let lines: Vec<String> = (0..self.hosts).map(line).collect();
        tool::ip_batch(Some(&names::hub(self.lab)), &lines)
    }
}
