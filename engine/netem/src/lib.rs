//! Pure model of a network link: rate, delay, loss, reorder, duplicate, corrupt.
