//! Black-box tests of Fanfare; everything lives in `it/`.
