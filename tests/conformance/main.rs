//! What the specifications say, one case per clause, against the real program over real sockets.
//!
//! One file per BEP and role. Each case is named after its clause. The driver in `tests/driver` plays
//! peer and tracker by hand; nothing here uses the library. What cannot be seen from outside within
//! seconds (two-minute keep-alives, announce intervals, the hour-long retransmissions of BEP 15) is left
//! to the unit tests, which have their own clock.

#[path = "../driver/mod.rs"]
mod driver;

mod bep_10;
mod bep_11;
mod bep_12;
mod bep_15;
mod bep_15_host;
mod bep_16;
mod bep_23;
mod bep_31;
mod bep_3_connection;
mod bep_3_leech;
mod bep_3_metainfo;
mod bep_3_seed;
mod bep_3_tracker;
mod bep_3_tracker_host;
mod bep_44;
mod bep_48;
mod bep_48_host;
mod bep_5;
mod bep_54;
mod bep_6;
mod bep_9;
mod scene;
