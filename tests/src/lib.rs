//! The harness of the scenarios: real coordinators and workers as processes on loopback.
