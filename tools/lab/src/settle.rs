//! Waits until the kernel has noticed that links are up.
//!
//! It learns of a carrier by a work item of its own, and drops what is sent before that. A lab that came
//! up, or a wire that was restored, must not lose the first packets so.

use std::time::{Duration, Instant};

use crate::error::LabError;
use crate::limits::{LINK_POLL_MS, LINK_TIMEOUT_MS};
use crate::{names, tool};

/// Returns when every host of lab `lab` has its ends of `wires`, from 1, up and usable.
pub(crate) fn settle(lab: &str, hosts: usize, wires: &[usize]) -> Result<(), LabError> {
    let deadline = Instant::now() + Duration::from_millis(LINK_TIMEOUT_MS);
    for host in 0..hosts {
        loop {
            let list = tool::ip(Some(&names::namespace(lab, host)), &["-o", "link", "show"])?;
            let Some(wire) = wires.iter().find(|wire| !is_usable(&list, &names::interface(**wire))) else {
                break;
            };
            if Instant::now() > deadline {
                return Err(LabError::LinkDown { host: names::host(host), wire: *wire });
            }
            std::thread::sleep(Duration::from_millis(LINK_POLL_MS));
        }
    }
    Ok(())
}

/// Whether `interface` is up in a list that `ip -o link show` printed.
fn is_usable(list: &str, interface: &str) -> bool {
    // A line reads `2: x1@if3: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 ... state UP mode ...`; a TAP
    // device is in state UNKNOWN for life.
    list.lines().any(|line| {
        let mut words = line.split_whitespace().skip(1);
        let name = words.next().unwrap_or("").trim_end_matches(':');
        let state = line.split_once(" state ").and_then(|(_, rest)| rest.split_whitespace().next());
        name.split('@').next() == Some(interface)
            && words.next().is_some_and(|flags| flags.contains("LOWER_UP"))
            && matches!(state, Some("UP" | "UNKNOWN"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_usable_when_up_with_a_carrier() {
        let list = "1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN mode DEFAULT\\    link\n\
             2: x1@if2: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP mode DEFAULT\n\
             3: x2@if3: <NO-CARRIER,BROADCAST,MULTICAST,UP> mtu 1500 state LOWERLAYERDOWN mode DEFAULT\n\
             4: x3@if4: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 state DOWN mode DEFAULT\n\
             5: x10: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 state UNKNOWN mode DEFAULT";
        let usable = |name| is_usable(list, name);
        assert_eq!(
            ["lo", "x1", "x2", "x3", "x10", "x4"].map(usable),
            [true, true, false, false, true, false]
        );
    }
}
