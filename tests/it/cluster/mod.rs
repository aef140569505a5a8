//! Several nodes of each role on production engines: they are one service.

mod spread;
