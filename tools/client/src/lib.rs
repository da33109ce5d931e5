//! What a client of xfer nodes does.
