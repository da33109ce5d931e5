//! Queues, memory, files and threads of xfer: moves bytes.
