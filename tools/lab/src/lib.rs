//! Network-namespace lab: hosts, wires, link emulator.
