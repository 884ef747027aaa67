//! The components that are part of this program: built and embedded by the build script.

include!(concat!(env!("OUT_DIR"), "/bundled.rs"));
